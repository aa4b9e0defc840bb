"""Which names are the control, and which are pairs: read right, or asked about in a line that says what to pass."""

from __future__ import annotations

import json
import re
import shlex

import anndata
import numpy as np
import pandas as pd
import pytest
from h5ad_writing import write
from hypothesis import example, given, settings
from hypothesis import strategies as st

from anyjepa.config import validated
from anyjepa.data.cells.conditions import is_control, may_be_control
from anyjepa.data.cells.controls import option
from anyjepa.data.cells.files import CellFileConfig, from_anndata
from anyjepa.errors import DataWarning, InputError
from anyjepa.recipes.plain import apply_edit

OFF = {"quality": {"min_genes": 0, "max_mito": 1, "min_cells": 0, "min_condition_cells": 0}}


def screen(names: object) -> anndata.AnnData:
    """A cell for each name, genes G0 to G4."""
    column = pd.Series(names)
    obs = pd.DataFrame({"perturbation": column.to_numpy() if column.dtype == object else column.array})
    obs.index = [f"c{n}" for n in range(len(obs))]
    matrix = np.random.default_rng(0).poisson(3.0, (len(obs), 5)).astype(np.float32)
    return anndata.AnnData(matrix, obs, pd.DataFrame(index=[f"G{n}" for n in range(5)]))


def conditions(names: object, *edits: str, **settings: object) -> dict[str, int]:
    """Cells of each condition, as `data inspect` says; edits: as after --set."""
    plain: dict = {**OFF, **settings}
    for edit in edits:
        apply_edit(plain, edit)
    return from_anndata(screen(names), validated(CellFileConfig, plain, "--set")).report["conditions"]


def times(**names: int) -> list[str]:
    return [name for name, count in names.items() for _ in range(count)]


TWO = [*["INTERGENIC1"] * 4, *["INTERGENIC2"] * 3, *["G1"] * 2]


def test_several_controls_are_pooled_where_they_are_named():
    assert conditions(TWO, "control=[INTERGENIC1, INTERGENIC2]") == {"control": 7, "G1": 2}
    assert conditions(TWO, "control=INTERGENIC*") == {"control": 7, "G1": 2}
    assert conditions(TWO, control=["INTERGENIC1", "INTERGENIC2"]) == {"control": 7, "G1": 2}
    assert conditions([*times(A=3, B=2, G1=1), "G1+B", "A+G1"], control=("A", "B")) == {"control": 5, "G1": 3}


def test_what_looks_like_a_control_is_asked_about_unless_it_is_said():
    for edits in ((), ("control=INTERGENIC1",)):
        with pytest.raises(InputError) as error:
            conditions(TWO, *edits)
        assert "'INTERGENIC1' (4 cells), 'INTERGENIC2' (3 cells) look like controls" in str(error.value)
        assert "pass --set 'control=[INTERGENIC1, INTERGENIC2]'; to use some" in str(error.value)
    alone = ("control=INTERGENIC1", "other_controls=perturbation")
    assert conditions(TWO, *alone) == {"control": 4, "G1": 2, "INTERGENIC2": 3}
    assert conditions(TWO, "control=INTERGENIC1", "other_controls=skip", unassigned="skip") == {"control": 4, "G1": 2}


USUAL = (
    "control", "ctrl", "Ctrl", "NT", "NTC", "non-targeting", "nontargeting", "Non-Targeting_0042", "INTERGENIC2",
    "NTC_1", "safe-targeting", "no-target", "scramble", "scrambled", "DMSO", "vehicle", "Vehicle", "unperturbed",
    "sgNT", "sgCtrl1", "neg_ctrl", "negative control", "NegCtrl0", "mock", "untreated", "unstimulated", "NTg1",
    "unstim", "untrt", "Non-Targeting Control", "vehicle_control",
)  # fmt: skip
DOUBTFUL = (
    "WT", "wild type", "PBS", "AAVS1", "GFP", "LacZ", "NTC_A", "DMSO-0.1%", "vehicle (24h)", "Rosa26", "blank", "none",
    "no guide", "empty vector", "negative", "EtOH", "resting", "safe harbor",
)  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
def test_the_only_usual_name_is_the_control(name):
    assert is_control(name)
    assert conditions([*[name] * 3, "G1", "G2"]) == {"control": 3, "G1": 1, "G2": 1}
    with pytest.raises(InputError, match="look like controls"):
        conditions([*[name] * 3, "control " if name != "control" else "ctrl", "G1"])


