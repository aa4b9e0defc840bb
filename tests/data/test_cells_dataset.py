"""Cells for training: what is held out stays out, pairs are what they say, perturbations become vectors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.config import validated
from anyjepa.data.cells.conditions import CONTROL, Condition, Perturbation
from anyjepa.data.cells.dataset import HiddenGenes
from anyjepa.data.cells.encoding import KINDS, REST, EncodingConfig, PerturbationEncoding, fit_encoding
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.data.cells.source import CellDataConfig, evaluation_data, held_out, training_data
from anyjepa.errors import InputError
from anyjepa.randomness import generator

SMALL = CellSimulatorConfig(genes=60, regulators=12, singles=8, doubles=6, cells=20, controls=60)
PAIRS = {"kind": "combination", "test": 0.5, "validation": 0.1}


def config(**changes: object) -> CellDataConfig:
    plain = {"simulator": SMALL.model_dump(), "genes": 40, "hidden": {"share": 0.5, "steps": 10}, **changes}
    return validated(CellDataConfig, plain, "data")


def rngs(number: int, stream: str = "crop") -> list[np.random.Generator]:
    return [generator(0, stream, place) for place in range(number)]


# ---- what is trained on


def test_held_out_pairs_and_all_that_follows_from_them_stay_out():
    chosen = config(split=PAIRS)
    dataset, screen = training_data(chosen, []), simulate(SMALL)
    split = held_out(chosen, screen)
    assert split is not None
    assert split.conditions
    trained = set(dataset.screen.condition[dataset.rows].tolist())
    assert not trained & split.conditions
    assert set(range(9)) <= trained  # the control and all singles
    assert len(dataset) == len(split.train) < len(screen)
    assert dataset.preprocessing.size == (40,)
    assert set(screen.perturbations) <= set(dataset.preprocessing.genes)


def test_the_model_sees_the_same_cell_in_training_and_evaluation():
    dataset = training_data(config(split=PAIRS), [])
    whole = evaluation_data(dataset.preprocessing, [], config())
    place = whole.ids.index(dataset.ids[7])
    assert dataset[7].shape == (1, 40)
    np.testing.assert_array_equal(whole[place], dataset[7])
    x, starts = dataset.crops([7, 3], rngs(2))
    np.testing.assert_array_equal(x[0], dataset[7])
    assert starts.tolist() == [0, 0]


def test_labels_of_cells_are_tasks():
    tables = training_data(config(), []).tables
    assert tables["cell_type"].classes == ("state0", "state1")
    assert len(tables["perturbation"].classes) == 15
    assert "donor" not in tables


def test_excluded_cells_are_left_out():
    everyone = training_data(config(), [])
    dataset = training_data(config(), [], exclude=everyone.ids[:5])
    assert set(everyone.ids) - set(dataset.ids) == set(everyone.ids[:5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"genes": 61}, "has 60 genes, 11 of them perturbed; data.genes=61 must lie between 11 and 60"),
        ({"genes": 5}, "has 60 genes, 11 of them perturbed; data.genes=5 must lie between 11 and 60"),
        (
            {"encoding": {"width": REST + 3}},
            f"a perturbation's identity takes 11 numbers, .* to {REST + 11} or more",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_told_with_what_would(changes, message):
    with pytest.raises(InputError, match=message):
        training_data(config(**changes), [])


# ---- pairs


def test_in_the_first_phase_a_cell_is_paired_with_a_part_of_itself():
    dataset = training_data(config(), [])
    x, (other, condition, valid) = dataset.pairs(range(0, 120, 3), rngs(40), rngs(40, "second"), step=9)
    whole = np.stack([dataset[i] for i in range(0, 120, 3)])
    np.testing.assert_array_equal(other, whole)
    kept = x != 0
    np.testing.assert_allclose(x[kept], 2 * whole[kept])
    assert 0.45 < kept[whole != 0].mean() < 0.55
    assert condition is not None
    assert valid is not None
    assert not condition.any()
    assert not valid.any()


def test_then_a_matched_control_becomes_the_cell_under_its_condition():
    dataset = training_data(config(), [])
    screen = dataset.screen
    assert screen.cell_type is not None
    cells = list(range(0, len(dataset), 7))
    x, (other, condition, valid) = dataset.pairs(cells, rngs(len(cells)), rngs(len(cells)), step=10)
    assert condition is not None
    assert valid is not None
    everyone = {row.tobytes(): number for number, row in enumerate(screen.rows(np.arange(len(screen))))}
    for place, cell in enumerate(cells):
        number = screen.condition[cell]
        before, after = (everyone[rows[place, 0].tobytes()] for rows in (x, other))
        assert after == cell
        assert screen.condition[before] == 0
        assert screen.cell_type.codes[before] == screen.cell_type.codes[cell]
        assert (before == cell) == (number == 0)  # a control stays as it is, under no condition
        assert valid[place].sum() == len(screen.conditions[number])
    again, _ = dataset.pairs(cells, rngs(len(cells)), rngs(len(cells)), step=999)
    np.testing.assert_array_equal(again, x)


def test_cells_without_a_perturbation_are_only_hidden():
    """An atlas: nothing but controls."""
    dataset = training_data(config(hidden={"steps": 0}, encoding={"width": 30}), [])
    alone = replace(dataset, controls=None)
    x, (other, _, valid) = alone.pairs([0, 1], rngs(2), rngs(2), step=50)
    assert (x != other).any()
    assert valid is not None
    assert not valid.any()


def test_all_genes_cannot_be_hidden():
    with pytest.raises(InputError, match="less than 1"):
        validated(HiddenGenes, {"share": 1.0}, "data.hidden")


# ---- perturbations as vectors


def knocked(*names: str) -> Condition:
    return Condition(frozenset(Perturbation(name, "knockdown") for name in names))


def test_a_token_says_name_kind_dose_and_time():
    encoding = PerturbationEncoding(width=20, names=("A", "drug"))
    both = Condition(frozenset([Perturbation("A", "knockout"), Perturbation("drug", "drug", dose=np.e - 1, time=0.0)]))
    tokens, valid = encoding.encode([CONTROL, knocked("A"), both])
    assert tokens.shape == (3, 2, 20)
    assert valid.tolist() == [[False, False], [True, False], [True, True]]
    assert not tokens[0].any()
    assert not tokens[1, 1].any()
    for token, name, kind, amounts in (
        (tokens[1, 0], 0, "knockdown", [0, 0, 0, 0]),
        (tokens[2, 0], 0, "knockout", [0, 0, 0, 0]),
        (tokens[2, 1], 1, "drug", [1, 1, 0, 1]),
    ):
        assert token[:2].tolist() == [name == 0, name == 1]
        assert np.flatnonzero(token[-REST:-4]).tolist() == [KINDS.index(kind)]
        np.testing.assert_allclose(token[-4:], amounts, atol=1e-6)


def test_an_unknown_perturbation_is_never_taken_for_the_control():
    with pytest.raises(InputError, match="unknown perturbation 'STAT2'; nearest: STAT1"):
        PerturbationEncoding(width=20, names=("STAT1", "JAK2")).encode([knocked("STAT2")])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sets(st.sampled_from("ABCDE"), max_size=4), min_size=1, max_size=6))
def test_every_set_of_names_comes_back_from_its_tokens(sets):
    encoding = PerturbationEncoding(width=REST + 5, names=tuple("ABCDE"))
    tokens, valid = encoding.encode([knocked(*names) for names in sets])
    for names, token, there in zip(sets, tokens, valid, strict=True):
        assert {"ABCDE"[place] for place in token[there][:, :5].argmax(1)} == names
        assert not token[~there].any()


def test_genes_that_are_alike_in_control_cells_have_like_features_also_unseen_ones():
    screen = simulate(SMALL)
    encoding = fit_encoding(EncodingConfig(width=64, by="coexpression"), screen, screen.controls)
    assert encoding.names == screen.genes
    assert encoding.features is not None
    vectors = np.array(encoding.features)
    assert vectors.shape == (60, 32)
    correlation = np.corrcoef(screen.rows(screen.controls).T)
    product = vectors @ vectors.T
    off = ~np.eye(60, dtype=bool)
    assert np.corrcoef(product[off], correlation[off])[0, 1] > 0.9
    spoilt = replace(screen, values=np.where((screen.condition == 0)[:, None], screen.values, 7.0))
    other = fit_encoding(EncodingConfig(width=64, by="coexpression"), spoilt, screen.controls)
    assert np.allclose(other.features, vectors)  # perturbed cells have no say


def test_a_table_of_features(tmp_path: Path):
    table = tmp_path / "genes.csv"
    screen = simulate(SMALL)
    chosen = EncodingConfig(width=16, by="table", table=str(table))
    rows = [f"T{k},{k},{k / 2}" for k in range(12)]
    table.write_text("\n".join(["gene,a,b", *rows]))
    encoding = fit_encoding(chosen, screen, screen.controls)
    assert encoding.encode([knocked("T3")])[0][0, 0, :2].tolist() == [3, 1.5]
    table.write_text("\n".join([";a;b", *(f" T{k}\u00a0;{k};{k // 2},{k % 2 * 5}" for k in range(12))]))
    assert fit_encoding(chosen, screen, screen.controls) == encoding
    for text, message in (
        ("\n".join(["gene,a,b", *rows[:3]]), "has no features in .*genes.csv"),
        ("\n".join(["gene,a,b", *rows, rows[0]]), "name 'T0' occurs twice"),
        ("\n".join(["gene,a,b", *rows[:-1], "T11,1,"]), "every name needs finite features"),
        ("\n".join(["gene,a,b", *rows[:-1], "T11,1,x"]), "column 'b', row 12: 'x' is not a number"),
        ("\n".join(rows), "the first line must name the columns; it contains numbers"),
        ("\n".join(["gene,a,b", *rows, ",1,2"]), "row 13: column 'gene' is empty; it names the perturbations"),
        ("", "is empty; the first line must name the columns"),
    ):
        table.write_text(text)
        with pytest.raises(InputError, match=message):
            fit_encoding(chosen, screen, screen.controls)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"table": "x.csv"}, "table=FILE goes with by=table"),
        ({"width": REST}, "the name at least 1"),
    ],
)
def test_settings_that_contradict_each_other(plain, message):
    with pytest.raises(InputError, match=message):
        validated(EncodingConfig, plain, "data.encoding")
