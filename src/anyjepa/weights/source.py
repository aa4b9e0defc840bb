"""Published weights of other programs: a checkpoint file, or a Hugging Face folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from torch import Tensor

from anyjepa.data.files import read_json
from anyjepa.errors import InputError
from anyjepa.weights.foreign import read_foreign
from anyjepa.weights.hub import download, hub_id, names_in
from anyjepa.weights.tensors import check_digest, read_tensors

CONFIG = "config.json"
SHARD = re.compile(r"[\w-][\w.-]*\.safetensors")
PROCESSOR = "preprocessor_config.json"
INDEX = "model.safetensors.index.json"  # lists the files of weights in several files
WEIGHTS = ("model.safetensors", INDEX, "pytorch_model.bin")  # of a folder, in this order


@dataclass(frozen=True)
class Source:
    """A file of weights with the settings of its Hugging Face folder; {} for a single file.

    name: of the file, the folder or the repository, for the card of the model.
    """

    file: Path
    config: Mapping[str, object]
    name: str

    @property
    def folder(self) -> Path:
        return self.file.parent

    @property
    def where(self) -> str:
        """Name in messages: the folder if it describes the weights, else the file."""
        return str(self.folder if self.config else self.file)

    @cached_property
    def content(self) -> Mapping[str, object]:
        """Tensors by name, or the nested dictionary of a checkpoint. Raises InputError."""
        if self.file.name == INDEX:
            return {name: tensor for file in _shards(self.file) for name, tensor in _safetensors(file).items()}
        return _safetensors(self.file) if self.file.suffix == ".safetensors" else read_foreign(self.file)

    @property
    def model_type(self) -> str:
        """Type of the model in `transformers`; "" if there is none."""
        value = self.config.get("model_type")
        return value if isinstance(value, str) else ""


def find_source(path_or_id: Path | str) -> Source:
    """Find weights by path or Hugging Face id, without reading them. Raises InputError if there are none."""
    repository = hub_id(path_or_id)
    path = Path(path_or_id) if repository is None else _downloaded(repository)
    if not path.is_dir():
        beside = path.name in WEIGHTS and (path.parent / CONFIG).is_file()
        return Source(path, _settings(path.parent) if beside else {}, path.name)
    file = next((path / name for name in WEIGHTS if (path / name).is_file()), None)
    if file is None:
        raise InputError(f"{path}: contains none of {', '.join(WEIGHTS)}; pass the file of a checkpoint")
    config = _settings(path) if (path / CONFIG).is_file() else {}
    return Source(file, config, repository or path.resolve().name)


def tensors_in(value: object, prefix: str = "") -> dict[str, Tensor]:
    """Tensors of nested dictionaries, with names joined by dots."""
    if isinstance(value, Tensor):
        return {prefix: value}
    tensors: dict[str, Tensor] = {}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            tensors |= tensors_in(inner, f"{prefix}.{key}" if prefix else str(key))
    return tensors


def _downloaded(repository: str) -> Path:
    """Download the settings of a repository, and its weights in the first format that it has."""
    names = names_in(repository)
    weights = next((name for name in WEIGHTS if name in names), None)
    if weights is None:
        raise InputError(f"{repository}: contains none of {', '.join(WEIGHTS)}; download its checkpoint, and pass that")
    parts = ["model-*.safetensors"] if weights == INDEX else []
    return download(repository, [CONFIG, PROCESSOR, weights, *parts])


def _safetensors(file: Path) -> dict[str, Tensor]:
    tensors, metadata = read_tensors(file)
    check_digest(file, tensors, metadata)
    return tensors


def _shards(index: Path) -> list[Path]:
    """The files of weights that an index lists, in its folder. Raises InputError."""
    raw = read_json(index)
    names = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and SHARD.fullmatch(name) for name in names.values()
    ):
        raise InputError(f"{index}: must have a weight_map from tensors to files of this folder")
    return [index.parent / name for name in sorted(set(names.values()))]


def _settings(folder: Path) -> Mapping[str, object]:
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise InputError(f"{folder / CONFIG}: must contain a JSON object, got {type(config).__name__}")
    return config