@pytest.mark.parametrize("name", DOUBTFUL)
def test_a_doubtful_name_is_asked_about(name):
    assert may_be_control(name)
    assert not is_control(name)
    names = [*[name] * 3, "control", "G1"]
    if name == "none":  # a cell that has no condition, unless it is named
        assert conditions(names, unassigned="skip") == {"control": 1, "G1": 1}
        return
    with pytest.raises(InputError, match="look like controls"):
        conditions(names)
    with pytest.raises(InputError) as error:
        conditions([*names[:3], "G1"])
    passed = shlex.split(re.search(r"pass --set (.*)", str(error.value))[1])[0].rstrip(";")
    assert conditions([*names[:3], "G1"], passed) == {"control": 3, "G1": 1}


@pytest.mark.parametrize(
    "name", ["G1", "STAT1", "WT1", "NTRK1", "CTRB1", "NCF1", "EVI1", "EGFR", "BLANKET", "stim", "T0"]
)
def test_genes_do_not_look_like_controls(name):
    assert not may_be_control(name)


def test_many_numbered_controls_make_a_short_option():
    names = [f"NTC_{n}" for n in range(200)]
    with pytest.raises(InputError) as error:
        conditions([*names, "control", "G1"])
    passed = shlex.split(re.search(r"pass --set (.*)", str(error.value))[1])[0].rstrip(";")
    assert passed == "control=[NTC_*, control]"
    assert conditions([*names, "control", "G1"], passed) == {"control": 201, "G1": 1}


@pytest.mark.parametrize(
    "text", ["NO", "no", "off", "Yes", "None", "none", "nan", "NaN", "0", "007", "1.10", "1_000", "true", "Null", "PBS"]
)
def test_a_control_may_be_called_as_yaml_likes(text):
    names = [*[text] * 3, "G1", "G2"]
    assert conditions(names, f"control={text}" if text != "Null" else "control='Null'")["control"] == 3


def test_a_control_that_yaml_makes_two_names_is_refused():
    with pytest.raises(InputError, match=r"control=False may be NO or no; pass it in quotes"):
        conditions(["NO", "no", "G1"], "control=NO")
    assert conditions(["NO", "no", "G1"], 'control="NO"') == {"control": 1, "G1": 1, "no": 1}


@pytest.mark.parametrize(
    "column",
    [
        np.array([0, 0, 0, 1, 2]),
        np.array([0, 0, 0, 1, 2], np.uint8),
        np.array([0.0, 0, 0, 1, 2]),
        pd.array([0, 0, 0, 1, 2], "Int64"),
        pd.Categorical([0, 0, 0, 1, 2], [2, 5, 1, 0]),
        pd.Categorical([0.0, 0, 0, 1, 2]),
        pd.array(["0", "0", "0", "1", "2"], "string"),
        pd.Categorical(["0", "0", "0", "1", "2"], ["9", "2", "1", "0"]),
        [b"0", b"0", b"0", b"1", b"2"],
    ],
    ids=str,
)
def test_columns_of_any_type(column):
    assert conditions(column, "control=0") == {"control": 3, "1": 1, "2": 1}


def test_truth_values_as_conditions():
    for column in ([False, False, True], pd.array([False, False, True], "boolean")):
        assert conditions(column, "control=false") == {"control": 2, "True": 1}


def test_missing_values_are_no_names():
    column = pd.array([0, 0, None, 1], "Int64")
    with pytest.raises(InputError, match="1 cells have no condition"):
        conditions(column, "control=0")
    assert conditions(column, "control=0", unassigned="skip") == {"control": 2, "1": 1}


@pytest.mark.parametrize("name", ["unassigned", "Unknown", "multiplet", "Doublet", "ambiguous", "*", "-", "NA", "<NA>"])
def test_cells_whose_perturbation_nobody_knows_have_none(name):
    names = ["ctrl", "ctrl", "G1", name]
    with pytest.raises(
        InputError, match=rf"1 cells have no condition .* is 'c3' \('{re.escape(name)}'\); unassigned=skip"
    ):
        conditions(names)
    assert conditions(names, unassigned="skip") == {"control": 2, "G1": 1}
    assert conditions(names, "other_controls=perturbation", control=name) == {"control": 1, "G1": 1, "ctrl": 2}


def test_a_batch_may_be_called_unknown_but_not_na():
    adata = screen(["ctrl", "G1"])
    adata.obs["batch"] = ["unknown", "b1"]
    config = validated(CellFileConfig, OFF, "--set")
    assert from_anndata(adata, config).batch.names == ("b1", "unknown")
    adata.obs["batch"] = ["NA", "b1"]
    with pytest.raises(InputError, match="cell 'c0' has no value in column 'batch'"):
        from_anndata(adata, config)


@pytest.mark.filterwarnings("error")
def test_a_guide_pair_written_twice_is_no_reason_for_a_word():
    twice = ["ctrl_ctrl__ctrl_ctrl", "G1_ctrl__G1_ctrl", "G1_G2__G1_G2"]
    assert conditions(twice) == {"control": 1, "G1": 1, "G1+G2": 1}


