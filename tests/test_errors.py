"""Error messages that help."""

from __future__ import annotations

import pytest
from torch.utils.data import DataLoader

from anyjepa.errors import LONGEST, DataWarning, InputError, did_you_mean


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("aVf", ["aVR", "aVL", "aVF"], "; did you mean 'aVF'?"),
        ("ecg-jepa-sx", ["ecg-jepa-xs", "nepa"], "; did you mean 'ecg-jepa-xs'?"),
        ("nothing", ["I", "II"], "; there are: I, II"),
        ("x", [], ""),
        ("x", range(100, 145), f"; there are: {', '.join(map(str, range(100, 140)))} and 5 more"),
        ("lr", iter(["learning_rate", "steps"]), "; there are: learning_rate, steps"),
    ],
)
def test_did_you_mean(name: str, options: list[str], says: str) -> None:
    assert did_you_mean(name, options) == says


def test_kinds() -> None:
    assert issubclass(InputError, ValueError)
    assert issubclass(DataWarning, UserWarning)


@pytest.mark.parametrize("kind", [InputError, DataWarning])
def test_a_message_is_one_line_that_a_terminal_takes_as_it_is(kind: type[Exception]) -> None:
    assert str(kind("a\nb\x1b[31m\u202ec\udcff µV")) == r"a\nb\x1b[31m\u202ec\udcff µV"


def test_an_endless_name_is_cut_in_its_middle() -> None:
    text = str(InputError(f"records/a.csv: column '{'x' * 10**6}' is no lead"))
    assert len(text) < LONGEST + 10
    assert text.startswith("records/a.csv: column 'xxx")
    assert text.endswith("xxx' is no lead")
    assert str(InputError("y" * LONGEST)) == "y" * LONGEST


class Broken:
    """A data set whose first file cannot be read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> None:
        raise InputError("photos/a.png: is truncated")


def test_a_worker_of_a_loader_says_it_in_the_same_line() -> None:
    with pytest.raises(InputError) as caught:
        list(DataLoader(Broken(), num_workers=1))  # type: ignore[arg-type]
    assert str(caught.value) == "photos/a.png: is truncated"
