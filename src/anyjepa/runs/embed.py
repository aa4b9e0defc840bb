"""Embed files or records in memory, and write a table of the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.dataset import Dataset, OnError
from anyjepa.data.modalities import evaluation_data
from anyjepa.data.records import as_paths
from anyjepa.data.samples import SelectedSamples
from anyjepa.errors import InputError
from anyjepa.objectives.base import Weights
from anyjepa.progress import stage
from anyjepa.runs.folder import Run
from anyjepa.runs.formulas import write_csv
from anyjepa.runs.model import BATCH, Model, load
from anyjepa.runs.parts import SIZE, Progress, holding, in_parts, key_of, write_parts
from anyjepa.training.config import Precision
from anyjepa.training.precision import autocast
from anyjepa.writing import replacing

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".parquet", ".npz", ".csv")


def embed(
    model: str | Path | Run | Model,
    data: Any,
    *,
    weights: Weights | None = None,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> np.ndarray:
    """One vector per record, (N, D) float32, in the order of the data.

    model: a run, a folder or Hugging Face id, or a loaded model. data: files or folders, or records in memory as for
    `pretrain`. fs (Hz), leads (names of the rows) and unit: of ECGs whose files or arrays do not say so. Raises
    InputError for a record that cannot be read or does not fit. `embed_files` also returns ids, and can skip records.
    """
    encoder = model if isinstance(model, Model) else load(model.folder if isinstance(model, Run) else model, weights)
    with stage("embedding"):
        if (paths := as_paths(data)) is None:
            return encoder.embed(data, fs=fs, leads=leads, unit=unit)
        if not paths:
            raise InputError("embed: pass files, folders or records in memory")
        return encoder.embed_samples(read_for(encoder, paths, False, fs, leads, unit))


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
    window_s: float | None = None,
    stride_s: float | None = None,
    batch: int = BATCH,
    device: str | None = None,
    precision: Precision = "32",
    progress: Progress = lambda done, count: None,
) -> tuple[int, dict[str, str]]:
    """Write one vector per record, or per window of `window_s` seconds.

    Returns the number of records, and the reasons for those that were skipped.

    .parquet and .csv: columns id, group (for ECGs: patient), z0, ... .npz: arrays id, group, embedding (N, D).
    Windows also have start_s, and begin every `stride_s` seconds, by default half a window. fs, leads, unit: for ECG
    files that do not contain them. batch: windows that are encoded together. precision: 32, or bf16, which changes
    vectors a little. Large outputs are computed in parts; an interrupted call resumes. Raises InputError.
    """
    if stride_s is not None and window_s is None:
        raise InputError("embed: --stride needs --window")
    if output.suffix not in SUFFIXES:
        raise InputError(f"{output}: embeddings are written as {', '.join(SUFFIXES)}")
    refuse_input_as_output(output, paths)
    encoder = load(model, weights, device)
    samples = read_for(encoder, paths, skip_errors, fs, leads, unit)
    names = {"id": np.array(samples.ids), samples.group: np.array(samples.known_groups)}
    windows = None if window_s is None else encoder.windows(window_s, stride_s, batch)

    def compute(some: range) -> tuple[pd.DataFrame]:
        with autocast(encoder.device, precision):
            if windows is None:
                rows = np.array(some)
                vectors, more = encoder.embed_samples(SelectedSamples(samples, rows), batch), {}
            else:
                rows, starts, vectors = encoder.embed_windows(samples, windows, some)
                more = {"start_s": starts}
        return (_table({name: column[rows] for name, column in names.items()} | more, vectors),)

    count = len(samples) if windows is None else windows.count_in(samples)
    settings = {"batch": batch, "precision": precision, "windows": windows and windows.model_dump()}
    key = {} if count <= SIZE else key_of(encoder, samples, settings)
    with holding(output, count):
        parts = in_parts(output, key, count, compute, progress)
        write_parts(output, (table for (table,) in parts), encoder.dim)
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


def _table(names: dict[str, np.ndarray], vectors: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    columns = pd.DataFrame(vectors, columns=[f"z{i}" for i in range(vectors.shape[1])])
    return pd.concat([pd.DataFrame(names), columns], axis=1)


def write_table(output: Path, table: pd.DataFrame) -> None:
    """Write a .parquet or .csv file, completely or not at all; formulas in .csv are escaped. Raises InputError."""
    with replacing(output) as new:
        table.to_parquet(new) if output.suffix == ".parquet" else write_csv(table, new)
