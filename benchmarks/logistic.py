"""Time of the linear probe's logistic regression beside scikit-learn's, on features as correlated as an encoder's.

    python benchmarks/logistic.py [--records 25000] [--dim 192] [--classes 10] [--rounds 3]

Alternately in one process, one regression a penalty, both from zero; scikit-learn (L-BFGS) stops at 1,000 iterations.
Prints one JSON line: medians in seconds, their ratio, and how far each is above the lower of the two losses.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
from sklearn.linear_model import LogisticRegression

from anyjepa.evaluation.logistic import fit_logistic, probabilities
from anyjepa.evaluation.probes import standardised
from anyjepa.runs.folder import environment

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def features(records: int, dim: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, D) with variances along random axes that fall as 1 / k squared, and one-hot classes of (N, C)."""
    rng = np.random.default_rng(0)
    labels = rng.integers(classes, size=records)
    spread = (1 / np.arange(1, dim + 1)) * np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    x = (rng.normal(size=(records, dim)) + 0.5 * rng.normal(size=(classes, dim))[labels]) @ spread.T
    return standardised(x, np.arange(records))[0], np.eye(classes)[labels]


def ours(x: np.ndarray, values: np.ndarray, strength: float) -> np.ndarray:
    return fit_logistic(x, values, strength, exclusive=True)


def theirs(x: np.ndarray, values: np.ndarray, strength: float) -> np.ndarray:
    found = LogisticRegression(C=strength, max_iter=1000).fit(x, values.argmax(1))
    return np.vstack([found.coef_.T, found.intercept_])


def loss(x: np.ndarray, values: np.ndarray, weights: np.ndarray, strength: float) -> float:
    """Mean penalised loss."""
    likelihood = -np.log((probabilities(x, weights, True) * values).sum(1)).mean()
    return float(likelihood + (weights[:-1] ** 2).sum() / (2 * strength * len(x)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=25_000)
    parser.add_argument("--dim", type=int, default=192)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    x, values = features(args.records, args.dim, args.classes)
    found = {}
    for strength in STRENGTHS:
        times, losses = {ours: [], theirs: []}, {}
        for _ in range(args.rounds):
            for solve in times:
                begin = time.perf_counter()
                weights = solve(x, values, strength)
                times[solve].append(time.perf_counter() - begin)
                losses[solve] = loss(x, values, weights, strength)
        seconds = {solve.__name__: statistics.median(taken) for solve, taken in times.items()}
        above = {solve.__name__: losses[solve] - min(losses.values()) for solve in times}
        found[strength] = {"seconds": seconds, "ratio": seconds["theirs"] / seconds["ours"], "above": above}
    print(json.dumps({"strengths": found, "machine": environment()}))


if __name__ == "__main__":
    main()
