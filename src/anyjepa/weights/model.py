"""The config of a saved model, and the modules that it describes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from importlib.metadata import version
from math import prod
from typing import Any, Literal, Self

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

from anyjepa.config import Config, Share, validated
from anyjepa.errors import InputError, reason
from anyjepa.nn.encoders import AnyEncoder
from anyjepa.nn.pooling import AnyHead
from anyjepa.nn.tokens import check_table
from anyjepa.objectives.base import ObjectiveConfig, Weights
from anyjepa.objectives.build import AnyObjective
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.objectives.paired import PairedPredictionConfig
from anyjepa.parts import is_own
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.tensors import check_tensors

SCHEMA_VERSION = 1
LONGEST = 2**28  # largest number of samples in a window


class ClassifierConfig(Config):
    """A head on the encoder, and how it classifies a whole record."""

    head: AnyHead
    classes: tuple[str, ...] = Field(min_length=1, description="names of the outputs, in this order")
    exclusive: bool = Field(description="true: exactly one class per sample (softmax); false: any number (sigmoid)")
    window: PositiveInt | None = Field(
        default=None,
        le=LONGEST,
        description="samples per window, whose logits are averaged; null: the whole record at once",
    )
    stride: PositiveInt | None = Field(default=None, le=LONGEST, description="samples between the starts of windows")
    count: PositiveInt | None = Field(
        default=None, le=LONGEST, description="number of evenly spaced windows per record, instead of a stride"
    )
    joint: bool = Field(
        default=False, description="true: the head reads all windows of a record at once; false: logits are averaged"
    )
    tail: Literal["cover", "drop"] = Field(
        default="cover", description="cover a remainder shorter than a window by a last window, or drop it"
    )
    causal: bool | None = Field(
        default=None, description="whether the encoder is causal with this head; null: as in pretraining"
    )
    thresholds: tuple[Share, ...] | None = Field(
        default=None,
        description="smallest probability of each class for predicting it; null: the most probable class is predicted "
        "if classes are exclusive, otherwise those with a probability of at least 0.5",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.window is None) != (self.stride is None) and self.count is None:
            raise ValueError("set both window and stride, or neither")
        if self.stride is not None and self.count is not None:
            raise ValueError("set one of stride and count, not both")
        if self.joint and not self.head.joint:
            raise ValueError(f"joint: a head of kind '{self.head.kind}' reads one window at a time")
        if len(set(self.classes)) < len(self.classes) or not all(name.strip() for name in self.classes):
            raise ValueError("names of classes must be unique")
        if self.thresholds is not None and len(self.thresholds) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes, but {len(self.thresholds)} thresholds")
        return self


class Provenance(Config):
    """The origin of the weights."""

    steps: NonNegativeInt | None = Field(default=None, description="optimiser steps of training; null: unknown")
    data: str = Field(description="names of the training data")
    recipe: str = Field(default="", description="name of the recipe, and changes to it")
    origin: str = Field(default="", description="file that the weights were imported from")
    start: str = Field(default="", description="model that the training started from")
    notes: tuple[str, ...] = Field(default=(), description="notes for users")


class TrainingRecords(Config):
    """Fingerprints of the records and groups (patients) that the weights were trained on, to find leakage.

    Fingerprints do not hide names from someone who tries all names, and no salt that comes with them would. Therefore
    only a run folder has fingerprints of names; a model folder, which is meant to be shared, has `without_names`.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    signals: tuple[str, ...] = Field(default=(), description="digests of the prepared records, independent of names")
    sources: tuple[str, ...] = Field(default=(), description="names of the data sets or folders")

    @classmethod
    def of(
        cls, ids: Iterable[str], groups: Iterable[str], signals: Iterable[str] = (), sources: Iterable[str] = ()
    ) -> TrainingRecords:
        ids, groups, signals = (tuple(sorted(set(map(fingerprint, names)))) for names in (ids, groups, signals))
        return cls(ids=ids, groups=groups, signals=signals, sources=tuple(sorted(set(sources))))

    @property
    def named(self) -> bool:
        """Whether records and groups can be recognised by name, not only by signal."""
        return bool(self.groups)

    def without_names(self) -> TrainingRecords:
        """Keep only the digests of signals and the sources, from which nobody can compute a name or a signal."""
        return self.model_copy(update={"ids": (), "groups": ()})

    def __or__(self, other: TrainingRecords) -> TrainingRecords:
        """The union of both; without names unless both have them, because a part of the names would be misleading."""
        both = {name: tuple(sorted({*getattr(self, name), *getattr(other, name)})) for name in type(self).model_fields}
        union = TrainingRecords(**both)
        return union if self.named and other.named else union.without_names()

    def saw_signals(self, digests: Iterable[str]) -> list[str] | None:
        """The subset of digests whose records were used for training; None if there are no digests."""
        if not self.signals:
            return None
        trained = set(self.signals)
        return [digest for digest in digests if fingerprint(digest) in trained]

    def saw_ids(self, ids: Iterable[str]) -> list[str]:
        """The subset of `ids` that was used for training."""
        trained = set(self.ids)
        return [name for name in ids if fingerprint(name) in trained]

    def saw_groups(self, groups: Iterable[str]) -> list[str]:
        """The subset of `groups` that was used for training."""
        trained = set(self.groups)
        return [name for name in groups if fingerprint(name) in trained]


