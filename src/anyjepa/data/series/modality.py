"""Multivariate series as a modality."""

from __future__ import annotations

from anyjepa.data.modality import Inspection, Modality, Requests, Usage
from anyjepa.data.series import graph, inspection, source
from anyjepa.data.series.dataset import SeriesDataset
from anyjepa.data.series.preprocessing import SeriesPreprocessing
from anyjepa.data.series.source import SeriesDataConfig
from anyjepa.data.summary import render

SERIES = Modality(
    config=SeriesDataConfig,
    preprocessing=SeriesPreprocessing,
    dataset=SeriesDataset,
    training_data=source.training_data,
    graph=graph.graph,
    training_arrays=source.training_arrays,
    evaluation_data=source.evaluation_data,
    inspection=Inspection(inspection.inspect, render, inspection.recognise),
    drawing="series",
    usage=Usage("series", "(series, channels, samples) as recorded, or a list of series of any length"),
    requests=Requests("series"),
)
