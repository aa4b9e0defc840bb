"""A model folder: config, tensors, preprocessing and a card, written whole or not at all, never a pickle."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from torch import Tensor, nn

from anyjepa.config import validated
from anyjepa.data.files import read_json
from anyjepa.errors import InputError, one_line, reason
from anyjepa.limits import MEMORY
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import Head
from anyjepa.objectives.base import Objective, Weights
from anyjepa.weights.card import model_card
from anyjepa.weights.model import ModelConfig, Provenance, TrainingRecords, fit_parts, parse_config
from anyjepa.weights.tensors import check_digest, dump_tensors, read_tensors
from anyjepa.writing import replacing

CONFIG, TENSORS, STUDENT = "config.json", "model.safetensors", "student.safetensors"
PREPROCESSING, RECORDS, CARD = "preprocessing.json", "training_records.json", "README.md"
PREPARED = "anyjepa.preprocessing"  # key of the preprocessing's checksum in the metadata of the tensors
FILES = (CONFIG, TENSORS, STUDENT, PREPROCESSING, RECORDS, CARD)


@dataclass(frozen=True)
class LoadedModel:
    """A model as its folder holds it, in evaluation mode, on the CPU.

    weights: which encoder this is; predictor, second (the encoder of a second modality), head: None where the folder
    has none; preprocessing: for the data floor
    (its 'kind' says which); preprocessing_changed: whether it differs from what was saved with the weights, because the
    file was damaged or edited; records: what the weights were trained on, None where the folder does not say.
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

    @property
    def provenance(self) -> Provenance:
        return self.config.provenance


def save_pretrained(
    folder: Path | str,
    model: Objective,
    preprocessing: Mapping[str, object],
    provenance: Provenance,
    records: TrainingRecords | None = None,
) -> Path:
    """Write a pretrained objective: the teacher as the model, if there is one, and the student. See `save_model`."""
    parts, student = model.parts(), model.student
    second = parts.get("second")
    config = ModelConfig(
        objective=model.config,
        channels=student.channels,
        size=student.size,
        other=second.size if isinstance(second, Encoder) else None,
        weights=next(iter(model.encoders())),
        predictor="predictor" in parts,
        provenance=provenance,
    )
    beside = None if parts["encoder"] is student else nn.ModuleDict({"encoder": student}).state_dict()
    return save_model(folder, config, nn.ModuleDict(parts).state_dict(), preprocessing, beside, records)


def save_model(
    folder: Path | str,
    config: ModelConfig,
    tensors: Mapping[str, Tensor],
    preprocessing: Mapping[str, object],
    student: Mapping[str, Tensor] | None = None,
    records: TrainingRecords | None = None,
) -> Path:
    """Write a model folder beside its place, then rename: a reader sees the old one or the new one, never half.

    tensors: `encoder.*`, `predictor.*`, `second.*` and `head.*` as the config says; student: `encoder.*` of it.
    InputError if something does not fit, if it cannot be written (an old folder then stays as it is), or if the place
    holds other files.
    """
    folder = Path(os.path.realpath(folder))  # Path.resolve raises RuntimeError for links in a circle
    _refuse_other_files(folder)
    parts = fit_parts(str(folder), config, tensors)
    if student is not None:
        fit_parts(f"{folder} (student)", _encoder_only(config), student)
    _check_preprocessing(str(folder), preprocessing)
    parameters = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.named_children()}
    card = model_card(one_line(folder.name), config, preprocessing, parameters)
    metadata = {"anyjepa": json.dumps(config.architecture()), PREPARED: _digest(preprocessing)}
    with replacing(folder) as new:
        new.mkdir()
        (new / CONFIG).write_bytes(_json(config.model_dump(mode="json")))
        (new / TENSORS).write_bytes(dump_tensors(tensors, metadata))
        if student is not None:
            (new / STUDENT).write_bytes(dump_tensors(student, metadata))
        (new / PREPROCESSING).write_bytes(_json(dict(preprocessing)))
        if records is not None:
            (new / RECORDS).write_bytes(_json(records.model_dump(mode="json")))
        (new / CARD).write_text(card, encoding="utf-8")
    return folder


