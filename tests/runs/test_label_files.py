"""Label files name their columns."""

from __future__ import annotations

import pytest

import anyjepa
from anyjepa.errors import InputError


def test_a_target_that_is_not_a_name_is_refused() -> None:
    for target in (0, None, ("a", 1)):
        with pytest.raises(InputError, match="must be the name of a column, or a list of names"):
            anyjepa.LabelFile("labels.csv", "id", target)  # type: ignore[arg-type]
    assert anyjepa.LabelFile("labels.csv", "id", ["a", "b"]).targets == ("a", "b")
