"""Configs are strict and never change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, ValidationError
from pydantic_core.core_schema import ErrorType

from anyjepa.config import Config, Share, _message, validated
from anyjepa.errors import InputError
from anyjepa.recipes.plain import recipe_names
from anyjepa.recipes.schema import Recipe, load_recipe


class Part(Config):
    share: Share = 0.5


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="shares"):
        Part.model_validate({"shares": 0.1})


def test_a_value_never_changes() -> None:
    part = Part()
    with pytest.raises(ValidationError, match="frozen"):
        part.share = 0.1


@pytest.mark.parametrize("share", [-0.01, 1.01, float("nan")])
def test_a_share_is_between_none_and_all(share: float) -> None:
    with pytest.raises(ValidationError):
        Part(share=share)


@pytest.mark.parametrize("rate", ["inf", "-inf", "nan"])
def test_a_number_is_finite(rate: str) -> None:
    with pytest.raises(InputError, match=r"^here: rates\[1\] must be a finite number, got -?(inf|nan)$"):
        validated(Rates, {"rates": [1, float(rate)]}, "here")


class Rates(Config):
    rates: tuple[float, ...]


class Flat(Config):
    kind: Literal["flat"] = "flat"
    height: int = Field(1, gt=0)


class Round(Config):
    kind: Literal["round"] = "round"
    radius: int = 1


class Folds(Config):
    kind: Literal["folds"] = "folds"
    folds: int = Field(5, ge=2)


class Whole(Config):
    part: Part = Part()
    shape: Flat | Round | Folds = Field(Flat(), discriminator="kind")
    named: dict[str, Part] = Field({})
    listed: tuple[Part, ...] = ()
    pair: tuple[int, int] = (1, 2)
    many: int | str = 1
    word: Literal["a", "b"] = "a"


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([], "here must be a table of keys, got []"),
        ({"prat": {}}, "here: unknown key 'prat'; did you mean 'part'?"),
        ({"part": {"shares": 2}}, "here: unknown key 'part.shares'; did you mean 'share'?"),
        ({"part": {"share": 2}}, "here: part.share must be at most 1, got 2"),
        ({"part": {"share": None}}, "here: part.share must be a number, got null"),
        ({"part": {"share": 2}, "prat": 1}, "here: unknown key 'prat'; did you mean 'part'?"),
        ({"shape": {"kind": "round", "radios": 2}}, "here: unknown key 'shape.radios'; did you mean 'radius'?"),
        ({"shape": {"kind": "round", "radius": 0.5}}, "here: shape.radius must be a whole number, got 0.5"),
        ({"shape": {"kind": "square"}}, "here: shape.kind must be one of 'flat', 'round', 'folds', got 'square'"),
        ({"shape": {"kind": "folds", "folds": 1}}, "here: shape.folds must be at least 2, got 1"),
        ({"shape": {}}, "here: key 'shape.kind' is missing"),
        ({"named": {"a": {"sharee": 1}}}, "here: unknown key 'named.a.sharee'; did you mean 'share'?"),
        ({"shape": "round"}, "here: shape must be a table of keys such as 'shape.kind', got 'round'"),
        ({"part": 0.5}, "here: part must be a table of keys such as 'part.share', got 0.5"),
        ({"listed": [{"xyz": 1}]}, "here: unknown key 'listed[0].xyz'; there are: share"),
        ({"listed": [{}, 3]}, "here: listed[1] must be a table of keys such as 'listed[1].share', got 3"),
        ({"listed": True}, "here: listed must be a list, got true"),
        ({"pair": [1]}, "here: pair must be a list of at least 2 values, got [1]"),
        ({"pair": [1, 2, 3]}, "here: pair must be a list of at most 2 values, got [1, 2, 3]"),
        ({"many": {}}, "here: many must be a whole number or text, got a table of keys"),
        ({"word": "c"}, "here: word must be 'a' or 'b', got 'c'"),
    ],
)
def test_the_first_key_that_does_not_fit_is_one_line(plain: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        validated(Whole, plain, "here")
    assert str(error.value) == message


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_no_kind_of_error_is_shown_in_pydantics_words(kind: str) -> None:
    names = ("min_length", "max_length", "pattern", "gt", "ge", "lt", "le", "multiple_of", "expected", "expected_tags")
    names += ("class", "tag", "error")
    context = dict.fromkeys(names, "x") | {"discriminator": "'kind'"}
    error: Any = {"type": kind, "loc": ("part",), "input": 0, "msg": "Input should be valid", "ctx": context}
    message = _message([error], {"part": 0}, "here")
    assert message.startswith("here: ")
    assert "part" in message
    assert "Input should" not in message


RECIPES = {name: load_recipe(name)[0].model_dump(mode="json") for name in ("ecg-jepa-demo", "perturb-demo")}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.just(2**70),
    st.floats(),
    st.sampled_from(["", "x", "1", "linear", "inf"]),
    st.lists(st.integers(-1, 1) | st.just("x"), max_size=3),
    st.sampled_from([{}, {"kind": "x"}, {"x": 1}]),
)


@settings(deadline=None)
@given(data=st.data(), name=st.sampled_from([*RECIPES]), value=VALUES)
def test_no_recipe_is_refused_in_pydantics_words(data: st.DataObject, name: str, value: object) -> None:
    """One value anywhere in a recipe is replaced: the message names its key, in our words."""
    plain = deepcopy(RECIPES[name])
    table, key = plain, data.draw(st.sampled_from([*plain]))
    while isinstance(table[key], dict) and table[key] and data.draw(st.integers(0, 3)):
        table = table[key]
        key = data.draw(st.sampled_from([*table]))
    table[key] = value
    message = refusal(plain)
    assert message == "" or message.startswith("here")
    assert not re.search(
        "Input should|should be a valid|should match|Field required|Value error|a valid value", message
    )


def tables(plain: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """All tables of a recipe, with the keys that lead to them."""
    yield path, plain
    for key, value in plain.items():
        if isinstance(value, dict):
            yield from tables(value, (*path, key))


def kinds(plain: dict[str, Any], path: tuple[str, ...]) -> tuple[object, ...]:
    """The kinds of the tables on a path: they say what the last one may hold."""
    found = []
    for key in path:
        plain = plain[key]
        found.append(plain.get("kind"))
    return tuple(found)


PYDANTIC = re.compile(
    "Input (should|tag)|should (be|match|have)|Field required|Extra inputs|[Vv]alue error|Assertion|valid (value|tuple"
    "|list|dictionary|number|integer|string|boolean)|unable to parse|is_instance|pydantic|type="
)
OF_NO_KEY = [["nonsense"]]  # a list of lists, which no key takes


def test_a_value_of_a_wrong_type_is_refused_by_the_name_of_its_key_in_every_recipe() -> None:
    seen = set()
    for name in recipe_names():
        plain = load_recipe(name)[0].model_dump(mode="json")
        for path, table in tables(plain):
            for key, right in list(table.items()):
                if (case := (path, kinds(plain, path), key)) in seen:
                    continue
                seen.add(case)
                for value in (OF_NO_KEY, {"x": 1}, "nonsense", 0.123, True):
                    table[key] = value
                    message = refusal(plain)
                    usable = message == "" or (path and path[0] in message)  # of the right type: its section is enough
                    assert key in message or (value is not OF_NO_KEY and usable), (name, path, key, value, message)
                    assert "\n" not in message
                    assert not PYDANTIC.search(message), message
                table[key] = right
    assert len(seen) > 300


def refusal(plain: object) -> str:
    """The message with which a recipe is refused, or nothing."""
    try:
        validated(Recipe, plain, "here")
    except InputError as error:
        return str(error)
    return ""
