"""A linear probe on single tokens, for labels per place: waves of an ECG, or regions of an image.

A token has the class of the sample in its middle. Controls are the same network with random weights, the samples of the
token's patch alone, and those of its patch and the neighbouring ones. Low-shot labels are those of some patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import torch

from anyjepa.data.labels import LabelTable
from anyjepa.data.places import UNLABELLED, PlaceLabels
from anyjepa.data.samples import Samples
from anyjepa.errors import InputError
from anyjepa.evaluation.cache import FeatureCache
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.controls import whole_patches
from anyjepa.evaluation.delineation import Comparison, compare, scores, spans
from anyjepa.evaluation.features import encoded
from anyjepa.evaluation.probes import Probed, linear_probe
from anyjepa.evaluation.splits import Split
from anyjepa.evaluation.study import Evaluator, Outcome, Source, Study, named
from anyjepa.evaluation.windows import Windows, cut, cut_signal
from anyjepa.nn.encoder import Encoder
from anyjepa.randomness import generator
from anyjepa.weights.model import NOTHING


class Tokens(NamedTuple):
    """All T tokens of some records: index of the record, middle on the first axis in samples, label."""

    record: np.ndarray
    middle: np.ndarray
    label: np.ndarray


class DenseStudy(Study):
    """The rows of a result whose rows are tokens.

    samples: the records of `labels`, in that order. groups: one per record. patch: samples per token along each axis.
    rate: samples per second along the first axis, if that is time.
    """

    def __init__(
        self,
        samples: Samples,
        labels: PlaceLabels,
        groups: Sequence[str],
        patch: tuple[int, ...],
        rate: float | None,
        config: EvaluationConfig,
        cache: FeatureCache,
    ):
        length = config.windows.length
        windows = config.windows.model_copy(update={"stride": length, "tail": "drop" if length else "cover"})
        self.labels, self.patch, self.rate = labels, patch, rate
        self.records = LabelTable(labels.ids, ("record",), np.ones((len(groups), 1)), tuple(groups), exclusive=False)
        self.tokens = tokens_of(samples, labels, windows, patch)
        self.rows = np.flatnonzero(self.tokens.label != UNLABELLED)
        if not len(self.rows):
            raise InputError("evaluate: no token has a label")
        record = self.tokens.record[self.rows]
        table = LabelTable(
            ids=tuple(f"{labels.ids[row]}@{token}" for row, token in zip(record, self.rows, strict=True)),
            classes=labels.classes,
            values=np.eye(len(labels.classes))[self.tokens.label[self.rows]],
            groups=tuple(str(groups[row]) for row in record),
            exclusive=True,
            split=None if labels.split is None else tuple(labels.split[row] for row in record),
        )
        super().__init__(samples, table, config.model_copy(update={"windows": windows}), cache, record)

    def evaluators(self, candidates: Mapping[str, Source]) -> dict[str, tuple[Evaluator, bool]]:
        rows = {name: self._evaluator(source, self.probe) for name, source in candidates.items()}
        controls = {"random init (same network)": self._random(self.network(candidates), self.probe)}
        raw = {"one raw patch": self._patches(0), "raw patch and its neighbours": self._patches(1)}
        return named(rows, False) | named(controls | raw, True)

    def few(self, whole: Sequence[Split], amount: int | float) -> list[Split]:
        """The splits with `amount` labelled groups (a share of them below 1); every fifth of these chooses settings."""
        return [few_groups(self.table, split, amount) for split in whole]

    @cached_property
    def _used(self) -> np.ndarray:
        return np.arange(len(self.samples))

    def by_record(self) -> tuple[LabelTable, list[Split]]:
        record = self.tokens.record[self.rows]

        def records(split: Split) -> Split:
            train, validation, test = (np.unique(record[rows]) for rows in (split.train, split.validation, split.test))
            return replace(split, train=train, validation=validation, test=test)

        return self.records, [records(split) for split in self.repeats]

    def probe(self, encoder: Encoder, split: Split) -> Probed:
        """Train the probe on the frozen encoder's tokens."""
        windows = self.config.windows

        def tokens() -> dict[str, np.ndarray]:
            return {"x": np.stack([token_features(encoder, Moved(self.samples, by), windows) for by in self.offsets])}

        return self._probe(self._cached(f"dense-{len(self.offsets)}", encoder, tokens)[0]["x"], split)

    @cached_property
    def offsets(self) -> list[int]:
        """Samples by which records are moved, so that tokens of events come more often than once per patch."""
        times = min(self.config.dense_offsets, self.patch[0]) if self.rate and self.labels.events else 1
        return [round(place * self.patch[0] / times) for place in range(times)]

    def _patches(self, reach: int) -> Evaluator:
        """A probe on raw patches."""

        @cache  # for all splits
        def patches() -> np.ndarray:
            samples, windows = self.samples, self.config.windows
            return np.stack([raw_patches(Moved(samples, by), windows, self.patch, reach) for by in self.offsets])

        return lambda split: Outcome(self._probe(patches(), split), "none", NOTHING)

    def _probe(self, x: np.ndarray, split: Split) -> Probed:
        """x: features (offsets, T, D). After choosing the penalty, the probe is trained on all labels."""
        config = self.config.linear.model_copy(update={"refit": True})
        probed = linear_probe(x[0, self.rows], self.table.values, split, True, config)
        if not self.rate or not self.labels.events:
            return probed
        assert probed.head is not None
        weight, bias = (probed.head.get_parameter(f"read.{name}").detach().numpy() for name in ("weight", "bias"))
        return probed._replace(measured=self._delineated(lambda x: (x @ weight.T + bias).argmax(1), x, split))

    def _delineated(
        self, predict: Callable[[np.ndarray], np.ndarray], x: np.ndarray, split: Split
    ) -> dict[str, dict[str, float]]:
        """Scores of onsets and offsets of the events in the test records, by name and class."""
        assert self.rate is not None
        tested = np.unique(self.tokens.record[self.rows[split.test]])
        rows = np.flatnonzero(np.isin(self.tokens.record, tested))
        record, middle = self.tokens.record[rows], self.tokens.middle[rows]
        predicted = np.stack([predict(features[rows]) for features in x])  # (offsets, n)
        places = middle + np.array(self.offsets)[:, None]
        shortest, half = max(1, len(self.offsets) // 2), self.patch[0] / len(self.offsets) / 2
        points: dict[tuple[str, str], list[Comparison]] = {}
        for one in tested:
            mine = record == one
            order = np.argsort(places[:, mine], axis=None)
            at, classes = places[:, mine].ravel()[order], predicted[:, mine].ravel()[order]
            labels = self.labels.labels[one]
            for event in self.labels.events:
                number = self.labels.classes.index(event)
                true, runs = spans(labels, number), spans(classes, number, shortest)
                for point, annotated, guessed in (
                    ("onset", true[:, 0], at[runs[:, 0]] - half),
                    ("offset", true[:, 1] - 1, at[runs[:, 1] - 1] + half),
                ):
                    there = labels[guessed.round().astype(int).clip(0, len(labels) - 1)] != UNLABELLED
                    compared = compare(annotated / self.rate, guessed / self.rate, there)
                    points.setdefault((point, event), []).append(compared)
        result: dict[str, dict[str, float]] = {}
        for (point, event), comparisons in points.items():
            for name, value in scores(comparisons).items():
                result.setdefault(f"{point}_{name}", {})[event] = value
        return result


class Moved:
    """`Samples` that begin `by` samples later; the last value is repeated at the end."""

    def __init__(self, samples: Samples, by: int):
        self.samples, self.by, self.ids = samples, by, samples.ids

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> np.ndarray:
        x = self.samples[index]
        if not self.by:
            return x
        return np.pad(x[:, self.by :], [(0, 0), (0, self.by), *[(0, 0)] * (x.ndim - 2)], mode="edge")


def tokens_of(samples: Samples, labels: PlaceLabels, windows: Windows, patch: tuple[int, ...]) -> Tokens:
    """The tokens of all records, window by window, in raster order."""
    columns = []
    for place in range(len(samples)):
        signal, id = samples[place], samples.ids[place]
        if labels.labels[place].shape != signal.shape[1:]:
            raise InputError(
                f"evaluate: record '{id}' has samples {signal.shape[1:]}, but labels per place "
                f"{labels.labels[place].shape}"
            )
        for window, start in cut_signal(signal, id, windows, patch[0]):
            grid = _grid(window, patch)
            at = np.indices(grid).reshape(len(grid), -1) * np.array(patch)[:, None] + np.array(patch)[:, None] // 2
            at[0] += start
            columns.append((np.full(at.shape[1], place), at[0], labels.labels[place][tuple(at)]))
    return Tokens(*(np.concatenate(column) for column in zip(*columns, strict=True)))


@torch.inference_mode()
def token_features(encoder: Encoder, samples: Samples, windows: Windows) -> np.ndarray:
    """The frozen encoder's tokens in the order of `tokens_of`, (T, D) float32."""
    encodings = {}
    for records, starts, _, patches in encoded(encoder, samples, windows):
        encodings |= dict(zip(zip(records, starts, strict=True), patches.float().cpu().numpy(), strict=True))
    return np.concatenate([encodings[key] for key in sorted(encodings)])


def raw_patches(samples: Samples, windows: Windows, patch: tuple[int, ...], reach: int) -> np.ndarray:
    """The samples of each token's patch, and of those at most `reach` away along each axis (0 beyond the window)."""
    rows = []
    for place in range(len(samples)):
        for window, _ in cut(samples, place, windows, patch[0]):
            grid = _grid(window, patch)
            cells = whole_patches(window[None], patch).numpy().reshape(*grid, -1)  # (n, n, ..., C * p * p ...)
            padded = np.pad(cells, [*[(reach, reach)] * len(grid), (0, 0)])
            near = [
                padded[tuple(slice(by, by + n) for by, n in zip(shift, grid, strict=True))]
                for shift in product(range(2 * reach + 1), repeat=len(grid))
            ]
            rows.append(np.concatenate(near, -1).reshape(-1, len(near) * cells.shape[-1]))
    return np.concatenate(rows)


def few_groups(table: LabelTable, split: Split, amount: int | float) -> Split:
    """The split with labels of `amount` groups only, in training and validation together."""
    both = np.concatenate([split.train, split.validation])
    group = np.array(table.groups)
    names = generator(split.seed, "low shot groups", split.fold).permutation(np.unique(group[both]))
    count = amount if isinstance(amount, int) else round(amount * len(names))
    if not 2 <= count <= len(names):
        raise InputError(f"low shot: needs 2 to {len(names)} labelled groups, not {count}")
    chosen = names[:count]
    parts = {"train": np.delete(chosen, np.s_[::5]), "validation": chosen[::5]}
    return replace(split, **{part: both[np.isin(group[both], few)] for part, few in parts.items()})


def _grid(window: np.ndarray, patch: tuple[int, ...]) -> tuple[int, ...]:
    """Tokens along each axis."""
    return tuple(size // p for size, p in zip(window.shape[1:], patch, strict=True))
