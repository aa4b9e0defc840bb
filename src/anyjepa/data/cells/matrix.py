"""A matrix of cells by genes that stays in its HDF5 file; rows are read on access."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.data.cells.sparse import by_cells, numbers
from anyjepa.data.hdf5 import examine
from anyjepa.errors import InputError, reason


@dataclass(frozen=True, eq=False)
class BackedMatrix:
    """A matrix in its file: `matrix[rows]` reads rows in any order, as csr if stored sparse by cells, else an array.

    Each process opens the file itself, so the matrix can be used in forked or spawned workers.
    """

    path: Path
    key: str  # key of the matrix in the file: 'X', 'layers/counts', 'raw/X'
    size: tuple[int, int]  # as stored
    indptr: np.ndarray | None  # (cells + 1,) where rows begin; None: stored dense
    cells: np.ndarray | None = None  # rows of the file that are shown; None: all
    genes: np.ndarray | None = None  # columns of the file that are shown; None: all
    _open: dict[int, Any] = field(default_factory=dict, repr=False)  # the file, by process

    @property
    def shape(self) -> tuple[int, int]:
        cells, genes = (
            self.size[axis] if kept is None else len(kept) for axis, kept in enumerate((self.cells, self.genes))
        )
        return cells, genes

    def __getitem__(self, rows: np.ndarray) -> Any:
        requested = np.asarray(rows, np.int64) if self.cells is None else self.cells[rows]
        order, back = np.unique(requested, return_inverse=True)
        try:
            group = self._file()[self.key]
            block = self._dense(group, order) if self.indptr is None else self._sparse(group, order, self.indptr)
        except InputError:
            raise
        except Exception as error:  # h5py raises OSError, RuntimeError, ValueError and others
            raise InputError(f"{self.path}: {self.key} cannot be read ({reason(error)})") from error
        block = block if len(order) == len(requested) and (np.diff(requested) > 0).all() else block[back]
        return block if self.genes is None else block[:, self.genes]

    def take(self, cells: np.ndarray | None, genes: np.ndarray | None) -> BackedMatrix:
        """Select rows and columns, in this order, without reading them; None selects all."""
        return replace(self, cells=_of(self.cells, cells), genes=_of(self.genes, genes), _open={})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def _file(self) -> Any:
        if os.getpid() not in self._open:
            import h5py

            examine(self.path)
            self._open[os.getpid()] = h5py.File(self.path, "r")
        return self._open[os.getpid()]

    def _dense(self, stored: Any, rows: np.ndarray) -> np.ndarray:
        parts = [stored[a:b] for a, b in _runs(rows)]
        return numbers(np.concatenate(parts or [np.empty((0, self.size[1]), stored.dtype)]), self._where)

    def _sparse(self, stored: Any, rows: np.ndarray, indptr: np.ndarray) -> Any:
        def read(name: str) -> np.ndarray:
            parts = [stored[name][indptr[a] : indptr[b]] for a, b in _runs(rows)]
            return np.concatenate(parts or [np.empty(0, stored[name].dtype)])

        starts = np.r_[0, np.cumsum(indptr[rows + 1] - indptr[rows])]
        return by_cells(read("data"), read("indices"), starts, (len(rows), self.size[1]), "cells", self._where)

    @property
    def _where(self) -> str:
        return f"{self.path}: {self.key}"


def _runs(rows: np.ndarray) -> Iterator[tuple[int, int]]:
    """Sorted distinct rows as ranges [a, b)."""
    if len(rows):
        for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
            yield int(run[0]), int(run[-1]) + 1


def _of(shown: np.ndarray | None, kept: np.ndarray | None) -> np.ndarray | None:
    return shown if kept is None else kept if shown is None else shown[kept]