def load_model(path_or_id: Path | str, weights: Weights | None = None) -> LoadedModel:
    """Read a model folder, or fetch it from the Hugging Face Hub by its id.

    weights: None takes what the folder holds as its model (the teacher or the average, where there is one).
    InputError, one line, for the first thing that is missing or does not fit.
    """
    folder = find_model(path_or_id)
    config = read_config(folder)
    tensors, metadata = read_tensors(folder / TENSORS)
    prepared = metadata.get(PREPARED)
    check_metadata(folder / TENSORS, config, metadata)
    parts = fit_parts(str(folder / TENSORS), config, tensors)
    check_digest(folder / TENSORS, tensors, metadata)
    kind = config.weights
    if weights is not None and weights != config.weights:
        if weights != "student" or not (folder / STUDENT).is_file():
            raise InputError(f"{folder}: has no {weights} weights, only {config.weights}")
        tensors, metadata = read_tensors(folder / STUDENT)
        check_metadata(folder / STUDENT, config, metadata)
        parts.encoder, kind = fit_parts(str(folder / STUDENT), _encoder_only(config), tensors).encoder, "student"
        check_digest(folder / STUDENT, tensors, metadata)
    preprocessing = _check_preprocessing(str(folder / PREPROCESSING), read_json(folder / PREPROCESSING))
    records = folder / RECORDS
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
        records=validated(TrainingRecords, read_json(records, MEMORY), str(records)) if records.exists() else None,
    )


def read_config(folder: Path) -> ModelConfig:
    """`config.json` of a model folder. InputError names the first wrong key."""
    return parse_config(str(folder / CONFIG), read_json(folder / CONFIG))


def check_metadata(path: Path, config: ModelConfig, metadata: Mapping[str, str]) -> None:
    """InputError if the tensors were saved with another architecture than config.json says, naming the first key.

    Shapes do not show everything: the number of heads or a LayerNorm's epsilon changes none.
    """
    if "anyjepa" not in metadata:  # re-saved by another program; shapes and names are still compared
        return
    try:
        saved = json.loads(metadata["anyjepa"])
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its metadata is not JSON") from error
    difference = _first_difference("", saved, config.architecture())
    if difference:
        raise InputError(f"{path}: was saved with another config: {difference}")


def find_model(path_or_id: Path | str) -> Path:
    """The local folder of a path or of a Hugging Face id, 'owner/name' (fetched, or taken from the local cache)."""
    path, name = Path(path_or_id), str(path_or_id)
    if path.is_dir():
        return path
    if path.exists():
        raise InputError(f"{name}: is a file; a model is a folder (foreign checkpoints: anyjepa weights import)")
    is_id = isinstance(path_or_id, str) and re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name)
    if not is_id or path.parent.exists():
        raise InputError(f"{name}: there is no such model folder")
    from huggingface_hub import snapshot_download  # imports slowly

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:  # the hub's, httpx's or requests' own errors, by its version
        why = reason(error)
        raise InputError(f"{name}: is not a folder here, and the Hugging Face Hub did not provide it: {why}") from error


def _digest(preprocessing: Mapping[str, object]) -> str:
    return blake2b(json.dumps(preprocessing, sort_keys=True).encode(), digest_size=16).hexdigest()


def _encoder_only(config: ModelConfig) -> ModelConfig:
    return config.model_copy(update={"predictor": False, "other": None, "classifier": None})


def _check_preprocessing(where: str, preprocessing: object) -> dict[str, object]:
    if not isinstance(preprocessing, Mapping) or not isinstance(preprocessing.get("kind"), str):
        raise InputError(f"{where}: preprocessing must be a JSON object whose 'kind' is a name, such as 'ecg'")
    return dict(preprocessing)


def _first_difference(key: str, saved: object, given: object) -> str | None:
    """`key is GIVEN, was SAVED` for the first leaf that differs, None if all are equal."""
    if isinstance(saved, dict) and isinstance(given, dict):
        for name in saved:  # a key that it lacks was added later; its default is what the older code did
            inner = f"{key}.{name}" if key else str(name)
            if difference := _first_difference(inner, saved.get(name), given.get(name)):
                return difference
        return None
    return None if saved == given else f"{key} is {given}, was {saved}"


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


def _refuse_other_files(folder: Path) -> None:
    """A folder is replaced as a whole, so it must hold nothing else."""
    if folder.is_dir():
        other = sorted(entry.name for entry in folder.iterdir() if entry.name not in FILES)
        if other:
            raise InputError(f"{folder}: holds '{other[0]}', which is not part of a model; choose another place")
    elif folder.exists():
        raise InputError(f"{folder}: is a file; choose another place")
