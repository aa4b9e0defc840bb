"""Explain the answers of a classifier: what happens to them without each part of a record."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.images.image_files import SUFFIXES as IMAGES
from anyjepa.data.modality import Preprocessing
from anyjepa.data.samples import Samples, lengths
from anyjepa.data.video.files import SUFFIXES as VIDEOS
from anyjepa.errors import InputError, did_you_mean
from anyjepa.evaluation.classifier import as_probabilities
from anyjepa.evaluation.occlusion import Grid, OccludedSamples, log_odds, place_width
from anyjepa.evaluation.windows import BATCH
from anyjepa.limits import PASSES
from anyjepa.runs.classifier import classifier_of, compute_predictions, window_counts
from anyjepa.weights.folder import LoadedModel

if TYPE_CHECKING:
    import pandas as pd

ALL = "all"  # channels together
PICTURES = (".png", ".svg", ".pdf")
ENDINGS = (*IMAGES, *VIDEOS)  # that ids have


@dataclass(frozen=True)
class Explanation:
    """What hiding each of P parts of a record does to the answers for C classes.

    An effect is the value of the record minus the value without the part: a positive effect is evidence for the class.
    """

    id: str
    record: np.ndarray  # (channels, *samples) as the encoder sees it
    source: str  # the data set of the record
    classes: tuple[str, ...]
    probabilities: np.ndarray  # (C,) of the record
    grid: Grid
    log_odds: np.ndarray  # (P, C) effects on ln(p / (1 - p))
    probability: np.ndarray  # (P, C) effects on p
    preprocessing: Preprocessing

    @property
    def predicted(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    def of(self, name: str) -> np.ndarray:
        """Effects (P,) on the log-odds of a class. Raises InputError for an unknown class."""
        return self.log_odds[:, class_number(self.classes, name)]

    @property
    def strongest_s(self) -> np.ndarray | None:
        """Start in s of the place with the strongest evidence for each class, (C,). None for records without time."""
        rate = self.preprocessing.rate
        if rate is None:
            return None
        best = [
            np.unravel_index(self.grid.together(effects).argmax(), self.grid.shape)[0] for effects in self.log_odds.T
        ]
        return self.grid.edges[0][best] / rate

    def table(self, only: str | None = None) -> pd.DataFrame:
        """One row per part and class: id, class, where the part is, and its effects log_odds and probability.

        only: a class. Where: `lead` of an ECG or `channel` of a series, or 'all', with `start_s` and `end_s` (without a
        rate: `start` and `end`, in samples); of images `row`, `row_end`, `column` and `column_end` in pixels; of videos
        also `frame` and `frame_end`; of cells `gene`. Ends are exclusive.
        """
        import pandas as pd

        shown = range(len(self.classes)) if only is None else [class_number(self.classes, only)]
        where = self._where()
        return pd.concat(
            [
                pd.DataFrame({
                    "id": self.id, "class": self.classes[place], **where,
                    "log_odds": self.log_odds[:, place], "probability": self.probability[:, place],
                })
                for place in shown
            ],
            ignore_index=True,
        )  # fmt: skip

    def _where(self) -> dict[str, np.ndarray]:
        parts, made = list(self.grid), self.preprocessing
        edges = np.array([[(axis.start, axis.stop) for axis in part.box] for part in parts])  # (P, axes, 2)
        if made.sample_names:
            genes = np.array(made.sample_names, object)
            return {"gene": np.array(["|".join(genes[first:end]) for first, end in edges[:, 0]], object)}
        if edges.shape[1] > 1:
            names = ("frame", "row", "column")[-edges.shape[1] :]
            return {
                f"{n}{end}": edges[:, axis, e] for axis, n in enumerate(names) for e, end in enumerate(("", "_end"))
            }
        names = made.channel_names or tuple(str(place + 1) for place in range(self.grid.channels))
        channel = np.array([ALL if part.channel is None else names[part.channel] for part in parts], object)
        suffix, rate = ("_s", made.rate) if made.rate else ("", 1)
        first, end = edges[:, 0].T / rate if made.rate else edges[:, 0].T
        return {"lead" if made.channel_names else "channel": channel, f"start{suffix}": first, f"end{suffix}": end}


def explain(
    loaded: LoadedModel,
    preprocessing: Preprocessing,
    samples: Samples,
    tokens: int | None = None,
    batch: int = BATCH,
) -> Iterator[Explanation]:
    """Explanations of the answers of a classifier by occlusion, one per record.

    samples: prepared by `preprocessing`. A part is hidden by the median of each of its channels in the record; of a
    cell, by no expression. tokens: patches per part along each axis, by default as few that a full input has at most 64
    places per axis; of cells one gene. batch: windows that are encoded together. Raises InputError for a model without
    a classifier.
    """
    config = classifier_of(loaded)
    sources = getattr(samples, "source", ("",) * len(samples))
    for place, id in enumerate(samples.ids):
        record = samples[place]
        grid = _grid(loaded, preprocessing, record.shape, tokens)
        flat = record.reshape(len(record), -1)
        neutral = np.zeros(len(flat)) if preprocessing.sample_names else np.median(flat, axis=1)
        hidden = OccludedSamples(record, grid, neutral.astype(record.dtype))
        logits = compute_predictions(loaded, preprocessing, hidden, batch).windows.mean(len(hidden))
        odds, probabilities = log_odds(logits, config.exclusive), as_probabilities(logits, config.exclusive)
        yield Explanation(
            id=id,
            record=record,
            source=sources[place],
            classes=config.classes,
            probabilities=probabilities[0],
            grid=grid,
            log_odds=odds[0] - odds[1:],
            probability=probabilities[0] - probabilities[1:],
            preprocessing=preprocessing,
        )


def check_passes(loaded: LoadedModel, preprocessing: Preprocessing, samples: Samples, tokens: int | None) -> None:
    """Raise InputError if the explanations of all records need too many passes of the encoder, or for wrong tokens."""
    if tokens is not None and (not isinstance(tokens, int) or tokens < 1):
        raise InputError(f"explain: tokens are {tokens}; they must be a whole number of at least 1")
    config, rest = classifier_of(loaded), preprocessing.size[1:]
    passes = 0
    for windows, length in zip(window_counts(config, preprocessing, samples), lengths(samples), strict=True):
        passes += windows * (1 + len(_grid(loaded, preprocessing, (preprocessing.channels, length, *rest), tokens)))
    PASSES.check(passes, f"explain: hiding each part of {len(samples)} record{'s' * (len(samples) > 1)}")


def class_number(classes: Sequence[str], name: str) -> int:
    """The place of a class. Raises InputError for an unknown one."""
    if name not in classes:
        raise InputError(f"explain: there is no class '{name}'{did_you_mean(name, classes)}")
    return classes.index(name)


def picture_paths(place: Path, ids: Sequence[str]) -> list[Path]:
    """A file for each record: `place` itself, or ID.png in the folder `place`, where an ID loses the ending of a file.

    Raises InputError for one file for several records.
    """
    if place.suffix in PICTURES:
        if len(ids) > 1:
            raise InputError(f"{place}: is one picture, but there are {len(ids)} records; pass a folder")
        return [place]
    stems = [id[: -len(Path(id).suffix)] if Path(id).suffix.lower() in ENDINGS else id for id in ids]
    names = [re.sub(r"[^\w.-]+", "-", stem).strip("-.")[:100] or "record" for stem in stems]
    if len(set(names)) < len(names):
        names = [f"{number:05d}-{name}" for number, name in enumerate(names, 1)]
    return [place / f"{name}.png" for name in names]


def _grid(loaded: LoadedModel, preprocessing: Preprocessing, shape: Sequence[int], tokens: int | None) -> Grid:
    own = tokens or (1 if preprocessing.sample_names else None)
    return Grid.of(shape, place_width(preprocessing.size, loaded.encoder.config.patch, own))
