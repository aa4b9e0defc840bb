"""Files in, a table of embeddings out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.errors import InputError
from anyjepa.runs.model import Model, load

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".parquet", ".npz", ".csv")


def embed_files(
    model: str | Path,
    paths: Sequence[Path],
    output: Path,
    *,
    weights: Literal["teacher", "student"] | None = None,
    skip_errors: bool = False,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> tuple[int, dict[str, str]]:
    """Write one vector a record; returns how many, and what was skipped with the reason.

    .parquet and .csv: columns id, patient, z0 ... ; .npz: arrays id, patient, embedding (N, D). Raises InputError.
    """
    if output.suffix not in SUFFIXES:
        raise InputError(f"{output}: embeddings are written as {', '.join(SUFFIXES)}")
    refuse_input_as_output(output, paths)
    encoder = load(model, weights)
    kept, signals, skipped = read_for(encoder, paths, skip_errors, fs, leads, unit)
    ids = [recording.id for recording in kept]
    vectors = encoder.embed_prepared(ids, signals)
    _write(output, ids, [r.patient or "" for r in kept], vectors)
    return len(kept), skipped


def refuse_input_as_output(output: Path, paths: Sequence[Path]) -> None:
    """InputError for an output that would replace a file that is given, or one in a folder that is given."""
    if output.exists() and any(output.resolve().is_relative_to(path.resolve()) for path in paths):
        raise InputError(f"{output}: is one of the files that are read; give another place for the output")


def read_for(
    model: Model,
    paths: Sequence[Path],
    skip_errors: bool,
    fs: float | None,
    leads: Sequence[str] | None,
    unit: str | float | None,
) -> tuple[list[Recording], list[np.ndarray], dict[str, str]]:
    """Recordings, what the model sees of each, and those left out with the reason. InputError if none can be used."""
    reading = read(list(paths), fs=fs, leads=leads, unit=unit, on_error="skip" if skip_errors else "raise")
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
    return kept, signals, skipped


def _write(output: Path, ids: list[str], patients: list[str], vectors: np.ndarray) -> None:
    import pandas as pd

    if output.suffix == ".npz":
        arrays = {"id": np.array(ids), "patient": np.array(patients), "embedding": vectors}
        write_whole(output, lambda part: np.savez_compressed(part, **arrays))  # pyright: ignore[reportArgumentType]
    else:
        table = pd.DataFrame(vectors, columns=[f"z{i}" for i in range(vectors.shape[1])])
        table.insert(0, "id", ids)
        table.insert(1, "patient", patients)
        write_table(output, table)


def write_table(output: Path, table: pd.DataFrame) -> None:
    """A .parquet or .csv file, whole or not at all. Raises InputError."""
    parquet = output.suffix == ".parquet"
    write_whole(output, lambda part: table.to_parquet(part) if parquet else table.to_csv(part, index=False))


def write_whole(output: Path, write: Callable[[Path], None]) -> None:
    """A file written beside its place, then renamed. Raises InputError."""
    part = output.with_name(f".{output.name}.part{output.suffix}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        write(part)
        part.replace(output)
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror or error})") from error
    finally:
        part.unlink(missing_ok=True)
