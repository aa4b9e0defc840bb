"""Time of the linear probe's logistic regression beside scikit-learn's, on features as correlated as an encoder's.

    python benchmarks/logistic.py [--records 25000] [--dim 192] [--classes 10] [--rounds 3] [--solver newton-cholesky]

Fits one regression per penalty, from zero, alternately with both in one process; scikit-learn stops after 1,000
iterations. Prints one JSON line: medians in seconds, their ratio, and how far each loss is above the lower of the two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from functools import partial

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


def theirs(x: np.ndarray, values: np.ndarray, strength: float, solver: str) -> np.ndarray:
    fitted = LogisticRegression(C=strength, solver=solver, max_iter=1000).fit(x, values.argmax(1))
    return np.vstack([fitted.coef_.T, fitted.intercept_])


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
    parser.add_argument("--solver", default="newton-cholesky", choices=("newton-cholesky", "lbfgs"))
    args = parser.parse_args()
    x, values = features(args.records, args.dim, args.classes)
    solvers = {"ours": ours, "theirs": partial(theirs, solver=args.solver)}
    results = {}
    for strength in STRENGTHS:
        times, losses = {name: [] for name in solvers}, {}
        for _ in range(args.rounds):
            for name, solve in solvers.items():
                begin = time.perf_counter()
                weights = solve(x, values, strength)
                times[name].append(time.perf_counter() - begin)
                losses[name] = loss(x, values, weights, strength)
        seconds = {name: statistics.median(times[name]) for name in solvers}
        above = {name: losses[name] - min(losses.values()) for name in solvers}
        results[strength] = {"seconds": seconds, "ratio": seconds["theirs"] / seconds["ours"], "above": above}
    print(json.dumps({"solver": args.solver, "strengths": results, "machine": environment()}))


if __name__ == "__main__":
    main()
