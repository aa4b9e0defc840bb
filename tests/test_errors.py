"""Error messages that help."""

from __future__ import annotations

import pytest

from anyjepa.errors import DataWarning, InputError, did_you_mean


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("aVf", ["aVR", "aVL", "aVF"], "; did you mean 'aVF'?"),
        ("ecg-jepa-sx", ["ecg-jepa-xs", "nepa"], "; did you mean 'ecg-jepa-xs'?"),
        ("nothing", ["I", "II"], "; there are: I, II"),
        ("x", [], ""),
        ("lr", iter(["learning_rate", "steps"]), "; there are: learning_rate, steps"),
    ],
)
def test_did_you_mean(name: str, options: list[str], says: str) -> None:
    assert did_you_mean(name, options) == says


def test_kinds() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(DataWarning, UserWarning)
