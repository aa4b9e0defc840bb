"""Every modality, by the `kind` of a recipe's data and of a model's preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from anyjepa.config import Config, usual_kind
from anyjepa.data.cells import source as cells
from anyjepa.data.cells.preprocessing import CellPreprocessing
from anyjepa.data.cells.source import CellDataConfig
from anyjepa.data.dataset import Dataset
from anyjepa.data.ecg import source as ecg
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, OnError
from anyjepa.data.ecg.source import Found
from anyjepa.data.images import source as images
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.images.source import ImageDataConfig
from anyjepa.data.series import source as series
from anyjepa.data.series.preprocessing import SeriesPreprocessing
from anyjepa.data.series.source import SeriesDataConfig
from anyjepa.data.video import source as video
from anyjepa.data.video.preprocessing import VideoPreprocessing
from anyjepa.data.video.source import VideoDataConfig
from anyjepa.errors import InputError

DataConfig = Annotated[
    EcgDataConfig | ImageDataConfig | SeriesDataConfig | VideoDataConfig | CellDataConfig,
    Field(discriminator="kind"),
    usual_kind("ecg"),
]
PREPROCESSING: dict[str, type[Config]] = {
    "ecg": EcgPreprocessing,
    "images": ImagePreprocessing,
    "series": SeriesPreprocessing,
    "video": VideoPreprocessing,
    "cells": CellPreprocessing,
}
SOURCES: dict[str, Any] = {
    "images": images,
    "series": series,
    "video": video,
    "cells": cells,
}  # ECGs have labels of their own


def training_data(
    config: DataConfig, data: Sequence[Path] | Found, exclude: Sequence[str] = ()
) -> tuple[Dataset, tuple[str, ...]]:
    """What a recipe trains on, and the names of the tasks that its records know.

    data: files or folders, the embedded set's training part if none, or ECGs in memory; exclude: ids to leave out.
    Raises InputError.
    """
    if isinstance(config, EcgDataConfig):
        return ecg.training_data(config, data, exclude)
    if isinstance(data, Found):
        raise InputError(f"these are ECGs; the recipe's data are {config.kind}")
    dataset = SOURCES[config.kind].training_data(config, data, exclude)
    return dataset, tuple(dataset.tables)


def evaluation_data(preprocessing: Any, paths: Sequence[Path], config: DataConfig | None, on_error: OnError) -> Dataset:
    """What `paths` hold as a model sees it, whole, with its labels; without paths the embedded set of `config`.

    Not for ECGs, whose labels follow from recordings. Raises InputError.
    """
    if config is not None and config.kind != preprocessing.kind:
        raise InputError(f"the recipe's data are {config.kind}, the model is of {preprocessing.kind}")
    return SOURCES[preprocessing.kind].evaluation_data(preprocessing, paths, config, on_error)
