"""Evaluation with labels during training, on records that are trained on. Nothing that training draws changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.labels import LabelTable, join
from anyjepa.data.samples import SelectedSamples
from anyjepa.errors import InputError
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.metrics import auroc, macro
from anyjepa.evaluation.probes import KnnProbe, LinearProbe, knn_probe, linear_probe
from anyjepa.evaluation.splits import Split, strata, stratify
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.randomness import generator
from anyjepa.training.config import OnlineConfig

STRENGTH = 0.01  # of the probe; a single one, so that no validation part chooses it


def online_scores(
    dataset: Dataset, config: OnlineConfig, table: LabelTable | None = None
) -> Callable[[Encoder], dict[str, float]]:
    """A function from an encoder to `online_probe` and `online_knn`, macro AUROCs on half of the labelled records.

    table: labels instead of those of the data. Groups (patients) are not cut. The probe is logistic regression on the
    mean of patch tokens, kNN as in `evaluate`. Raises InputError if the data have no labels, or if they are in a store.
    """
    samples = dataset
    if table is None:
        if not dataset.tables:
            why = "the labels of a store are not read in training" if dataset.tasks else "the data have no labels"
            raise InputError(f"training.online: {why}; set training.online=null")
        samples, table = dataset.for_task(config.task or dataset.tasks[0])
    joined = join(table, samples.ids)
    labelled = len(joined.table)
    places = np.unique(np.linspace(0, labelled - 1, min(config.records, labelled)).round().astype(int))
    some, chosen = joined.table.rows(places), joined.index[places]
    part = stratify(strata(some.values), some.groups, (0.5, 0.5), generator(0, "online", 0))
    train, test = np.flatnonzero(part == 0), np.flatnonzero(part == 1)
    split = Split(train, train, test, seed=0)
    size = dataset.preprocessing.size[0]
    windows = Windows(length=size if samples.longest > size else None, count=1, absolute=dataset.preprocessing.absolute)

    def scores(encoder: Encoder) -> dict[str, float]:
        features = mean_features(encoder, SelectedSamples(samples, chosen), windows)
        probe = linear_probe(features, some.values, split, some.exclusive, LinearProbe(strengths=(STRENGTH,)))
        near = knn_probe(features, some.values, split, KnnProbe())
        truth = some.values[split.test]
        return {f"online_{name}": float(macro(auroc(truth, p.scores))) for name, p in (("probe", probe), ("knn", near))}

    return scores
