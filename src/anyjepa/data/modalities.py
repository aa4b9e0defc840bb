"""Every modality, by the `kind` of a recipe's data and of a model's preprocessing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyjepa.data.dataset import Dataset
from anyjepa.data.ecg import source as ecg
from anyjepa.data.ecg.preprocessing import EcgPreprocessing, OnError
from anyjepa.data.ecg.source import EcgDataConfig, Found
from anyjepa.errors import InputError

DataConfig = EcgDataConfig
PREPROCESSING: dict[str, type[EcgPreprocessing]] = {"ecg": EcgPreprocessing}


def training_data(
    config: DataConfig, data: Sequence[Path] | Found, exclude: Sequence[str] = ()
) -> tuple[Dataset, tuple[str, ...]]:
    """What a recipe trains on, and the names of the tasks that its records know.

    data: files or folders, the embedded set's training part if none, or ECGs in memory; exclude: ids to leave out.
    Raises InputError.
    """
    return ecg.training_data(config, data, exclude)


def evaluation_data(preprocessing: Any, paths: Sequence[Path], config: DataConfig | None, on_error: OnError) -> Dataset:
    """What `paths` hold as a model sees it, whole, with its labels; without paths the embedded set of `config`.

    Not for ECGs, whose labels follow from recordings. Raises InputError.
    """
    raise InputError(f"there is no reader for data of kind '{preprocessing.kind}'")
