"""The modalities that come with the package, and what is done by the `kind` of a recipe's data or of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from anyjepa.config import usual_kind, validated
from anyjepa.data.cells.modality import CELLS
from anyjepa.data.dataset import Dataset, OnError
from anyjepa.data.ecg.modality import ECG
from anyjepa.data.images.modality import IMAGES
from anyjepa.data.modality import DataConfig, Modality, Preprocessing
from anyjepa.data.samples import Samples
from anyjepa.data.series.modality import SERIES
from anyjepa.data.video.modality import VIDEO
from anyjepa.errors import InputError, did_you_mean

USUAL = ECG  # where a recipe names no kind
MODALITIES: Mapping[str, Modality] = {m.kind: m for m in (ECG, IMAGES, VIDEO, SERIES, CELLS)}

if TYPE_CHECKING:
    AnyDataConfig = DataConfig
else:
    AnyDataConfig = Annotated[
        reduce(or_, [modality.config for modality in MODALITIES.values()]),
        Field(discriminator="kind"),
        usual_kind(USUAL.kind),
    ]


def modality_of(part: DataConfig | Preprocessing) -> Modality:
    """The modality of a recipe's data or of a model's preprocessing."""
    return MODALITIES[part.kind]


def training_data(config: DataConfig, paths: Sequence[Path], exclude: Sequence[str] = ()) -> Dataset:
    """The records that a recipe trains on, see `Modality`. Raises InputError."""
    return modality_of(config).training_data(config, paths, exclude)


def evaluation_data(
    preprocessing: Preprocessing,
    paths: Sequence[Path],
    config: DataConfig | None,
    on_error: OnError,
    options: Mapping[str, Any],
) -> Dataset:
    """All records of `paths` or of the embedded data set of `config`, see `Modality`. Raises InputError.

    options: of the command line, such as the unit of ECGs; None where the user does not say.
    """
    modality = modality_of(preprocessing)
    if config is not None and config.kind != preprocessing.kind:
        raise InputError(f"the recipe is for {modality_of(config).records}, the model for {modality.records}")
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if name not in modality.options:
            fitting = " and ".join(m.records for m in MODALITIES.values() if name in m.options)
            raise InputError(f"--{name} is for {fitting}; this is a model of {modality.records}")
    return modality.evaluation_data(preprocessing, paths, config, on_error, **options)


def prepare_arrays(preprocessing: Preprocessing, raw: Any, **options: Any) -> Samples:
    """Raw records in memory as a model sees them. Raises InputError."""
    return modality_of(preprocessing).prepare_arrays(preprocessing, raw, **options)


def read_preprocessing(plain: Mapping[str, Any], where: str) -> Preprocessing:
    """The preprocessing in `preprocessing.json`. Raises InputError."""
    kind = str(plain.get("kind"))
    if kind not in MODALITIES:
        raise InputError(f"{where}: kind '{kind}' is not known{did_you_mean(kind, list(MODALITIES))}")
    return validated(MODALITIES[kind].preprocessing, plain, where)
