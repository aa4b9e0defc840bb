"""Configs are strict and never change."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import Field, ValidationError

from anyjepa.config import Config, Share, validated
from anyjepa.errors import InputError


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
    with pytest.raises(InputError, match=r"^here: rates.1: Input should be a finite number \(given: -?(inf|nan)\)$"):
        validated(Rates, {"rates": [1, float(rate)]}, "here")


class Rates(Config):
    rates: tuple[float, ...]


class Flat(Config):
    kind: Literal["flat"] = "flat"
    height: int = Field(1, gt=0)


class Round(Config):
    kind: Literal["round"] = "round"
    radius: int = 1


class Whole(Config):
    part: Part = Part()
    shape: Flat | Round = Field(Flat(), discriminator="kind")
    named: dict[str, Part] = Field({})
    listed: tuple[Part, ...] = ()


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([], "here: Input should be a valid dictionary or instance of Whole"),
        ({"prat": {}}, "here: unknown key 'prat'; did you mean 'part'?"),
        ({"part": {"shares": 2}}, "here: unknown key 'part.shares'; did you mean 'share'?"),
        ({"part": {"share": 2}}, "here: part.share: Input should be less than or equal to 1 (given: 2)"),
        ({"part": {"share": 2}, "prat": 1}, "here: unknown key 'prat'; did you mean 'part'?"),
        ({"shape": {"kind": "round", "radios": 2}}, "here: unknown key 'shape.radios'; did you mean 'radius'?"),
        ({"named": {"a": {"sharee": 1}}}, "here: unknown key 'named.a.sharee'; did you mean 'share'?"),
        ({"shape": "round"}, "here: shape: a table of keys is expected, such as 'shape.kind' (given: round)"),
        ({"part": 0.5}, "here: part: a table of keys is expected, such as 'part.share' (given: 0.5)"),
        ({"listed": [{"xyz": 1}]}, "here: unknown key 'listed.0.xyz'; there are: share"),
    ],
)
def test_the_first_key_that_does_not_fit_is_one_line(plain: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        validated(Whole, plain, "here")
    assert str(error.value) == message
