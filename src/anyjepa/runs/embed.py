"""Files in, a table of embeddings out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from anyjepa.data.ecg.preprocessing import OnError
from anyjepa.data.ecg.reading import read
from anyjepa.data.modalities import evaluation_data
from anyjepa.data.samples import ArraySamples, Samples
from anyjepa.errors import InputError
from anyjepa.objectives.base import Weights
from anyjepa.runs.formulas import write_csv
from anyjepa.runs.model import EcgModel, Model, load
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
    """Write one vector a record; returns how many, and what was skipped with the reason.

    .parquet and .csv: columns id, group (of ECGs: patient), z0 ... ; .npz: arrays id, group, embedding (N, D). fs,
    leads, unit: of ECG files that do not say them. Raises InputError.
    """
    if output.suffix not in SUFFIXES:
        raise InputError(f"{output}: embeddings are written as {', '.join(SUFFIXES)}")
    refuse_input_as_output(output, paths)
    encoder = load(model, weights)
    found = read_for(encoder, paths, skip_errors, fs, leads, unit)
    _write(output, found, encoder.embed_samples(found.samples))
    return len(found.samples), found.skipped


def refuse_input_as_output(output: Path, paths: Sequence[Path]) -> None:
    """InputError for an output that would replace a file that is given, or one in a folder that is given."""
    if output.exists() and any(output.resolve().is_relative_to(path.resolve()) for path in paths):
        raise InputError(f"{output}: is one of the files that are read; give another place for the output")


class Read(NamedTuple):
    """Records of files as a model sees them."""

    samples: Samples
    groups: tuple[str, ...]  # '' where unknown
    called: str  # what groups are: 'patient' for ECGs
    skipped: dict[str, str]  # left out, with the reason


def read_for(
    model: Model,
    paths: Sequence[Path],
    skip_errors: bool,
    fs: float | None,
    leads: Sequence[str] | None,
    unit: str | float | None,
) -> Read:
    """Raises InputError if none can be used."""
    on_error: OnError = "skip" if skip_errors else "raise"
    if not isinstance(model, EcgModel):
        if wrong := [name for name, value in (("fs", fs), ("leads", leads), ("unit", unit)) if value is not None]:
            raise InputError(f"--{wrong[0]} is for ECGs; this is a model of {model.preprocessing.kind}")
        found = evaluation_data(model.preprocessing, list(paths), None, on_error)
        return Read(found, found.groups if found.groups_known else ("",) * len(found), "group", found.skipped)
    reading = read(list(paths), fs=fs, leads=leads, unit=unit, on_error=on_error)
    kept, signals, skipped = [], [], dict(reading.skipped)
    for recording in reading.recordings:
        try:
            signals.append(model.check(recording))
            kept.append(recording)
        except InputError as error:
            if not skip_errors:
                raise
            skipped[recording.id] = str(error)
    if not kept:
        raise InputError(f"no record could be used; the first: {next(iter(skipped.values()))}")
    samples = ArraySamples(tuple(recording.id for recording in kept), signals)
    return Read(samples, tuple(recording.patient or "" for recording in kept), "patient", skipped)


def _write(output: Path, found: Read, vectors: np.ndarray) -> None:
    import pandas as pd

    names = {"id": np.array(found.samples.ids), found.called: np.array(found.groups)}
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