def fingerprint(name: str) -> str:
    """Fingerprint of the name of a record or group: 16 hex digits."""
    return blake2b(name.encode(), digest_size=8).hexdigest()


class _Nothing(TrainingRecords):
    ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        return True

    def saw_signals(self, digests: Iterable[str]) -> list[str]:
        return []


NOTHING = _Nothing()  # the training records of random weights


class ModelConfig(Config):
    """`config.json` of a model folder."""

    schema_version: Literal[1] = 1
    anyjepa: str = Field(default_factory=lambda: version("anyjepa"), description="version that wrote the folder")
    objective: AnyObjective
    channels: PositiveInt = Field(description="number of input channels")
    size: tuple[PositiveInt, ...] = Field(description="samples of a full input along each axis")
    other: tuple[PositiveInt, ...] | None = Field(
        default=None,
        description="samples of the second input of a pair; null: model.safetensors has no encoder for it",
    )
    weights: Literal[Weights, "fine-tuned", "published"] = Field(
        default="teacher", description="encoder in model.safetensors"
    )
    predictor: bool = Field(default=True, description="whether model.safetensors contains the predictor")
    classifier: ClassifierConfig | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _fits(self) -> Self:
        tokens = prod(self.objective.encoder.grid(self.channels, self.size))
        for name, part in _parts(self.objective).items():
            check_table(tokens, part.dim, name)
        if self.other is not None:
            if self.second is None:
                raise ValueError("other is set, but the objective has no target.encoder")
            check_table(prod(self.second.grid(self.channels, self.other)), self.second.dim, "target.encoder")
        return self

    @property
    def second(self) -> AnyEncoder | None:
        """The encoder of a second modality, if the model has one."""
        return self.objective.second

    def architecture(self) -> dict[str, object]:
        """The keys that determine the tensors: all but the provenance, the versions and the thresholds."""
        other = {"schema_version": True, "anyjepa": True, "provenance": True, "classifier": {"thresholds"}}
        return self.model_dump(mode="json", exclude=other)


def parse_config(where: str, raw: object) -> ModelConfig:
    """Create a `ModelConfig` from parsed JSON. Raises InputError for a wrong key or a newer schema version."""
    if not isinstance(raw, dict):
        raise InputError(f"{where}: must contain a JSON object, got {type(raw).__name__}")
    schema = raw.get("schema_version")
    if type(schema) is not int or schema < 1:
        raise InputError(f"{where}: schema_version must be from 1 to {SCHEMA_VERSION}, got {schema!r}")
    if schema > SCHEMA_VERSION:
        raise InputError(
            f"{where}: schema_version {schema} was written by a newer anyjepa ({raw.get('anyjepa')}); "
            f"this one reads up to {SCHEMA_VERSION}; update anyjepa"
        )
    return validated(ModelConfig, raw, where)


class Parts(nn.Module):
    """The modules that a config describes; None for those that it does not have."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        shape, settings = config.objective.encoder, config.classifier
        if settings is not None and settings.causal is not None:
            shape = shape.model_copy(update={"causal": settings.causal})
        self.encoder = shape.build(config.channels, config.size)
        self.predictor = self.head = self.second = None
        if config.predictor:
            self.predictor = config.objective.build_predictor(self.encoder.grid)
            if self.predictor is None:
                raise ValueError(f"predictor is true, but a {config.objective.kind} model has none")
        if config.other is not None and config.second is not None:
            self.second = config.second.build(config.channels, config.other)
            if (own := prod(self.encoder.grid)) != (there := prod(self.second.grid)):
                raise ValueError(f"its encoder gives {own} tokens, but target.encoder gives {there}")
        if settings is not None:
            self.head = settings.head.build(shape.dim, shape.heads, len(settings.classes))


@torch_defaults()
def fit_parts(where: str, config: ModelConfig, tensors: Mapping[str, Tensor]) -> Parts:
    """Build the modules that the config describes from the tensors, in evaluation mode.

    Initialisation is skipped. Raises InputError with the first mismatch between the config and the tensors.
    """
    for part, depth in _depths(config).items():
        pattern = re.compile(rf"{part}\.(?:transformer\.)?blocks\.(\d+)\.")
        blocks = {match[1] for name in tensors if (match := pattern.match(name))}
        if len(blocks) != depth:
            raise InputError(f"{where}: its {part} has {len(blocks)} blocks, its config says {depth}")
    try:
        with torch.device("meta"):
            parts = Parts(config)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise InputError(f"{where}: its config does not describe a model: {reason(error)}") from error
    check_tensors(where, parts.state_dict(), tensors)
    parts.load_state_dict(dict(tensors), assign=True)
    return parts.eval()


def _depths(config: ModelConfig) -> dict[str, int]:
    parts = _parts(config.objective)
    if isinstance(config.objective, PairedPredictionConfig) and config.objective.predictor is not None:
        parts["predictor"] = config.objective.predictor
    if not config.predictor:
        parts.pop("predictor", None)
    if config.other is not None and config.second is not None:
        parts["second"] = config.second
    return {name: part.depth for name, part in parts.items() if hasattr(part, "depth") and not is_own(type(part))}


def _parts(objective: ObjectiveConfig) -> dict[str, Any]:
    """Configs of the parts with a position per token, with their sizes."""
    if not isinstance(objective, MaskedPredictionConfig):
        return {"encoder": objective.encoder}
    return {"encoder": objective.encoder, "predictor": objective.predictor.sized(objective.encoder)}
