"""Configs are strict and never change."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from anyjepa.config import Config, Share


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
