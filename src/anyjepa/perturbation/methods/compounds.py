"""Baselines for predicting doses and unseen compounds: ridge on features and dose, and the nearest compound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from anyjepa.data.cells.conditions import Condition
from anyjepa.data.cells.encoding import PerturbationEncoding
from anyjepa.perturbation.scoring.baselines import feature_ridge, no_change, perturbed_mean
from anyjepa.perturbation.scoring.effects import Effects, Fit, Predict


def compound_baselines(conditions: Sequence[Condition], encoding: PerturbationEncoding) -> dict[str, Fit]:
    """Baselines for a screen whose perturbations are named with their dose, such as 'D3@10'.

    Combinations get no prediction. encoding: that of the model, which has the features of compounds; without features,
    names are one-hot encoded.
    """
    features = encoding.features or np.eye(len(encoding.names)).tolist()
    vectors = dict(zip(encoding.names, np.asarray(features, float), strict=True))
    single = [next(iter(condition)) for condition in conditions if len(condition) == 1]
    described = {str(one): (vectors[one.name], np.log1p(one.dose or 0)) for one in single}
    return {
        "no change": no_change,
        "perturbed mean": perturbed_mean,
        "ridge on features x log dose": feature_ridge(
            {name: np.r_[of, of * dose, dose] for name, (of, dose) in described.items()}
        ),
        "nearest compound": nearest_compound(described),
    }


def nearest_compound(described: Mapping[str, tuple[np.ndarray, float]]) -> Fit:
    """Predict the change due to the training compound with the most similar features (cosine), at its nearest dose.

    described: features (F,) and log1p dose of each compound at each dose, by name.
    """

    def fit(train: Effects) -> Predict:
        there = {next(iter(one)): i for i, one in enumerate(train.perturbed) if len(one) == 1}

        def distance(name: str, other: str) -> tuple[float, float]:
            (a, dose), (b, another) = described[name], described[other]
            return round(1 - float(a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-12)), 9), abs(dose - another)

        def predict(perturbed: Sequence[frozenset[str]], control: np.ndarray) -> np.ndarray:
            changes = np.full(control.shape, np.nan)
            for place, one in enumerate(perturbed):
                name = next(iter(one))
                if len(one) == 1 and there:
                    changes[place] = train.change[there[min(there, key=lambda other: distance(name, other))]]
            return changes

        return predict

    return fit
