"""Apply a model to files: how `embed` and `predict` read, compute and write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyjepa.data.dataset import Dataset, OnError
from anyjepa.data.modalities import evaluation_data
from anyjepa.data.samples import Samples
from anyjepa.data.sources import readable
from anyjepa.data.workers import reading_ahead
from anyjepa.evaluation.windows import BATCH
from anyjepa.runs.model import Model
from anyjepa.runs.parts import Progress, key_of, write_in_parts
from anyjepa.training.config import Precision
from anyjepa.training.precision import autocast

if TYPE_CHECKING:
    import pandas as pd

    from anyjepa.runs.table_writing import Write


@dataclass(frozen=True, kw_only=True)
class ApplyOptions:
    """How a model is applied. skip_errors: skip records that cannot be read or used, instead of raising an error.

    fs (Hz), leads, unit: of ECG files that do not state them. batch: windows that are encoded together. device: None:
    the first GPU if there is one. precision: 32, or bf16, which changes values a little. workers: processes that read
    files in advance, with the same values. progress: called with the number of records or windows done, and of all.
    """

    skip_errors: bool = False
    fs: float | None = None
    leads: Sequence[str] | None = None
    unit: str | float | None = None
    batch: int = BATCH
    device: str | None = None
    precision: Precision = "32"
    workers: int = 0
    progress: Progress = lambda done, count: None

    @contextmanager
    def reading(self, model: Model, paths: Sequence[Path]) -> Iterator[Dataset]:
        """Records of files, folders, archives, URLs and standard input (`-`) as a model sees them.

        They can be read only inside the context. Raises InputError if none can be used.
        """
        on_error: OnError = "skip" if self.skip_errors else "raise"
        options = {"fs": self.fs, "leads": self.leads, "unit": self.unit}
        with readable(paths) as usable:
            dataset = evaluation_data(model.preprocessing, usable, None, on_error, options, self.workers)
            yield dataset.without_short(model.encoder.config.patch[0], on_error)

    def write(
        self,
        outputs: Sequence[Path | None],
        model: Model,
        dataset: Dataset,
        compute: Callable[[Samples, range], tuple[pd.DataFrame, ...]],
        settings: Mapping[str, Any],
        count: int | None = None,
        vectors: int = 0,
        watch: Write | None = None,
    ) -> tuple[int, dict[str, str]]:
        """Write the tables that `compute` makes from all records, or from `count` windows; see `write_in_parts`.

        settings: what the values depend on besides the model and the records. Returns the number of records, and the
        reasons for those that were skipped.
        """
        settings = {"batch": self.batch, "precision": self.precision, **settings}
        with reading_ahead(dataset, self.workers) as samples:

            def computed(some: range) -> tuple[pd.DataFrame, ...]:
                with autocast(model.device, self.precision):
                    return compute(samples, some)

            write_in_parts(
                outputs,
                len(dataset) if count is None else count,
                lambda: key_of(model, dataset, settings),
                computed,
                self.progress,
                vectors,
                watch,
            )
        return len(dataset), dataset.skipped
