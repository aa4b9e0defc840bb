"""What was done to a cell, as public data write it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.data.cells.conditions import CONTROL, Condition, Perturbation, is_control, parse, require_known
from anyjepa.errors import InputError

GENES = {"KLF1", "CEBPA", "HLA-A"}
names = st.text("ABCDEFGH123", min_size=2, max_size=6).filter(lambda name: not is_control(name))


def of(*names: str) -> Condition:
    return Condition(frozenset(map(Perturbation, names)))


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("ctrl", CONTROL),
        ("Control", CONTROL),
        ("non-targeting", CONTROL),
        ("NT", CONTROL),
        ("NegCtrl0", CONTROL),
        ("non-targeting_00042", CONTROL),
        ("KLF1", of("KLF1")),
        (" KLF1+ctrl ", of("KLF1")),
        ("ctrl+KLF1", of("KLF1")),
        ("KLF1+CEBPA", of("CEBPA", "KLF1")),
        ("KLF1_CEBPA", of("CEBPA", "KLF1")),
        ("KLF1_NegCtrl0", of("KLF1")),
        ("KLF1_CEBPA__KLF1_CEBPA", of("CEBPA", "KLF1")),
        ("NegCtrl0_NegCtrl0__NegCtrl0_NegCtrl0", CONTROL),
        ("KLF1_new", of("KLF1_new")),
        ("(+)-JQ1", of("(+)-JQ1")),
        ("(+)-JQ1+KLF1", of("(+)-JQ1", "KLF1")),
    ],
)
def test_names_of_public_data(text, condition):
    assert parse(text, whole_names=GENES) == condition


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("HLA-A-KLF1", ("HLA-A", "KLF1")),
        ("KLF1-HLA-A", ("HLA-A", "KLF1")),
        ("HLA-A - KLF1", ("HLA-A", "KLF1")),
        ("HLA-A-HLA-A-B-CEBPA", ("CEBPA", "HLA-A", "HLA-A-B")),
        ("HLA-A", ("HLA-A",)),
        ("KLF1-new", ("KLF1", "new")),
    ],
)
def test_the_separator_may_be_within_a_known_name(text, parts):
    assert parse(text, whole_names={*GENES, "HLA-A-B"}, separator="-") == of(*parts)


def test_a_name_that_is_known_is_never_taken_apart():
    assert parse("A+B", whole_names={"A+B"}) == of("A+B")
    assert parse("NT", whole_names={"NT"}) == of("NT")
    assert parse("PBS", controls={"PBS"}) == CONTROL
    assert parse("KLF1+PBS", controls={"PBS"}) == of("KLF1")


@pytest.mark.parametrize("text", ["", " ", "A+", "+A", "A++B"])
def test_an_empty_name_is_refused(text):
    with pytest.raises(InputError, match="a name is empty"):
        parse(text)


@settings(deadline=None, max_examples=50)
@given(st.lists(names, unique=True, min_size=1, max_size=4), st.randoms())
def test_order_says_nothing_and_combinations_add(parts, random):
    shuffled = random.sample(parts, len(parts))
    together = parse("+".join(parts))
    assert together == parse("+".join(shuffled)) == sum((parse(part) for part in parts), CONTROL)
    assert hash(together) == hash(parse("+".join(shuffled)))
    assert parse(str(together)) == together
    assert together + CONTROL == together
    assert len(together) == len(parts)


def test_dose_and_time_make_another_condition():
    low, high = parse("JQ1", kind="drug", dose=0.1, time=24), parse("JQ1", kind="drug", dose=10, time=24)
    assert low != high
    assert low.names == high.names == {"JQ1"}
    assert (str(low), str(high + parse("KLF1"))) == ("JQ1@0.1/24", "JQ1@10/24+KLF1")
    assert parse("ctrl", dose=10, time=24) == CONTROL


def test_an_unknown_perturbation_is_told_with_the_nearest():
    require_known(CONTROL, ["STAT1"])
    require_known(of("STAT1", "JAK2"), ["STAT1", "JAK2"])
    with pytest.raises(InputError, match=r"unknown perturbation 'Stat2'; nearest: STAT2, STAT1"):
        require_known(of("JAK2", "Stat2"), ["JAK2", "STAT1", "STAT2"])
    with pytest.raises(InputError, match=r"unknown perturbation 'XYZ'; there are: JAK2, STAT1"):
        require_known(of("XYZ"), ["JAK2", "STAT1"])
