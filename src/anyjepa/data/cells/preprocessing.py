"""Prepare cells for an encoder: log1p expression of the model's genes, in its order."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from anyjepa.data.array_likes import as_array
from anyjepa.data.cells.encoding import PerturbationEncoding
from anyjepa.data.cells.screen import SCALE, Screen
from anyjepa.data.modality import Preprocessing
from anyjepa.errors import InputError

LARGEST = 1.001 * np.log1p(SCALE)  # log1p of all counts in one gene


class CellPreprocessing(Preprocessing):
    """Everything needed to prepare new cells for a model: its genes, the scale of values, and known perturbations."""

    kind: Literal["cells"] = "cells"
    genes: tuple[str, ...] = Field(min_length=1, description="each once, in the order of the encoder's input")
    values: Literal["counts", "log1p"] = Field(
        description="counts: log1p of counts scaled to 10,000 per cell over all genes measured; log1p: as the file had "
        "them, on a scale that is not known"
    )
    encoding: PerturbationEncoding
    proteins: tuple[str, ...] = Field(
        default=(), description="each once, in the order of the second encoder's input: centred log ratios"
    )

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.genes)) < len(self.genes):
            raise ValueError("a gene occurs twice")
        if len(set(self.proteins)) < len(self.proteins):
            raise ValueError("a protein occurs twice")
        return self

    @property
    def channels(self) -> int:
        return 1

    @property
    def size(self) -> tuple[int, ...]:
        """Genes, each counting as one sample."""
        return (len(self.genes),)

    @property
    def fixed_size(self) -> bool:
        return True

    @property
    def sample_names(self) -> tuple[str, ...]:
        return self.genes

    @property
    def other(self) -> tuple[int, ...] | None:
        """Proteins, each counting as one sample."""
        return (len(self.proteins),) if self.proteins else None

    @property
    def condition_dim(self) -> int:
        return self.encoding.width

    def is_single(self, raw: np.ndarray) -> bool:
        return raw.ndim == 1

    def prepare(self, raw: np.ndarray) -> np.ndarray:
        """Prepare log1p expression (G,) of the model's genes in its order as (1, G) float32. Raises InputError."""
        values = as_array(raw, "a cell").astype(np.float32)
        if values.shape != self.size:
            raise InputError(f"a cell has {values.shape} values, the model reads {len(self.genes)} genes in its order")
        if not np.isfinite(values).all() or values.min() < 0:
            raise InputError("a cell has values that are negative or not finite; log1p expression is neither")
        if self.values == "counts" and values.max() > LARGEST:
            raise InputError(
                f"a cell has value {values.max():g}, above ln(10,001): give AnnData, or log1p of counts per 10,000"
            )
        return values[None]

    def fit(self, screen: Screen) -> Screen:
        """Restrict a screen to the genes and, if it has any, the proteins of the model.

        Raises InputError for a missing gene or protein, and for values of another scale.
        """
        has = "counts" if screen.has_counts else "log1p"
        if has != self.values:
            raise InputError(
                f"{screen.source}: has {has}, the model was trained on {self.values}; if the file was misread, "
                "set values=counts or values=log1p"
            )
        chosen = screen.select(genes=self.genes)
        if not self.proteins or screen.proteins is None:
            return chosen
        return replace(chosen, proteins=screen.proteins.select(self.proteins, screen.source))
