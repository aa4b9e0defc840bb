"""The base class of every config, and the validation of what a user wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from anyjepa.errors import InputError, did_you_mean

Share = Annotated[float, Field(ge=0, le=1)]
# Far above any network in use: a slip of the keyboard ends in a line, not in a full memory.
Width = Annotated[int, Field(gt=0, le=2**16)]  # of a network, or of a patch in samples
Depth = Annotated[int, Field(gt=0, le=1000)]
Few = Annotated[int, Field(gt=0, le=256)]  # blocks of a mask; each is drawn and predicted separately
Repeats = Annotated[int, Field(gt=0, le=1000)]  # repeats of an evaluation


class Config(BaseModel):
    """Settings of a part. Unknown keys and infinite numbers are errors, and a value never changes after validation."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _in_64_bits(self) -> Self:
        for name, value in self:
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, int) and abs(number) >= 2**63 for number in numbers):
                raise ValueError(f"{name} is a number of more than 64 bits")
        return self


def usual_kind(kind: str) -> BeforeValidator:
    """In a union by `kind`: the kind of a table that has no such key."""

    def named(value: Any) -> Any:
        return {"kind": kind, **value} if isinstance(value, dict) else value

    return BeforeValidator(named)


Model = TypeVar("Model", bound=BaseModel)


def validated(model: type[Model], plain: object, where: str) -> Model:
    """Make a config from plain values. Raises InputError with one line: `where`, and the first key that is wrong.

    An unknown key comes before other errors, which may follow from it.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        raise InputError(_message(model, error.errors(include_url=False), plain, where)) from None


EXPECTED = {  # by pydantic's type of error; the words follow "must be"
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "string_too_short": "at least {min_length} characters long",
    "string_too_long": "at most {max_length} characters long",
    "string_pattern_mismatch": "text that matches {pattern}",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "too_short": "a list of at least {min_length} values",
    "too_long": "a list of at most {max_length} values",
    "dict_type": "a table of keys",
    "mapping_type": "a table of keys",
    "model_type": "a table of keys",
    "model_attributes_type": "a table of keys",
    "greater_than": "greater than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "literal_error": "{expected}",
    "enum": "{expected}",
    "union_tag_invalid": "one of {expected_tags}",
    "none_required": "null",
    "is_instance_of": "a {class}",
}


def _message(model: type[BaseModel], errors: Sequence[ErrorDetails], plain: object, where: str) -> str:
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    kind, path, context, got = first["type"], first["loc"], first.get("ctx", {}), _shown(first["input"])
    if kind in ("extra_forbidden", "missing"):
        tables, name = _written(path[:-1], plain), path[-1]
        if isinstance(name, int):
            return f"{where}: {_dotted(tables)} must be a list of at least {name + 1} values, got {got}"
        if kind == "missing":
            return f"{where}: key '{_dotted([*tables, name])}' is missing"
        known = _keys(model, [str(part) for part in path[:-1]])
        return f"{where}: unknown key '{_dotted([*tables, name])}'{did_you_mean(name, known)}"
    written = _written(path, plain)
    if kind.startswith("union_tag"):
        written, got = [*written, context["discriminator"].strip("'")], repr(context.get("tag"))
    key = _dotted(written)
    if kind == "union_tag_not_found":
        return f"{where}: key '{key}' is missing"
    if kind in ("value_error", "assertion_error"):
        got = "" if not key or isinstance(first["input"], Mapping) else f" (got {got})"
        return f"{where}: {key and key + ': '}{' '.join(str(context['error']).split())}{got}"
    of_union = [error for error in errors if _dotted(_written(error["loc"], plain)) == key] or [first]
    expected = " or ".join(dict.fromkeys(_expected(error) for error in of_union))
    if kind in ("model_type", "model_attributes_type") and key and (keys := _keys(model, [str(p) for p in path])):
        expected += f" such as '{key}.{keys[0]}'"
    return f"{where}{key and ': ' + key} must be {expected}, got {got}"


def _expected(error: Mapping[str, Any]) -> str:
    """What a value must be, in words that do not name Python's types."""
    context = error.get("ctx", {})
    numbers = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
    return EXPECTED.get(error["type"], "a valid value").format(**numbers)


def _shown(value: object) -> str:
    """The start of a value as text."""
    if isinstance(value, Mapping):
        return "a table of keys"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return repr(value)[:80]
    except (ValueError, RecursionError):  # numbers of thousands of digits, deeply nested lists
        return f"a {type(value).__name__}"


def _dotted(path: Sequence[str | int]) -> str:
    """('a', 'b', 0) as 'a.b[0]'."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _written(path: Sequence[str | int], plain: Any) -> list[str | int]:
    """The path to a value as its author wrote it, without the members of unions, which pydantic names on the way."""
    written = []
    value: Any = plain
    for part in path:
        if isinstance(value, Mapping) and value.get("kind") == part:
            continue
        with suppress(KeyError, IndexError, TypeError):
            value = value[part]
            written.append(part)
    return written


def _keys(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    """The keys that a table may have; in a union, those of the member that the path names."""
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
    return [model for part in get_args(annotation) for model in _models(part)]
