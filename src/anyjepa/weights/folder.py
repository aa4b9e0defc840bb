"""Save and load a model folder: config, tensors, preprocessing and a card, written completely or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from torch import Tensor, nn

from anyjepa.config import validated
from anyjepa.data.files import read_json
from anyjepa.errors import InputError, one_line
from anyjepa.limits import MEMORY
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import Head
from anyjepa.objectives.base import Objective, Weights
from anyjepa.weights.calibration import Calibration, read_calibration
from anyjepa.weights.card import model_card
from anyjepa.weights.hub import PREFIX, download, hub_id
from anyjepa.weights.model import ModelConfig, Provenance, TrainingRecords, fit_parts, parse_config
from anyjepa.weights.shipped import shipped_folder, shipped_names
from anyjepa.weights.tensors import HALF, check_digest, dump_tensors, read_tensors, widened
from anyjepa.writing import replacing, write_text

CONFIG, TENSORS, STUDENT = "config.json", "model.safetensors", "student.safetensors"
PREPROCESSING, RECORDS, CARD = "preprocessing.json", "training_records.json", "README.md"
CALIBRATION = "calibration.safetensors"
PREPARED = "anyjepa.preprocessing"  # key of the checksum of the preprocessing in the metadata of the tensors
FILES = (CONFIG, TENSORS, STUDENT, PREPROCESSING, RECORDS, CALIBRATION, CARD)


@dataclass(frozen=True)
class LoadedModel:
    """The contents of a model folder. Modules are in evaluation mode, on the CPU.

    weights: which encoder this is. predictor, second (the encoder of a second modality), head: None if the folder has
    none. preprocessing: JSON values, whose 'kind' is the modality. preprocessing_changed: whether it differs from what
    was saved with the weights, because the file was damaged or edited. records: what the weights were trained on, None
    if unknown; only a run folder has names (`TrainingRecords`). calibration: of a classifier, None if there is none.
    """

    folder: Path
    config: ModelConfig
    weights: str
    encoder: Encoder
    predictor: nn.Module | None
    second: Encoder | None
    head: Head | None
    preprocessing: dict[str, object]
    preprocessing_changed: bool
    records: TrainingRecords | None
    calibration: Calibration | None

    @property
    def provenance(self) -> Provenance:
        return self.config.provenance

    def parameters(self) -> dict[str, int]:
        """Number of parameters of each part."""
        parts = {name: getattr(self, name) for name in ("encoder", "predictor", "second", "head")}
        return _parameters({name: part for name, part in parts.items() if part is not None})


def save_pretrained(
    folder: Path | str,
    model: Objective,
    preprocessing: Mapping[str, object],
    provenance: Provenance,
    records: TrainingRecords | None = None,
) -> Path:
    """Write a pretrained objective: the teacher as the model, if there is one, and the student. See `save_model`."""
    parts, student = model.parts(), model.student
    other = None if parts["encoder"] is student else nn.ModuleDict({"encoder": student}).state_dict()
    config = _config(str(folder), model, provenance)
    return save_model(folder, config, nn.ModuleDict(parts).state_dict(), preprocessing, other, records)


def check_savable(model: Objective) -> None:
    """Raise InputError if an objective cannot be saved, because its config describes other parts than it has."""
    where = f"objective {model.config.kind}"
    config = _config(where, model, Provenance(data=""))
    fit_parts(where, config, nn.ModuleDict(model.parts()).state_dict())


def _config(where: str, model: Objective, provenance: Provenance) -> ModelConfig:
    parts = model.parts()
    second = parts.get("second")
    settings = {
        "objective": model.config,
        "channels": model.student.channels,
        "size": model.student.size,
        "other": second.size if isinstance(second, Encoder) else None,
        "weights": next(iter(model.encoders())),
        "predictor": "predictor" in parts,
        "provenance": provenance,
    }
    return validated(ModelConfig, settings, where)


def save_model(
    folder: Path | str,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    preprocessing: Mapping[str, object],
    student: Mapping[str, Tensor] | None = None,
    records: TrainingRecords | None = None,
    half: bool = False,
    calibration: Calibration | None = None,
) -> Path:
    """Write a model folder completely or not at all: it replaces an old one in one step.

    tensors: `encoder.*`, `predictor.*`, `second.*` and `head.*` as required by the config. student: `encoder.*` of the
    student. records: written without the names of records and groups. half: save `tensors` in half precision; they are
    read in single precision. calibration: of the classifier. Raises InputError if tensors do not match the config, if
    writing fails (an old folder then does not change), or if the folder contains other files.
    """
    folder = Path(os.path.realpath(folder))  # Path.resolve raises RuntimeError for circular links
    check_only_model(folder)
    parts = fit_parts(str(folder), config, tensors)
    if student is not None:
        fit_parts(f"{folder} (student)", _encoder_only(config), student)
    _check_preprocessing(str(folder), preprocessing)
    parameters = _parameters(dict(parts.named_children()))
    card = model_card(one_line(folder.name), config, preprocessing, parameters)
    metadata = {"anyjepa": json.dumps(config.architecture()), PREPARED: _digest(preprocessing)}
    with replacing(folder) as new:
        new.mkdir()
        (new / CONFIG).write_bytes(_json(config.model_dump(mode="json")))
        narrow = {
            name: tensor.half() if half and tensor.is_floating_point() else tensor for name, tensor in tensors.items()
        }
        (new / TENSORS).write_bytes(dump_tensors(narrow, metadata | ({HALF: "float16"} if half else {})))
        if student is not None:
            (new / STUDENT).write_bytes(dump_tensors(student, metadata))
        (new / PREPROCESSING).write_bytes(_json(dict(preprocessing)))
        if records is not None:
            (new / RECORDS).write_bytes(_json(records.without_names().model_dump(mode="json")))
        if calibration is not None:
            (new / CALIBRATION).write_bytes(calibration.dump())
        (new / CARD).write_text(card, encoding="utf-8")
    return folder


def load_model(path_or_id: Path | str, weights: Weights | None = None) -> LoadedModel:
    """Read a model folder, or download it from the Hugging Face Hub by its id.

    weights: None loads the model of the folder, which is the teacher or the average if there is one.
    Raises InputError if anything is missing or does not match the config.
    """
    folder = find_model(path_or_id)
    if is_foreign(folder):
        raise InputError(
            f"{path_or_id}: holds weights of another program; convert them: anyjepa weights import {path_or_id}"
        )
    config = read_config(folder)
    tensors, metadata = read_tensors(folder / TENSORS)
    prepared = metadata.get(PREPARED)
    check_metadata(folder / TENSORS, config, metadata)
    parts = fit_parts(str(folder / TENSORS), config, widened(tensors, metadata))
    check_digest(folder / TENSORS, tensors, metadata)
    kind = config.weights
    if weights is not None and weights != config.weights:
        if weights != "student" or not has_student(folder):
            raise InputError(f"{folder}: has no {weights} weights, only {config.weights}")
        tensors, metadata = read_tensors(folder / STUDENT)
        check_metadata(folder / STUDENT, config, metadata)
        parts.encoder, kind = fit_parts(str(folder / STUDENT), _encoder_only(config), tensors).encoder, "student"
        check_digest(folder / STUDENT, tensors, metadata)
    preprocessing = _check_preprocessing(str(folder / PREPROCESSING), read_json(folder / PREPROCESSING))
    return LoadedModel(
        folder=folder,
        config=config,
        weights=kind,
        encoder=parts.encoder,
        predictor=parts.predictor,
        second=parts.second,
        head=parts.head,
        preprocessing=preprocessing,
        preprocessing_changed=prepared not in (None, _digest(preprocessing)),
        records=read_records(folder),
        calibration=read_calibration(folder / CALIBRATION, config.classifier, parts.encoder.dim),
    )


def has_student(folder: Path) -> bool:
    """Whether a model folder also has the weights of the student."""
    return (folder / STUDENT).is_file()


def read_records(folder: Path) -> TrainingRecords | None:
    """Read `training_records.json` of a model folder or, with names, of a run folder. Raises InputError."""
    path = folder / RECORDS
    return validated(TrainingRecords, read_json(path, MEMORY), str(path)) if path.exists() else None


def write_records(folder: Path, records: TrainingRecords) -> None:
    """Write `training_records.json` with names into a run folder. Raises InputError."""
    write_text(folder / RECORDS, json.dumps(records.model_dump(mode="json"), indent=2) + "\n")


def read_config(folder: Path) -> ModelConfig:
    """Read `config.json` of a model folder. Raises InputError with the first wrong key."""
    return parse_config(str(folder / CONFIG), read_json(folder / CONFIG))


def is_foreign(folder: Path) -> bool:
    """Whether the `config.json` of a folder was written by another program, such as `transformers`."""
    try:
        config = read_json(folder / CONFIG)
    except InputError:
        return False
    return (
        isinstance(config, dict)
        and "schema_version" not in config
        and bool({"model_type", "architecture"} & config.keys())
    )


def check_metadata(path: Path, config: ModelConfig, metadata: Mapping[str, str]) -> None:
    """Raise InputError with the first key of config.json that differs from the architecture saved with the tensors.

    This finds changes that do not affect shapes, such as the number of heads or the epsilon of a LayerNorm.
    """
    if "anyjepa" not in metadata:  # saved again by another program; names and shapes are still checked
        return
    try:
        saved = json.loads(metadata["anyjepa"])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its metadata is not JSON") from error
    difference = _first_difference("", saved, config.architecture())
    if difference:
        raise InputError(f"{path}: was saved with another config: {difference}")


def find_model(path_or_id: Path | str) -> Path:
    """Find a model by path, by name in the package, or by Hugging Face id 'hf:owner/name', downloading it if needed.

    The prefix can be omitted unless a local file or folder has the name of the owner.
    """
    path, name = Path(path_or_id), str(path_or_id)
    if path.is_dir():
        if not (path / "config.json").exists():
            raise InputError(f"{name}: is neither a run nor a model folder; there is no config.json in it")
        return path
    if name in shipped_names():
        return shipped_folder(name)
    if path.exists():
        raise InputError(f"{name}: is a file, but a model is a folder; 'anyjepa weights import' converts checkpoints")
    if (repository := hub_id(path_or_id)) is None:
        raise InputError(
            f"{name}: there is no such run or model; pass a folder, a name from 'anyjepa models', or {PREFIX}OWNER/NAME"
        )
    try:
        return download(repository, FILES)
    except InputError as error:
        if repository != name:
            raise
        raise InputError(f"{name}: is not a folder here; {str(error).removeprefix(f'{name}: ')}") from error


def _parameters(parts: Mapping[str, nn.Module]) -> dict[str, int]:
    return {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}


def _digest(preprocessing: Mapping[str, object]) -> str:
    return blake2b(json.dumps(preprocessing, sort_keys=True).encode(), digest_size=16).hexdigest()


def _encoder_only(config: ModelConfig) -> ModelConfig:
    return config.model_copy(update={"predictor": False, "other": None, "classifier": None})


def _check_preprocessing(where: str, preprocessing: object) -> dict[str, object]:
    if not isinstance(preprocessing, Mapping) or not isinstance(preprocessing.get("kind"), str):
        raise InputError(f"{where}: preprocessing must be a JSON object whose 'kind' is a name, such as 'ecg'")
    return dict(preprocessing)


def _first_difference(key: str, saved: object, current: object) -> str | None:
    """`key is CURRENT, was SAVED` for the first value that differs; None if all are equal."""
    if isinstance(saved, dict) and isinstance(current, dict):
        for name in saved:  # missing keys were added later, with defaults that match the older code
            inner = f"{key}.{name}" if key else str(name)
            if difference := _first_difference(inner, saved.get(name), current.get(name)):
                return difference
        return None
    return None if saved == current else f"{key} is {current}, was {saved}"


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def check_only_model(folder: Path) -> None:
    """Raise InputError if the folder contains other files, because it is replaced as a whole."""
    if folder.is_dir():
        other = sorted(entry.name for entry in folder.iterdir() if entry.name not in FILES)
        if other:
            raise InputError(f"{folder}: contains '{other[0]}', which is not part of a model; choose another folder")
    elif folder.exists():
        raise InputError(f"{folder}: is a file; choose another folder")
