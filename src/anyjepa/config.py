"""The base of every config: frozen, strict, with descriptions; and how one is made of what a user wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from anyjepa.errors import InputError, did_you_mean

Share = Annotated[float, Field(ge=0, le=1)]
# Far above any network in use: a slip of the keyboard ends in a line, not in a full memory.
Width = Annotated[int, Field(gt=0, le=2**16)]  # of a network, or of a patch in samples
Depth = Annotated[int, Field(gt=0, le=1000)]
Few = Annotated[int, Field(gt=0, le=256)]  # blocks of a mask; each is drawn and predicted separately
Repeats = Annotated[int, Field(gt=0, le=1000)]  # repeats of an evaluation


class Config(BaseModel):
    """A part's settings. Unknown keys and infinite numbers are errors; a value never changes after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_64_bits(self) -> Self:
        for name, value in self:
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, int) and abs(number) >= 2**63 for number in numbers):
                raise ValueError(f"{name} is a number of more than 64 bits")
        return self


def usual_kind(kind: str) -> BeforeValidator:
    """In a union by `kind`: which one a table means that names none."""

    def named(value: Any) -> Any:
        return {"kind": kind, **value} if isinstance(value, dict) else value

    return BeforeValidator(named)


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], plain: object, where: str) -> Model:
    """Plain values as a config. InputError is one line: `where`, the first key that does not fit, what would be right.

    An unknown key is told before other troubles, which may follow from it.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise InputError(f"{where}: {_first(model, error, plain)}") from None


def _first(model: type[BaseModel], error: ValidationError, plain: object) -> str:
    details = error.errors(include_url=False)
    first = next((d for d in details if d["type"] == "extra_forbidden"), details[0])
    path = [str(part) for part in first["loc"]]
    key = ".".join([*_written(path[:-1], plain), *path[-1:]])
    if first["type"] == "extra_forbidden":
        return f"unknown key '{key}'{did_you_mean(path[-1], _keys(model, path[:-1]))}"
    if first["type"] in ("model_type", "model_attributes_type") and path:
        wanted = "".join(f", such as '{key}.{name}'" for name in _keys(model, path)[:1])
        return f"{key}: a table of keys is expected{wanted} (given: {_shown(first['input'])})"
    silent = first["type"] == "missing" or not path or isinstance(first["input"], Mapping)
    given = "" if silent else f" (given: {_shown(first['input'])})"
    return f"{key and key + ': '}{' '.join(first['msg'].removeprefix('Value error, ').split())}{given}"


def _shown(value: object) -> str:
    """The start of any value as text."""
    try:
        return str(value)[:80]
    except (ValueError, RecursionError):  # numbers of thousands of digits, deeply nested lists
        return f"a {type(value).__name__}"


def _written(tables: Sequence[str], plain: Any) -> list[str]:
    """The path of a table as its author wrote it: pydantic names the member of a union on the way, too."""
    path = []
    for name in tables:
        if isinstance(plain, Mapping) and (name not in plain or plain.get("kind") == name):
            continue
        path.append(name)
        plain = plain.get(name) if isinstance(plain, Mapping) else None
    return path


def _keys(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys that a table may have; of a union those of the member that the path names."""
    models = [model]
    for name in path:
        fields = [m.model_fields[name] for m in models if name in m.model_fields]
        tagged = [m for m in models if "kind" in m.model_fields and m.model_fields["kind"].default == name]
        models = [m for field in fields for m in _models(field.annotation)] if fields else tagged or models
    return [key for m in models for key in m.model_fields]


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The config classes in a type, however it is wrapped."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in _models(part)]
