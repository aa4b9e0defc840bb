"""The base class of every config, and the validation of what a user wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Self, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

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

    @model_validator(mode="before")
    @classmethod
    def _table(cls, value: Any) -> Any:
        """Refuse unknown keys and what is not a table here, where the known keys can be listed."""
        if not isinstance(value, Mapping | cls):
            raise not_a_table(next(iter(cls.model_fields), None))
        if not isinstance(value, Mapping):
            return value
        fields = cls.model_fields
        unknown = [key for key in value if key not in fields]
        if unknown and cls.model_config.get("extra") == "forbid":
            raise PydanticCustomError("unknown_key", "unknown", {"name": unknown[0], "known": list(fields)})
        for name, field in fields.items():  # to pydantic, true is the number 1
            if isinstance(value.get(name), bool) and _is_number(field.annotation):
                raise ValueError(f"{name} must be a number, got {_shown(value[name])}")
        return value

    @model_validator(mode="after")
    def _in_64_bits(self) -> Self:
        for name, value in self:
            numbers = value if isinstance(value, tuple) else (value,)
            if any(isinstance(number, int) and abs(number) >= 2**63 for number in numbers):
                raise ValueError(f"{name} is a number of more than 64 bits")
        return self


def _is_number(annotation: Any) -> bool:
    """Whether a field takes numbers and nothing else."""
    members = {annotation, *get_args(annotation)}
    return bool(members & {int, float}) and not members & {bool, str}


def not_a_table(key: str | None) -> PydanticCustomError:
    """The error of a value that must be a table of keys. key: an example of one."""
    return PydanticCustomError("model_type", "table", {"key": key})


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
        raise InputError(_message(error.errors(include_url=False), plain, where)) from None


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


def _message(errors: Sequence[ErrorDetails], plain: object, where: str) -> str:
    first = next((error for error in errors if error["type"] == "unknown_key"), errors[0])
    kind, path, context, got = first["type"], first["loc"], first.get("ctx", {}), _shown(first["input"])
    if kind == "unknown_key":
        key = _dotted([*_written(path, plain), context["name"]])
        return f"{where}: unknown key '{key}'{did_you_mean(str(context['name']), context['known'])}"
    if kind == "missing":
        tables, name = _written(path[:-1], plain), path[-1]
        if isinstance(name, int):
            return f"{where}: {_dotted(tables)} must be a list of at least {name + 1} values, got {got}"
        return f"{where}: key '{_dotted([*tables, name])}' is missing"
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
    expected = " or ".join(dict.fromkeys(must_be(error) for error in of_union))
    example = "kind" if kind == "model_attributes_type" else context.get("key")
    if key and example:
        expected += f" such as '{key}.{example}'"
    return f"{where}{key and ': ' + key} must be {expected}, got {got}"


def must_be(error: Mapping[str, Any]) -> str:
    """What a value must be, by one of pydantic's `errors()`, in words that do not name Python's types."""
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
    in_union = True  # the kind of a table is on the path once, before a key that may have the same name
    for part in path:
        if in_union and isinstance(value, Mapping) and value.get("kind") == part:
            in_union = False
            continue
        with suppress(KeyError, IndexError, TypeError):
            value = value[part]
            written.append(part)
            in_union = True
    return written