def test_pairs_of_names_with_hyphens_are_noticed():
    names = ["ctrl", "HLA-A", "HLA-B", "HLA-A-HLA-B"]
    with pytest.raises(InputError, match=r"'HLA-A-HLA-B' .* looks like a pair of HLA-A and HLA-B; .* pairs=A-B"):
        conditions(names)


@pytest.mark.parametrize("mark", ["|", ",", ";", "&", ":", "-", "/", ", ", " and ", "__", ".", " x "])
def test_pairs_by_other_separators_are_noticed(mark):
    for second in ("G2", "ctrl"):
        names = [*["ctrl"] * 3, "G1", "G2", f"G1{mark}{second}"]
        with pytest.raises(InputError) as error:
            conditions(names)
        assert f"'G1{mark}{second}' (1 cells) looks like a pair of G1 and {second}" in str(error.value)
        passed = shlex.split(re.search(r"pass --set (.*)", str(error.value))[1])[0].rstrip(";")
        want = {"G1": 1, "G2": 1, "G1+G2": 1} if second == "G2" else {"G1": 2, "G2": 1}
        assert conditions(names, passed) == {"control": 3} | want
    whole = conditions([*["ctrl"] * 3, "G1", "G2", f"G1{mark}G2"], "pairs=none")
    assert whole == {"control": 3, "G1": 1, "G2": 1, f"G1{mark}G2": 1}


def test_pairs_in_any_order_and_repeated_are_sets():
    names = ["ctrl", "A+B", "B+A", "A+A", "A", "A+ctrl", "ctrl+A", "ctrl+ctrl", "A_B", "B", "B_A"]
    assert conditions(names, "control=[ctrl, ctrl+ctrl]") == {"control": 2, "A": 4, "A+B": 4, "B": 1}
    assert conditions(["ctrl", "A", "B", "C", "C_B_A", "A+C+B"]) == {"control": 1, "A": 1, "B": 1, "C": 1, "A+B+C": 2}


def test_names_with_marks_that_are_no_pairs_stay_whole():
    names = ["ctrl", "HLA-A", "HLA-B", "NKX2-1", "PD-0325901", "(+)-JQ1", "IL2/IL15"]
    assert set(conditions(names)) == {"control", *names[1:]}
    assert set(conditions([*names, "HLA-A|HLA-B"], "pairs=A|B")) == {"control", *names[1:], "HLA-A+HLA-B"}


def test_a_part_that_is_not_known_is_warned_of():
    with pytest.warns(DataWarning, match=r"1 conditions such as 'G1\|X' are read as pairs, although 'X' is not a gene"):
        assert conditions(["ctrl", "G1", "G1|X"], "pairs=A|B") == {"control": 1, "G1": 1, "G1+X": 1}


def test_a_safe_harbour_in_a_pair_is_asked_about():
    for name in ("G1+AAVS1", "AAVS1_G1"):
        with pytest.raises(InputError, match=r"'AAVS1', 'control' \(2 cells\) look like controls"):
            conditions(["control", "control", name])
        assert conditions(["control", "control", name], "control=[control, AAVS1]") == {"control": 2, "G1": 1}


@pytest.mark.parametrize("pairs", ["|", "A", "AB", "A|", "B|A", ""])
def test_pairs_must_show_how_a_pair_is_written(pairs):
    with pytest.raises(InputError, match="pairs"):
        conditions(["ctrl", "G1"], pairs=pairs)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(min_size=1, max_size=8).map(str.strip).filter(str.isprintable).filter(bool), min_size=1))
@example(["NO", "no", "None", "null", "~", "0", "1_0", "a, b", "a: b", "[", "'", '"', "#", "*x", "2024-01-01"])
def test_the_option_in_a_message_sets_these_names(names):
    words = shlex.split(option("control", names))
    plain: dict = {}
    apply_edit(plain, words[1])
    assert words[0] == "--set"
    assert CellFileConfig.model_validate(plain).control == tuple(names)


def test_the_command_line_takes_several(cli, tmp_path):
    write(screen(TWO), tmp_path / "s.h5ad")
    done = cli("data", "inspect", tmp_path / "s.h5ad", "--json", "--set", "control=[INTERGENIC1, INTERGENIC2]")
    assert json.loads(done.out)["conditions"] == {"control": 7, "G1": 2}
    assert json.loads(done.out)["control_names"] == ["INTERGENIC1", "INTERGENIC2"]
    done = cli("data", "inspect", tmp_path / "s.h5ad")
    assert done.code == 2
    assert done.err.count("\n") == 1
