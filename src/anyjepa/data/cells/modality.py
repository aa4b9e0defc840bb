"""Single cells as a modality."""

from __future__ import annotations

from anyjepa.data.cells import graph, inspection, source
from anyjepa.data.cells.dataset import CellDataset
from anyjepa.data.cells.preprocessing import CellPreprocessing
from anyjepa.data.cells.source import CellDataConfig
from anyjepa.data.modality import Inspection, Modality, Requests, Usage

CELLS = Modality(
    config=CellDataConfig,
    preprocessing=CellPreprocessing,
    dataset=CellDataset,
    training_data=source.training_data,
    graph=graph.graph,
    training_arrays=source.training_arrays,
    evaluation_data=source.evaluation_data,
    prepare_arrays=source.prepare_arrays,
    inspection=Inspection(
        inspection.inspect, inspection.render, lambda path: path.suffix.lower() == ".h5ad", ("settings",)
    ),
    usage=Usage(
        "adata",
        "AnnData with the model's genes, or log1p expression (cells, genes) in its order",
        fixed="genes of a cell",
        wrong="order of genes or scale",
    ),
    requests=Requests("cells", more=("genes",), raw=source.from_request),
)
