"""Embed files and write a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anyjepa.data.dataset import Dataset, OnError
from anyjepa.data.modalities import evaluation_data
from anyjepa.errors import InputError
from anyjepa.objectives.base import Weights
from anyjepa.runs.formulas import write_csv
from anyjepa.runs.model import Model, load
from anyjepa.writing import replacing

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".parquet", ".npz", ".csv")


def embed_files(
    model: str | Path,
    paths: Sequence[Path],
    output: Path,
    *,
    weights: Weights | None = None,
    skip_errors: bool = False,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> tuple[int, dict[str, str]]:
    """Write one vector per record. Returns the number of records, and the reasons for those that were skipped.

    .parquet and .csv: columns id, group (for ECGs: patient), z0, ... .npz: arrays id, group, embedding (N, D).
    fs, leads, unit: for ECG files that do not contain them. Raises InputError.
    """
    if output.suffix not in SUFFIXES:
        raise InputError(f"{output}: embeddings are written as {', '.join(SUFFIXES)}")
    refuse_input_as_output(output, paths)
    encoder = load(model, weights)
    samples = read_for(encoder, paths, skip_errors, fs, leads, unit)
    _write(output, samples, encoder.embed_samples(samples))
    return len(samples), samples.skipped


def refuse_input_as_output(output: Path, paths: Sequence[Path]) -> None:
    """Raise InputError for an output that would replace an input file, or a file in an input folder."""
    if output.exists() and any(output.resolve().is_relative_to(path.resolve()) for path in paths):
        raise InputError(f"{output}: is one of the input files; choose another output")


def read_for(
    model: Model,
    paths: Sequence[Path],
    skip_errors: bool,
    fs: float | None,
    leads: Sequence[str] | None,
    unit: str | float | None,
) -> Dataset:
    """Records of files as a model sees them. Raises InputError if none can be used."""
    on_error: OnError = "skip" if skip_errors else "raise"
    options = {"fs": fs, "leads": leads, "unit": unit}
    samples = evaluation_data(model.preprocessing, list(paths), None, on_error, options)
    return samples.without_short(model.encoder.config.patch[0], on_error)


def _write(output: Path, samples: Dataset, vectors: np.ndarray) -> None:
    import pandas as pd

    names = {"id": np.array(samples.ids), samples.group: np.array(samples.known_groups)}
    if output.suffix == ".npz":
        arrays = {**names, "embedding": vectors}
        with replacing(output) as new:
            np.savez_compressed(new, **arrays)  # pyright: ignore[reportArgumentType]
    else:
        columns = pd.DataFrame(vectors, columns=[f"z{i}" for i in range(vectors.shape[1])])
        write_table(output, pd.concat([pd.DataFrame(names), columns], axis=1))


def write_table(output: Path, table: pd.DataFrame) -> None:
    """Write a .parquet or .csv file, completely or not at all; formulas in .csv are escaped. Raises InputError."""
    with replacing(output) as new:
        table.to_parquet(new) if output.suffix == ".parquet" else write_csv(table, new)
