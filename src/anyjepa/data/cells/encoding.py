"""Encode perturbations as vectors: a condition is a set of tokens, one per perturbed gene or compound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self, get_args

import numpy as np
from pydantic import Field, model_validator

from anyjepa.config import Config, Width, validated
from anyjepa.data.cells.conditions import Condition, Kind, require_known
from anyjepa.data.cells.screen import Screen
from anyjepa.data.tables.cells import repeated
from anyjepa.data.tables.table import open_table
from anyjepa.errors import InputError

KINDS: tuple[Kind, ...] = get_args(Kind)
AMOUNTS = 4  # numbers per token: log1p of dose and of time, and whether each is known
REST = len(KINDS) + AMOUNTS
LARGEST = 1e6  # largest feature, because the predictor computes in float32


class EncodingConfig(Config):
    """Settings for encoding a perturbation as a vector of `width` numbers, padded with zeros."""

    width: Width = Field(default=128, description="width of a token: name or features, kind, dose and time")
    by: Literal["name", "coexpression", "table"] = Field(
        default="name",
        description="name: one-hot, from which the predictor learns a vector; coexpression: correlations of genes over "
        "control cells, also available for unseen genes; table: your own features (GO, ESM2, fingerprints of drugs)",
    )
    table: str | None = Field(
        default=None, description="CSV with a name and its features per row; none: the features that the screen has"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.by != "table" and self.table is not None:
            raise ValueError("table=FILE goes with by=table")
        if self.width <= REST:
            raise ValueError(f"width {self.width} is too small: kind, dose and time take {REST}, the name at least 1")
        return self


class PerturbationEncoding(Config):
    """The perturbations that a model knows: their names and features. Saved with the model."""

    width: Width = Field(description="of a token")
    names: tuple[str, ...] = Field(description="genes and compounds that can be named")
    features: tuple[tuple[float, ...], ...] | None = Field(
        default=None, description="of each name; none: a place of its own"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wide = len(self.names) if self.features is None else max(map(len, self.features), default=0)
        if wide + REST > self.width:
            raise ValueError(
                f"a perturbation's identity takes {wide} numbers, its kind, dose and time {REST}: width {self.width} "
                f"is too small; set data.encoding.width and objective.predictor.condition_dim to {wide + REST} or more"
            )
        if len(set(self.names)) < len(self.names):
            raise ValueError("a perturbation is named twice")
        if self.features is not None:
            if len(self.features) != len(self.names) or len(set(map(len, self.features))) > 1:
                raise ValueError(f"{len(self.names)} names need as many features, all of one length")
            if any(abs(value) > LARGEST for vector in self.features for value in vector):
                raise ValueError(f"features are larger than {LARGEST:g}; scale them")
        return self

    def encode(self, conditions: Sequence[Condition]) -> tuple[np.ndarray, np.ndarray]:
        """Encode B conditions as tokens (B, P, width) float32, with P >= 1, and a mask (B, P) bool of those that exist.

        A control has no token. Raises InputError, with the nearest names, for an unknown perturbation.
        """
        most = max([1, *map(len, conditions)])
        tokens = np.zeros((len(conditions), most, self.width), np.float32)
        valid = np.zeros((len(conditions), most), bool)
        row = {name: number for number, name in enumerate(self.names)}
        for i, condition in enumerate(conditions):
            if not condition.names <= row.keys():  # a fast check, because every training batch needs it
                require_known(condition, row)
            for place, one in enumerate(condition):
                token, valid[i, place] = tokens[i, place], True
                if self.features is None:
                    token[row[one.name]] = 1
                else:
                    features = self.features[row[one.name]]
                    token[: len(features)] = features
                token[-REST + KINDS.index(one.kind)] = 1
                for last, amount in ((-AMOUNTS, one.dose), (-AMOUNTS + 2, one.time)):
                    if amount is not None:
                        token[last : last + 2 or None] = np.log1p(max(amount, 0)), 1
        return tokens, valid


def fit_encoding(config: EncodingConfig, screen: Screen, controls: np.ndarray) -> PerturbationEncoding:
    """Create the encoding for the perturbations of a screen and, if there are features, for all others that have some.

    controls: rows of control cells. Raises InputError for a perturbation without features, and for more names than
    `width` has room for.
    """
    if config.by == "name":
        return validated(PerturbationEncoding, {"width": config.width, "names": screen.perturbations}, screen.source)
    table, where = _features(config, screen, controls)
    if missing := [name for name in screen.perturbations if name not in table]:
        raise InputError(
            f"{screen.source}: perturbation '{missing[0]}' has no features in {where}; data.encoding.by=name needs "
            "none, but knows only the perturbations of training"
        )
    features = [tuple(map(float, vector)) for vector in table.values()]
    plain = {"width": config.width, "names": tuple(table), "features": tuple(features)}
    return validated(PerturbationEncoding, plain, screen.source)


def _features(config: EncodingConfig, screen: Screen, controls: np.ndarray) -> tuple[Mapping[str, np.ndarray], str]:
    """Features (F,) of each perturbation by name, and where they come from."""
    if config.by == "coexpression":
        return _coexpression(screen, controls, config.width - REST), "the panel's genes"
    if config.table is not None:
        return read_features(Path(config.table)), config.table
    if screen.features is None:
        raise InputError(f"{screen.source}: has no features of perturbations; set data.encoding.table=FILE")
    return screen.features, "its own features"


def _coexpression(screen: Screen, controls: np.ndarray, width: int) -> dict[str, np.ndarray]:
    """Compute at most 32 features per gene: principal axes of the correlations of genes over control cells."""
    if len(controls) < 2:
        raise InputError(f"{screen.source}: co-expression needs control cells in training, there are {len(controls)}")
    cells = screen.rows(controls).astype(np.float64)
    z = (cells - cells.mean(0)) / np.maximum(cells.std(0), 1e-8) / np.sqrt(len(cells))
    _, values, axes = np.linalg.svd(z, full_matrices=False)
    kept = min(32, width, len(values))
    vectors = (axes[:kept] * values[:kept, None]).T
    vectors /= np.sqrt(np.maximum((vectors**2).sum(1).mean(), 1e-12))
    return dict(zip(screen.genes, np.round(vectors, 6), strict=True))


def read_features(path: Path) -> dict[str, np.ndarray]:
    """Read features (F,) by name from a table with a name and numbers in each row. Raises InputError."""
    file = open_table(path)
    first, *rest = file.names
    file.check_header(rest)
    table = file.read(file.names)
    cells = table.texts(first)
    names = [cell for cell in cells if cell is not None]
    values = table.numbers(rest).T
    if None in cells:
        raise InputError(f"{path}: row {cells.index(None) + 1}: column '{first}' is empty; it names the perturbations")
    if twice := repeated(names):
        raise InputError(f"{path}: name '{twice[0]}' occurs twice")
    if not values.size or not np.isfinite(values).all():
        raise InputError(f"{path}: every name needs finite features")
    return dict(zip(names, values, strict=True))
