"""What a saved model is: its config, and the modules that the config describes."""

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
from anyjepa.nn.encoders import AnyEncoderConfig, build_encoder
from anyjepa.nn.pooling import ATTENTIVE, Head, HeadConfig
from anyjepa.nn.tokens import check_table, token_grid
from anyjepa.objectives.build import ObjectiveConfig, predictor_of
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.objectives.paired import PairedPredictionConfig
from anyjepa.torch_defaults import torch_defaults
from anyjepa.weights.tensors import check_tensors

SCHEMA_VERSION = 1
LONGEST = 2**28  # samples of a window; a config with more is broken


class ClassifierConfig(Config):
    """A head on the encoder, and how a whole record is classified with it."""

    head: HeadConfig
    classes: tuple[str, ...] = Field(min_length=1, description="one output a class, in this order")
    exclusive: bool = Field(description="exactly one class a sample (softmax), or each on its own (sigmoid)")
    window: PositiveInt | None = Field(
        default=None,
        le=LONGEST,
        description="samples of a window; logits are averaged over windows; none: the whole record at once",
    )
    stride: PositiveInt | None = Field(default=None, le=LONGEST, description="samples from one window to the next")
    count: PositiveInt | None = Field(
        default=None, le=LONGEST, description="instead of a stride: this many windows, spread evenly over a record"
    )
    joint: bool = Field(
        default=False, description="the head reads all windows of a record at once; else their logits are averaged"
    )
    tail: Literal["cover", "drop"] = Field(
        default="cover", description="a remainder shorter than a window: covered by a last one, or dropped"
    )
    causal: bool | None = Field(
        default=None, description="whether the encoder is causal under this head; none: as in pretraining"
    )
    thresholds: tuple[Share, ...] | None = Field(
        default=None,
        description="of each class, by its probability, where it is said to apply; none: the most probable class "
        "applies if they are exclusive, else .5",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if (self.window is None) != (self.stride is None) and self.count is None:
            raise ValueError("window and stride come together")
        if self.stride is not None and self.count is not None:
            raise ValueError("stride and count: windows follow one of them")
        if self.joint and self.head.kind not in ATTENTIVE:
            raise ValueError(f"joint: a head of kind '{self.head.kind}' reads one window at a time")
        if len(set(self.classes)) < len(self.classes) or not all(name.strip() for name in self.classes):
            raise ValueError("classes must have names of their own")
        if self.thresholds is not None and len(self.thresholds) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes, but {len(self.thresholds)} thresholds")
        return self


class Provenance(Config):
    """Where weights come from."""

    steps: NonNegativeInt | None = Field(default=None, description="optimiser steps behind the weights; none: unknown")
    data: str = Field(description="what they were trained on, in words")
    recipe: str = Field(default="", description="name of the recipe, and what was changed in it")
    origin: str = Field(default="", description="the file they were imported from")
    notes: tuple[str, ...] = Field(default=(), description="what a user should know")


class TrainingRecords(Config):
    """Fingerprints of the records and groups (patients) that the weights have seen, to find leakage in an evaluation.

    A fingerprint is short and unsalted: it recognises a name, it does not hide it from someone who tries all names.
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    signals: tuple[str, ...] = Field(default=(), description="digests of the prepared records, whatever their names")
    sources: tuple[str, ...] = Field(default=(), description="names of the data sets or folders, as they are")

    @classmethod
    def of(
        cls, ids: Iterable[str], groups: Iterable[str], signals: Iterable[str] = (), sources: Iterable[str] = ()
    ) -> TrainingRecords:
        ids, groups, signals = (tuple(sorted(set(map(fingerprint, names)))) for names in (ids, groups, signals))
        return cls(ids=ids, groups=groups, signals=signals, sources=tuple(sorted(set(sources))))

    def __or__(self, other: TrainingRecords) -> TrainingRecords:
        """What either has seen."""
        both = {name: tuple(sorted({*getattr(self, name), *getattr(other, name)})) for name in type(self).model_fields}
        return TrainingRecords(**both)

    def saw_signals(self, digests: Iterable[str]) -> list[str] | None:
        """Those of the digests whose record was trained on; None where no digests were kept."""
        if not self.signals:
            return None
        known = set(self.signals)
        return [digest for digest in digests if fingerprint(digest) in known]

    def saw_ids(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that were trained on."""
        known = set(self.ids)
        return [name for name in ids if fingerprint(name) in known]

    def saw_groups(self, groups: Iterable[str]) -> list[str]:
        """Those of `groups` that were trained on."""
        known = set(self.groups)
        return [name for name in groups if fingerprint(name) in known]


def fingerprint(name: str) -> str:
    """16 hex digits of a record's or group's name."""
    return blake2b(name.encode(), digest_size=8).hexdigest()


class ModelConfig(Config):
    """`config.json` of a model folder."""

    schema_version: Literal[1] = 1
    anyjepa: str = Field(default_factory=lambda: version("anyjepa"), description="version that wrote the folder")
    objective: ObjectiveConfig
    channels: PositiveInt = Field(description="C of the input")
    size: tuple[PositiveInt, ...] = Field(description="samples of a full input along each axis")
    other: tuple[PositiveInt, ...] | None = Field(
        default=None,
        description="samples of what an input is paired with; none: model.safetensors holds no encoder of it",
    )
    weights: Literal["teacher", "average", "student", "target", "fine-tuned"] = Field(
        default="teacher", description="which encoder model.safetensors holds"
    )
    predictor: bool = Field(default=True, description="whether model.safetensors holds the predictor")
    classifier: ClassifierConfig | None = None
    provenance: Provenance

    @model_validator(mode="after")
    def _fits(self) -> Self:
        tokens = prod(token_grid(self.size, self.objective.encoder.patch))
        for name, part in _parts(self.objective).items():
            check_table(tokens, part.dim, name)
        if self.predictor and self.objective.predictor is None:
            raise ValueError(f"predictor is true, but a {self.objective.kind} model has none")
        if self.other is not None:
            if self.second is None:
                raise ValueError("other is given, but the objective has no target.encoder")
            check_table(prod(token_grid(self.other, self.second.patch)), self.second.dim, "target.encoder")
        return self

    @property
    def second(self) -> AnyEncoderConfig | None:
        """The encoder of a second modality, if the model has one."""
        return self.objective.second if isinstance(self.objective, PairedPredictionConfig) else None

    def architecture(self) -> dict[str, object]:
        """What the tensors depend on: all but the provenance, the versions and the thresholds, which may be chosen."""
        other = {"schema_version": True, "anyjepa": True, "provenance": True, "classifier": {"thresholds"}}
        return self.model_dump(mode="json", exclude=other)


def parse_config(where: str, raw: object) -> ModelConfig:
    """A `ModelConfig` from parsed JSON. InputError names the first wrong key, or a newer schema version."""
    if not isinstance(raw, dict):
        raise InputError(f"{where}: a JSON object is expected, not {type(raw).__name__}")
    schema = raw.get("schema_version")
    if type(schema) is not int or schema < 1:
        raise InputError(f"{where}: schema_version is {schema!r}; 1 to {SCHEMA_VERSION} are known")
    if schema > SCHEMA_VERSION:
        raise InputError(
            f"{where}: schema_version {schema} was written by a newer anyjepa ({raw.get('anyjepa')}); "
            f"this one reads up to {SCHEMA_VERSION}: update anyjepa"
        )
    return validated(ModelConfig, raw, where)


class Parts(nn.Module):
    """The modules that a config describes; None where there is none."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        shape, settings = config.objective.encoder, config.classifier
        if settings is not None and settings.causal is not None:
            shape = shape.model_copy(update={"causal": settings.causal})
        self.encoder = build_encoder(shape, config.channels, config.size)
        self.predictor = self.head = self.second = None
        if config.predictor:
            self.predictor = predictor_of(config.objective, self.encoder.grid)
        if config.other is not None and config.second is not None:
            self.second = build_encoder(config.second, config.channels, config.other)
            if (own := prod(self.encoder.grid)) != (there := prod(self.second.grid)):
                raise ValueError(f"its encoder gives {own} tokens, target.encoder {there}")
        if settings is not None:
            self.head = Head(settings.head, shape.dim, shape.heads, len(settings.classes))


@torch_defaults()
def fit_parts(where: str, config: ModelConfig, tensors: Mapping[str, Tensor]) -> Parts:
    """The modules that the config describes, filled with the tensors, in evaluation mode.

    Nothing is computed to initialise them. InputError names the first mismatch between the config and the tensors.
    """
    for part, depth in _depths(config).items():
        pattern = re.compile(rf"{part}\.(?:transformer\.)?blocks\.(\d+)\.")
        blocks = {found[1] for name in tensors if (found := pattern.match(name))}
        if len(blocks) != depth:
            raise InputError(f"{where}: its {part} has {len(blocks)} blocks, its config says {depth}")
    try:
        with torch.device("meta"):
            parts = Parts(config)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise InputError(f"{where}: its config describes no model: {reason(error)}") from error
    check_tensors(where, parts.state_dict(), tensors)
    parts.load_state_dict(dict(tensors), assign=True)
    return parts.eval()


def _depths(config: ModelConfig) -> dict[str, int]:
    parts = _parts(config.objective)
    if isinstance(config.objective, PairedPredictionConfig) and config.objective.predictor is not None:
        parts["predictor"] = config.objective.predictor
    depths = {name: part.depth for name, part in parts.items() if name == "encoder" or config.predictor}
    return depths if config.other is None or config.second is None else {**depths, "second": config.second.depth}


def _parts(objective: ObjectiveConfig) -> dict[str, Any]:
    """Configs of the parts with a position for each token, with sizes in numbers."""
    if not isinstance(objective, MaskedPredictionConfig):
        return {"encoder": objective.encoder}
    return {"encoder": objective.encoder, "predictor": objective.predictor.sized(objective.encoder)}
