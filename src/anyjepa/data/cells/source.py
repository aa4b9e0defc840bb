"""Load the cells of a recipe, and choose which of them training may see."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from anyjepa.config import usual_kind
from anyjepa.data.array_likes import as_array, as_names
from anyjepa.data.cells.dataset import CellDataset, HiddenGenes
from anyjepa.data.cells.drug_simulator import DrugSimulatorConfig, simulate_drugs
from anyjepa.data.cells.encoding import EncodingConfig, fit_encoding
from anyjepa.data.cells.files import WITHOUT_FILTERS, CellFileConfig, from_anndata, read_h5ad
from anyjepa.data.cells.genes import variable_genes
from anyjepa.data.cells.matching import Controls, MatchingConfig
from anyjepa.data.cells.preprocessing import CellPreprocessing
from anyjepa.data.cells.protein_simulator import ProteinSimulatorConfig, simulate_proteins
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.splits import AnySplit, CellSplit, split
from anyjepa.data.cells.time_simulator import TimeSimulatorConfig, simulate_times
from anyjepa.data.modality import DataConfig
from anyjepa.data.records import Records, is_anndata
from anyjepa.data.samples import ArraySamples, Samples
from anyjepa.data.training_part import check_excluded
from anyjepa.errors import InputError

SIMULATORS: dict[str, Callable[[Any], Screen]] = {
    "knockdowns": simulate,
    "drugs": simulate_drugs,
    "differentiation": simulate_times,
    "proteins": simulate_proteins,
}
SimulatorConfig = Annotated[
    CellSimulatorConfig | DrugSimulatorConfig | TimeSimulatorConfig | ProteinSimulatorConfig,
    Field(discriminator="kind"),
    usual_kind("knockdowns"),
]


class CellDataConfig(DataConfig):
    """Cells for pretraining: an .h5ad file if one is passed, else the embedded simulator."""

    kind: Literal["cells"] = "cells"
    simulator: SimulatorConfig = Field(
        default=CellSimulatorConfig(), description="the simulated data set, used without files"
    )
    file: CellFileConfig = Field(default=CellFileConfig(), description="how to read a file")
    genes: PositiveInt = Field(
        default=2000, description="genes that the encoder reads: the perturbed ones, then the most variable"
    )
    proteins: NonNegativeInt = Field(
        default=0,
        description="surface proteins that a cell is paired with, in place of a control: all of a file; 0: none",
    )
    split: AnySplit | None = Field(
        default=None, description="cells to hold out for the evaluation; none: train on every cell"
    )
    split_seed: NonNegativeInt = Field(default=0, description="other seeds hold out other cells")
    matching: MatchingConfig = MatchingConfig()
    encoding: EncodingConfig = Field(default=EncodingConfig(), description="of perturbations")
    hidden: HiddenGenes = Field(default=HiddenGenes(), description="the first phase")

    @model_validator(mode="after")
    def _one_phase(self) -> Self:
        if self.proteins and self.hidden.steps:
            raise ValueError("hidden.steps must be 0 where cells are paired with their proteins")
        return self

    @property
    def channels(self) -> int:
        return 1

    @property
    def size(self) -> tuple[int, ...]:
        """Genes, each counting as one sample."""
        return (self.genes,)

    @property
    def other(self) -> tuple[int, ...] | None:
        """Proteins, each counting as one sample, where cells are paired with them."""
        return (self.proteins,) if self.proteins else None

    @property
    def condition_dim(self) -> int:
        return self.encoding.width

    @property
    def protocol(self) -> str:
        return "proteins" if self.proteins else "perturbation"


def training_data(config: CellDataConfig, paths: Sequence[Path], exclude: Sequence[str] = ()) -> CellDataset:
    """Load the cells that a recipe trains on; without paths, the embedded screen. exclude: ids of cells.

    Genes are chosen, controls drawn and features of genes computed from training cells only. Raises InputError.
    """
    return _training_set(config, find_screen(config, paths), exclude)


def training_arrays(config: CellDataConfig, records: Records, exclude: Sequence[str] = ()) -> CellDataset:
    """Prepare AnnData in memory for training. Raises InputError."""
    if not is_anndata(records.raw):
        raise InputError("data: training on cells needs AnnData, which names genes and perturbations")
    return _training_set(config, from_anndata(records.raw, config.file, bool(config.proteins)), exclude)


def _training_set(config: CellDataConfig, screen: Screen, exclude: Sequence[str]) -> CellDataset:
    if screen.proteins is not None and (there := len(screen.proteins.names)) != config.proteins:
        raise InputError(
            f"{screen.source}: has {there} proteins, not data.proteins={config.proteins}; set it to {there}"
        )
    check_excluded(exclude, screen.ids)
    unwanted = set(exclude)
    allowed = np.array([id not in unwanted for id in screen.ids]) if exclude else np.ones(len(screen), bool)
    split_rows = held_out(config, screen)
    rows = np.arange(len(screen)) if split_rows is None else split_rows.train
    rows = rows[allowed[rows]]
    if not len(rows):
        raise InputError(f"{screen.source}: no cell is left to train on")
    screen = screen.select(genes=variable_genes(screen, rows, config.genes))
    perturbed, controls = (rows[chosen] for chosen in (screen.condition[rows] != 0, screen.condition[rows] == 0))
    preprocessing = CellPreprocessing(
        genes=screen.genes,
        values="counts" if screen.has_counts else "log1p",
        encoding=fit_encoding(config.encoding, screen, controls),
        proteins=screen.proteins.names if screen.proteins is not None else (),
    )
    matched = Controls(screen, perturbed, rows, config.matching) if len(perturbed) and not config.proteins else None
    return CellDataset.of(screen, rows, preprocessing, matched, config.hidden)


def evaluation_data(
    preprocessing: CellPreprocessing,
    paths: Sequence[Path],
    config: CellDataConfig | None = None,
    on_error: Literal["raise", "skip"] = "raise",
) -> CellDataset:
    """Load all cells as a model sees them, with labels; without a config, every cell of a file. Raises InputError."""
    settings = config or CellDataConfig(file=WITHOUT_FILTERS)
    return CellDataset.whole(find_screen(settings, paths), preprocessing)


def prepare_arrays(preprocessing: CellPreprocessing, raw: Any) -> Samples:
    """Prepare cells for a model: AnnData or a screen, whose genes are matched by name, or log1p expression (N, G).

    Raises InputError for missing genes, and for log1p values where the model was trained on counts.
    """
    if isinstance(raw, Screen) or hasattr(raw, "var_names"):
        return CellDataset.whole(raw if isinstance(raw, Screen) else from_anndata(raw, WITHOUT_FILTERS), preprocessing)
    cells = [preprocessing.prepare(cell) for cell in np.atleast_2d(as_array(raw, "cells"))]
    return ArraySamples(tuple(map(str, range(len(cells)))), cells)


def from_request(values: Mapping[str, Any]) -> Any:
    """Convert a request for `prepare_arrays`: cells with names of genes become AnnData. Raises InputError."""
    import pandas as pd

    cells = as_array(values["cells"], "cells")
    if values.get("genes") is None:
        return cells
    genes = [name for name in as_names(values["genes"], cells.shape[-1] if cells.ndim else 0, "genes") if name]
    if cells.ndim > 2 or len(set(genes)) < cells.shape[-1]:
        raise InputError("cells: pass an array (cells, genes), and in genes a distinct name for each column")
    try:
        from anndata import AnnData
    except ImportError as error:
        raise InputError("genes: need the anndata package: pip install 'anyjepa[cells]'") from error
    return AnnData(np.atleast_2d(cells), var=pd.DataFrame(index=genes))


def find_screen(config: CellDataConfig, paths: Sequence[Path]) -> Screen:
    """Read the screen of the path, or simulate the embedded one if there is none. Proteins are read only if requested.

    Raises InputError.
    """
    if len(paths) > 1:
        raise InputError(f"pass one .h5ad file as data, not {len(paths)}")
    if paths:
        return read_h5ad(paths[0], config.file, bool(config.proteins))
    screen = SIMULATORS[config.simulator.kind](config.simulator)
    if config.proteins and screen.proteins is None:
        raise InputError(f"simulated {config.simulator.kind} have no proteins; data.simulator.kind=proteins has some")
    return screen if config.proteins else replace(screen, proteins=None)


def held_out(config: CellDataConfig, screen: Screen) -> CellSplit | None:
    """Split a screen into the cells that the recipe trains on and those that it holds out."""
    return None if config.split is None else split(screen, config.split, config.split_seed)
