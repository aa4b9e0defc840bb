"""Embed files or records in memory, and write a table of the vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.records import as_paths
from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.errors import InputError
from anyjepa.objectives.base import Weights
from anyjepa.progress import stage
from anyjepa.runs.applying import ApplyOptions
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model, load, run_and_model
from anyjepa.runs.table_writing import TABLES, check_outputs

if TYPE_CHECKING:
    import pandas as pd


def embed(
    model: str | Path | Run | Model,
    data: Any,
    *,
    weights: Weights | None = None,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> np.ndarray:
    """Compute one vector per record, (N, D) float32, in the order of the data.

    model: a run, a run or model folder, a Hugging Face id, or a loaded model.
    data: files or folders, or records in memory as for `pretrain`.
    fs, leads, unit: of ECGs whose files or arrays do not contain them: rate in Hz, names of the rows, unit.

    Raises InputError for a record that cannot be read or does not fit. `embed_files` also returns ids, and can skip
    records.
    """
    _, encoder = run_and_model(model, weights)
    with stage("embedding"):
        if (paths := as_paths(data)) is None:
            return encoder.embed(data, fs=fs, leads=leads, unit=unit)
        if not paths:
            raise InputError("embed: pass files, folders or records in memory")
        with ApplyOptions(fs=fs, leads=leads, unit=unit).reading(encoder, paths) as dataset:
            return encoder.embed_samples(dataset)


def embed_files(
    model: str | Path,
    paths: Sequence[Path],
    output: Path,
    how: ApplyOptions = ApplyOptions(),
    *,
    weights: Weights | None = None,
    window_s: float | None = None,
    stride_s: float | None = None,
) -> tuple[int, dict[str, str]]:
    """Write one vector per record, or per window of `window_s` seconds.

    output: .parquet, .arrow or .csv with the columns id, group (for ECGs: patient), z0, ...; .npz with the arrays id,
        group and embedding (N, D); or STDOUT. Windows also have start_s.
    stride_s: seconds from the start of one window to the next, by default half a window.

    Returns the number of records, and the reasons for those that were skipped. Large outputs are computed in parts, so
    that calling it again after an interruption resumes. Raises InputError.
    """
    if stride_s is not None and window_s is None:
        raise InputError("embed: --stride needs --window")
    check_outputs([output], (*TABLES, ".npz"), "embeddings are", paths)
    encoder = load(model, weights, how.device)
    windows = None if window_s is None else encoder.windows(window_s, stride_s, how.batch)
    with how.reading(encoder, paths) as dataset:
        names = {"id": np.array(dataset.ids), dataset.group: np.array(dataset.known_groups)}

        def compute(samples: Samples, some: range) -> tuple[pd.DataFrame]:
            if windows is None:
                rows = np.array(some)
                vectors, more = encoder.embed_samples(SelectedSamples(samples, rows), how.batch), {}
            else:
                rows, starts, vectors = encoder.embed_windows(samples, windows, some)
                more = {"start_s": starts}
            return (_table({name: column[rows] for name, column in names.items()} | more, vectors),)

        count = None if windows is None else int(windows.counts(dataset).sum())
        settings = {"windows": windows and windows.model_dump()}
        return how.write([output], encoder, dataset, compute, settings, count, encoder.dim)


def _table(names: dict[str, np.ndarray], vectors: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    columns = pd.DataFrame(vectors, columns=[f"z{i}" for i in range(vectors.shape[1])])
    return pd.concat([pd.DataFrame(names), columns], axis=1)
