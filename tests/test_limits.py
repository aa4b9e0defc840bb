"""Limits: refused before anything is allocated, in a line that says how to raise the limit."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anyjepa.errors import InputError
from anyjepa.limits import BATCH, EXPANSION, LIMITS, MEMORY, ORDINARY, SMALL, Limit, check_size, shown

PAGE = Path(__file__).parents[1] / "docs" / "limits.md"


def test_a_message_names_the_amount_the_limit_and_the_remedy() -> None:
    with pytest.raises(InputError) as error:
        MEMORY.check(5.76e9, "b.npz: 'signals'")
    assert str(error.value) == (
        "b.npz: 'signals' needs 5.8 GB, more than the limit of 4 GB; to allow it, set ANYJEPA_LIMIT_MEMORY=6GB"
    )


@given(limit=st.sampled_from(LIMITS), factor=st.floats(1.001, 1e6))
@example(limit=BATCH, factor=500_000.0)  # one byte more than a number of TB
def test_the_value_in_a_message_is_enough(limit: Limit, factor: float) -> None:
    amount = int(limit.default * factor) + 1
    with pytest.raises(InputError) as error:
        limit.check(amount, "x")
    found = re.search(r"set (\w+)=(\S+)$", str(error.value))
    assert found
    assert found[1] == limit.variable
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(*found.groups())
        limit.check(amount, "x")
        assert limit.value < 2 * amount + 1


def test_a_limit_is_lowered_for_one_thread_only() -> None:
    with MEMORY.lowered(1000):
        assert MEMORY.value == 1000
        with ThreadPoolExecutor(1) as executor:
            assert executor.submit(lambda: MEMORY.value).result() == MEMORY.default
        with EXPANSION.lowered(7), MEMORY.lowered(10**20):
            assert (EXPANSION.value, MEMORY.value) == (7, MEMORY.default)
        assert (EXPANSION.value, MEMORY.value) == (EXPANSION.default, 1000)
    assert MEMORY.value == MEMORY.default


@pytest.mark.parametrize(
    ("text", "value"),
    [("16GB", 16 * 10**9), ("1.5 GB", 15 * 10**8), ("200", 200), ("3k", 3000), ("2TB", 2 * 10**12)],
)
def test_a_value_may_have_a_unit(text: str, value: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYJEPA_LIMIT_MEMORY", text)
    assert MEMORY.value == value


@pytest.mark.parametrize("text", ["", "much", "-1", "1e9", "nan", "16 gigabytes", "9" * 400])
def test_what_is_not_a_number_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYJEPA_LIMIT_MEMORY", text)
    with pytest.raises(InputError, match="is not a number; write 4 GB"):
        MEMORY.check(1, "x")


def test_a_large_file_may_take_some_times_its_size_and_a_small_one_may_expand() -> None:
    check_size(50e9 * ORDINARY, 50 * 10**9, "x")
    check_size(SMALL, 1, "x")
    check_size(3.9e9, 10**8, "x")


def test_a_file_that_expands_too_much_is_refused_by_its_ratio_or_its_size() -> None:
    with pytest.raises(InputError) as error:
        check_size(576e6, 560_000, "b.npz: 'signals'")
    assert str(error.value) == (
        "b.npz: 'signals' needs 576 MB, 1029 times the size of its file (560 kB), more than the limit of 100 times; "
        "to allow it, set ANYJEPA_LIMIT_EXPANSION=1029"
    )
    with pytest.raises(InputError, match="ANYJEPA_LIMIT_MEMORY=5GB"):
        check_size(4.1e9, 10**8, "x")


@given(needed=st.floats(1, 1e15), size=st.integers(0, 10**12))
def test_what_a_message_says_is_enough_at_once(needed: float, size: int) -> None:
    try:
        check_size(needed, size, "x")
    except InputError as error:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in re.findall(r"(ANYJEPA_LIMIT_\w+)=(\S+)", str(error)):
                patch.setenv(name, value)
            check_size(needed, size, "x")


def test_the_ratio_that_a_message_names_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(EXPANSION.variable, "1029")
    check_size(576e6, 560_000, "x")


def test_the_table_of_limits_is_that_of_the_code() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`ANYJEPA_" in line]
    assert rows == [
        f"| {limit.name} | {shown(limit.default, limit.unit)} | `{limit.variable}` | {limit.reason} |"
        for limit in LIMITS
    ]
