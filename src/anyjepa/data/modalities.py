"""All modalities, of the package and of users, by the `kind` of a recipe's data or of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from anyjepa.config import validated
from anyjepa.data.cells.modality import CELLS
from anyjepa.data.dataset import Dataset, OnError
from anyjepa.data.ecg.modality import ECG
from anyjepa.data.graph import GraphInput
from anyjepa.data.images.modality import IMAGES
from anyjepa.data.modality import DataConfig, Modality, Preprocessing
from anyjepa.data.records import Records
from anyjepa.data.samples import Samples
from anyjepa.data.series.modality import SERIES
from anyjepa.data.video.modality import VIDEO
from anyjepa.errors import InputError
from anyjepa.parts import Kinds, full_name

USUAL = ECG  # the modality of a recipe without `kind`
PACKAGED = (ECG, IMAGES, VIDEO, SERIES, CELLS)
MODALITIES: dict[str, Modality] = {m.kind: m for m in PACKAGED}

AnyData = Annotated[DataConfig, Kinds(*(m.config for m in PACKAGED), usual=USUAL.kind)]
PREPROCESSING = Kinds(*(m.preprocessing for m in PACKAGED))


def add_modality(modality: Modality) -> Modality:
    """Register your own modality. Call this in the module that defines its config and its preprocessing.

    Raises InputError if a class belongs to another modality, or lacks an attribute that every modality needs. A class
    that is defined again, as in a notebook, replaces the old one.
    """
    for part, more in ((modality.config, ()), (modality.preprocessing, ("prepare",))):
        for other in MODALITIES.values():
            if _same(part, other) and (other.kind != modality.kind or other in PACKAGED):
                raise InputError(f"{full_name(part)} belongs to {other.kind}; extend it with your own class")
        for name in ("channels", "size", *more):
            if name not in part.model_fields and not hasattr(part, name):
                raise InputError(f"{full_name(part)} has no {name}; define it")
    MODALITIES[modality.kind] = modality
    return modality


def modality_of(part: DataConfig | Preprocessing) -> Modality:
    """The modality of a recipe's data or of a model's preprocessing. Raises InputError if it is not registered.

    A class that is not registered itself has the modality of the class that it extends.
    """
    for cls in type(part).__mro__:
        for modality in MODALITIES.values():
            if _same(cls, modality):
                return modality
    raise InputError(f"kind '{part.kind}' does not belong to a modality; its module must call add_modality")


def _same(cls: type, modality: Modality) -> bool:
    return full_name(cls) in (full_name(modality.config), full_name(modality.preprocessing))


def training_data(config: DataConfig, paths: Sequence[Path], exclude: Sequence[str] = ()) -> Dataset:
    """Load the records that a recipe trains on; see `Modality`. Raises InputError."""
    return modality_of(config).training_data(config, paths, exclude)


def training_arrays(
    config: DataConfig, records: Records, exclude: Sequence[str], options: Mapping[str, Any]
) -> Dataset:
    """Prepare records in memory for training.

    options: fs, leads and unit for ECGs; None for other modalities. Raises InputError.
    """
    modality = modality_of(config)
    if modality.training_arrays is None:
        raise InputError(f"data: training on {modality.records} reads files only; pass their paths")
    options = _of_modality(modality, options)
    return records.grouped(modality.training_arrays(config, records, exclude, **options))


def evaluation_data(
    preprocessing: Preprocessing,
    paths: Sequence[Path],
    config: DataConfig | None,
    on_error: OnError,
    options: Mapping[str, Any],
    workers: int = 0,
) -> Dataset:
    """Load all records of `paths`, or of the embedded data set of `config`; see `Modality`. Raises InputError.

    options: options of the command line, such as the unit of ECGs; None if not set. workers: number of processes that
    read files, for modalities that can read files in parallel.
    """
    modality = modality_of(preprocessing)
    if config is not None and modality_of(config) is not modality:
        raise InputError(f"the recipe is for {modality_of(config).records}, the model for {modality.records}")
    options = _of_modality(modality, options)
    if modality.parallel:
        options["workers"] = workers
    return modality.evaluation_data(preprocessing, paths, config, on_error, **options)


def prepare_arrays(preprocessing: Preprocessing, raw: Any, options: Mapping[str, Any]) -> Samples:
    """Prepare raw records in memory for a model. options: as for `training_arrays`. Raises InputError."""
    modality = modality_of(preprocessing)
    return modality.prepare_arrays(preprocessing, raw, **_of_modality(modality, options))


def graph_of(preprocessing: Preprocessing, patch: int, longest: int, options: Mapping[str, Any]) -> GraphInput:
    """The preprocessing of a model as part of an exported graph. Raises InputError.

    patch, longest: number of samples of a token and of the longest input. options: as for `training_arrays`.
    """
    modality = modality_of(preprocessing)
    if modality.graph is None:
        raise InputError(f"export: models of {modality.records} cannot be exported; their modality has no graph")
    return modality.graph(preprocessing, patch, longest, **_of_modality(modality, options))


def _of_modality(modality: Modality, options: Mapping[str, Any]) -> dict[str, Any]:
    """Drop options that are None. Raises InputError for an option that the modality does not have."""
    options = {name: value for name, value in options.items() if value is not None}
    for name in options:
        if name not in modality.options:
            fitting = " and ".join(m.records for m in MODALITIES.values() if name in m.options)
            raise InputError(f"{name}: is for {fitting}; these are {modality.records}")
    return options


def read_preprocessing(plain: Mapping[str, Any], where: str) -> Preprocessing:
    """Create the preprocessing from the content of `preprocessing.json`. Raises InputError."""
    kind = str(plain.get("kind"))
    try:
        preprocessing = PREPROCESSING.find(Preprocessing, kind)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    return validated(preprocessing, plain, where)
