"""A screen in, an answer out: `anyjepa perturb` and `anyjepa.perturb`, on screens whose truth is known."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from h5ad_writing import write

import anyjepa
from anyjepa.data.cells.drug_simulator import DrugSimulatorConfig, simulate_drugs
from anyjepa.data.cells.genes import variable_genes
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.errors import DataWarning, InputError
from anyjepa.perturbation.questions import questions, usable_genes
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.runs.cells.inputs import screen_of
from anyjepa.runs.cells.perturb import FILE
from anyjepa.runs.cells.perturb_files import check_only_answer

FAST = {"perturbation.head.steps": 100, "perturbation.splits": 3, "perturbation.bootstrap": 200}
WORDS = [word for key, value in FAST.items() for word in ("--set", f"{key}={value}")]
GENES = [f"G{i}" for i in range(80)]


def cells_of(changes: dict[str, np.ndarray], number: int = 40, seed: int = 0, **labels: object) -> anndata.AnnData:
    """Counts of cells of 80 genes: `number` per condition, whose log expression is shifted by the change."""
    r = np.random.default_rng(seed)
    base = np.random.default_rng(99).normal(1.5, 0.7, 80)
    counts = [r.poisson(np.exp(base + change + r.normal(0, 0.2, (number, 80)))) for change in changes.values()]
    obs = pd.DataFrame({"perturbation": np.repeat(list(changes), number), **labels})
    obs.index = [f"c{seed}-{i}" for i in range(len(obs))]
    return anndata.AnnData(np.concatenate(counts).astype(np.float32), obs, pd.DataFrame(index=GENES))


def stimulated(types: int, without: int) -> anndata.AnnData:
    """One stimulus in several cell types, whose controls differ; the last types were not stimulated."""
    r = np.random.default_rng(3)
    response = np.where(np.arange(80) < 20, 1.2, 0.0)
    parts = []
    for place in range(types):
        state = r.normal(0, 0.5, 80)
        changes = {"ctrl": state, "stimulated": state + response * r.uniform(0.8, 1.2)}
        chosen = changes if place < types - without else {"ctrl": state}
        parts.append(cells_of(chosen, 40, place, cell_type=f"type{place}"))
    return anndata.concat(parts)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A simulated screen of singles and doubles as `.h5ad`."""
    screen = simulate(
        CellSimulatorConfig(genes=60, regulators=12, singles=12, doubles=10, cells=30, controls=80, seed=5)
    )
    names = [str(screen.conditions[number]) for number in screen.condition]
    obs = pd.DataFrame({"perturbation": names}, index=list(screen.ids))
    path = tmp_path_factory.mktemp("screens") / "screen.h5ad"
    write(anndata.AnnData(screen.values, obs, pd.DataFrame(index=list(screen.genes))), path)
    return path


@pytest.fixture(scope="module")
def folder(cli, file, tmp_path_factory) -> Path:
    """Everything about the screen, written by one command."""
    output = tmp_path_factory.mktemp("answers") / "answer"
    done = cli(
        "perturb", file, "--condition", "T1+T0", "--condition", "T2+T4", "--condition", "T3", "--synergy", "--up", "T5",
        "--down", "T6,T7", "-o", output, "--cell-eval", *WORDS,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.startswith("Verdict\nunseen combinations:")
    assert " ".join(done.out.split()).count(": predicted changes of means") == 2  # of singles and combinations
    assert "minus this row" not in done.out
    assert "-o FOLDER" not in done.out
    assert done.out.endswith(f"{output}: written\n")
    return output


def test_one_command_without_a_model_says_what_can_be_trusted(folder):
    text = (folder / "answer.txt").read_text()
    assert text.startswith("Verdict\nunseen combinations:\n")
    text = " ".join(text.split())
    assert "T2+T4: predicted changes, with 80 % intervals" in text
    assert text.count("minus this row") == 2
    assert "unseen single perturbations:" in text
    assert "pretrained encoder: none was compared; add one with --model RUN" in text
    assert "columns: condition 'perturbation'; control: control; values: counts from X" in text
    assert "not asked: unseen cell type, unseen donor, unseen batch, unseen dose, unseen time" in text
    result = PerturbationResult.from_json(folder / "unseen-combinations.json")
    names = [row.name for row in result.rows]
    assert names[:3] == ["head on PCA (50)", "head on raw expression", "head on PCA (50), shuffled"]
    assert {"additive", "perturbed mean", "half-split ceiling"} < set(names)
    assert sorted(condition.name for condition in result.conditions) == sorted({c.name for c in result.conditions})
    assert len(result.conditions) == 10  # each combination is tested once


def test_predictions_have_intervals_or_say_why_not(folder):
    rows = pd.read_csv(folder / "genes.csv")
    assert rows.groupby("condition", sort=False).size().to_dict() == {"T0+T1": 60, "T2+T4": 60, "T3": 60}
    new, known = rows[rows["condition"] == "T2+T4"], rows[rows["condition"] == "T3"]
    assert new["rank"].tolist() == list(range(1, 61))
    assert (new["low"] < new["high"]).all()
    assert new["no_interval"].isna().all()
    assert known[["low", "high"]].isna().all(axis=None)
    assert set(known["no_interval"]) == {"it was measured"}
    assert (known["measured_low"] < known["measured"]).all()
    adata = anndata.read_h5ad(folder / "predicted.h5ad")
    assert adata.obs_names.tolist() == adata.obs["condition"].tolist() == ["T0+T1", "T2+T4", "T3"]
    assert {"change", "low", "high", "measured"} == set(adata.layers)
    assert np.isnan(adata.layers["measured"]).all(1).tolist()[2] is False
    pictures = {"volcano-T2+T4.png", "measured-T3.png", "held-out-unseen-combinations.png"}
    assert pictures <= {path.name for path in folder.iterdir()}


def test_only_the_question_of_the_prediction_is_printed(file):
    answer = anyjepa.perturb(file, conditions=["T2+T4"], settings=FAST | {"perturbation.head.steps": 2})
    assert len(answer.questions) == 2
    assert "screen.h5ad, unseen combinations: predicted changes of means" in " ".join(str(answer).split())
    assert "unseen single perturbations: predicted changes of means" not in " ".join(str(answer).split())
    assert "write them with -o FOLDER (in Python: answer.write(folder))" in " ".join(str(answer).split())


def test_a_ranking_and_a_synergy_have_intervals_or_say_why_not(folder):
    ranking = pd.read_csv(folder / "ranking.csv")
    assert len(ranking) == 12 * 13 / 2
    assert ranking["score"].is_monotonic_decreasing
    with_interval = ranking["no_interval"].isna()
    assert (ranking["low"] < ranking["score"])[with_interval].all()
    assert (ranking["high"] > ranking["score"])[with_interval].all()
    assert ranking.loc[~with_interval, ["low", "high"]].isna().all(axis=None)
    assert (ranking["measured"] == ranking["measured_score"].notna()).all()
    synergy = pd.read_csv(folder / "synergy.csv")
    assert synergy["condition"].tolist() == ["T0+T1", "T2+T4"]
    bounded = synergy["no_interval"].isna()
    assert ((synergy["low"] < synergy["share"]) & (synergy["share"] < synergy["high"]))[bounded].all()
    assert bounded.any()


def test_cell_eval_gets_pairs_of_files_with_the_same_conditions(folder):
    place = folder / "cell-eval" / "unseen-combinations"
    predicted, real = (anndata.read_h5ad(place / f"all-{what}.h5ad") for what in ("predicted", "real"))
    assert set(predicted.obs["perturbation"]) == set(real.obs["perturbation"])
    assert len(set(real.obs["perturbation"])) == 11  # ten combinations, and 'control'
    assert predicted.var_names.tolist() == real.var_names.tolist()
    control = ((adata.obs["perturbation"] == "control").to_numpy() for adata in (predicted, real))
    np.testing.assert_array_equal(*(adata.X[rows] for adata, rows in zip((predicted, real), control, strict=True)))
    assert predicted.X.min() >= 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--condition", "T1+T99"], "unknown perturbation 'T99'; nearest: T9"),
        (["--up", "T1,nothing"], "goal: unknown gene 'nothing'"),
        (["--condition", "control"], "is the control"),
        (["--condition", "T1", "--condition", "T1"], "is listed twice"),
        (["--condition", ""], "is empty"),
        (["--condition", "T1", "--synergy"], "none of the conditions is a combination"),
        (["--condition", "T1", "-o", "x.txt"], "x.txt: must be a folder, or end in .h5ad, .csv, .parquet"),
        (["--up", "T1", "-o", "x.h5ad"], "x.h5ad: must be a folder, or end in .csv, .parquet"),
        (["--condition", "T1+T2", "--cells", "3", "-o", "x.csv"], "drawn cells can only be written to .h5ad"),
        (["--condition", "T1+T2", "--noise", "poisson"], "--noise is for drawn cells"),
        (["--condition", "T1+T2", "--up", "T3", "-o", "x.csv"], "either predicted conditions or a ranking"),
        (["-o", "x.csv"], "a file holds predictions"),
        (["--no-evaluate"], "nothing to do"),
        (["--cell-eval"], "pass -o FOLDER"),
        (["--features", "missing.csv"], "missing.csv"),
        (["--set", "qality.min_genes=3"], "unknown key 'qality'; did you mean 'quality'?"),
        (["--set", "perturbation.seed=3"], "did you mean 'seeds'?"),
    ],
)
def test_what_makes_no_sense_is_one_line_before_anything_is_fitted(cli, file, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    done = cli("perturb", file, *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_screen_is_never_written_over(cli, file):
    before = file.read_bytes()
    done = cli("perturb", file, "--condition", "T1+T2", "-o", file)
    assert (done.code, file.read_bytes()) == (2, before)
    assert "is one of the input files" in done.err
    assert "is a folder; pass a screen (.h5ad), and a run with --model" in cli("perturb", file.parent).err
    assert "pass a screen (.h5ad), or a run with --model" in cli("perturb").err


def test_an_answer_replaces_nothing_but_an_earlier_answer(cli, file, folder, tmp_path):
    before = file.read_bytes()
    done = cli("perturb", file, "-o", file.parent)
    assert (done.code, done.out, file.read_bytes()) == (2, "", before)
    assert f"{file.parent}: contains 'screen.h5ad', which is not part of an answer; move it" in done.err
    check_only_answer(folder)  # with every kind of file but pictures of doses and times
    check_only_answer(tmp_path / "none")
    answer = anyjepa.perturb(file, conditions=["T3"], evaluate=False, settings=FAST)
    answer.write(tmp_path / "answer")
    answer.write(tmp_path / "answer")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; choose another folder"):
        answer.write(tmp_path / "file")
    place = tmp_path / "answer" / "cell-eval" / "mine"
    place.mkdir(parents=True)
    (place / "scores.csv").touch()
    with pytest.raises(InputError, match=r"contains 'cell-eval/mine/scores.csv', which is not part of an answer"):
        answer.write(tmp_path / "answer")
    assert (place / "scores.csv").exists()


def test_drawn_cells_warn_of_their_p_values(cli, file, tmp_path):
    output = tmp_path / "cells.h5ad"
    done = cli("perturb", file, "--condition", "T0+T2", "-o", output, "--cells", 5, "--no-evaluate", *WORDS)
    assert done.code == 0, done.err
    assert "p-values of drawn cells depend on how many are drawn" in done.err
    cells = anndata.read_h5ad(output)
    assert cells.obs["condition"].tolist() == ["control"] * 5 + ["T0+T2"] * 5
    assert "p-values" in cells.uns["anyjepa"]["warning"]


def test_without_a_measured_pair_a_pair_is_the_sum_and_synergy_is_refused():
    r = np.random.default_rng(0)
    singles = {f"G{i}": np.where(r.random(80) < 0.2, r.normal(0, 1, 80), 0) for i in range(6)}
    adata = cells_of({"control": np.zeros(80), **singles})
    pairs = ["G0+G1", "G2+G3"]
    with pytest.raises(InputError, match="no combination was measured, so every prediction is the sum of the parts"):
        anyjepa.perturb(adata, conditions=pairs, synergies=True)
    answer = anyjepa.perturb(adata, conditions=[*pairs, "G0", "G1"], evaluate=False, settings=FAST)
    assert any("a predicted combination is the sum of its parts" in note for note in answer.notes)
    change = answer.predicted.prediction.change
    np.testing.assert_allclose(change[0], change[2] + change[3], atol=1e-5)
    assert answer.predicted.prediction.why[0] == "it is the sum of its parts, because no combination was measured"
    assert answer.table()["low"].isna().all()
    text = " ".join(str(answer).split())
    assert "predictions below: the head on principal components, fitted to all measured conditions" in text
    assert "No method was evaluated because of --no-evaluate (in Python: evaluate=False), so trust no pred" in text
    ranked = anyjepa.perturb(adata, up=["G7"], evaluate=False, settings=FAST)
    assert any("a predicted combination is the sum of its parts" in note for note in ranked.notes)


def test_no_expression_is_predicted_below_zero():
    """Two knockdowns that each remove most of a gene do not remove more than there is."""
    down = np.where(np.arange(80) == 7, -1.8, 0.0)
    parts = {f"G{i}": down + np.where(np.arange(80) == i, -1.0, 0.0) for i in range(6)}
    adata = cells_of({"control": np.where(np.arange(80) == 7, 1.5, 0.0), **parts})
    answer = anyjepa.perturb(adata, conditions=["G0+G1", "G0"], down=["G7"], evaluate=False, settings=FAST)
    predicted = answer.predicted
    assert 2 * predicted.prediction.change[1, 7] < -predicted.control[7] < predicted.prediction.change[1, 7]
    assert predicted.prediction.change[0, 7] == pytest.approx(-predicted.control[7])
    assert (predicted.expression == predicted.control + predicted.prediction.change).all()
    assert answer.ranking["score"].max() <= predicted.control[7] + 1e-6


def test_an_amount_that_all_perturbations_share_is_not_part_of_their_names():
    singles = {f"G{i}": np.where(np.arange(80) == 70 + i, 2.0, 0.0) for i in range(6)}
    adata = cells_of({"DMSO": np.zeros(80), **singles})
    adata.obs["dose"] = ["0 uM" if name == "DMSO" else "10 uM" for name in adata.obs["perturbation"]]
    adata.obs["time"] = 24
    answer = anyjepa.perturb(adata, conditions=["G3"], settings=FAST)
    assert list(answer.verdicts) == ["unseen single perturbations"]
    assert answer.predicted.names == ("G3",)
    assert any("dose 'dose' (the same for all, so not used), time 'time' (the same" in fact for fact in answer.facts())


def test_what_cannot_be_held_out_says_why(tmp_path):
    """Genes by Ensembl id, perturbations by symbol; every condition is a single knockout."""
    adata = cells_of({"control": np.zeros(80), **{f"TP{i}": np.eye(80)[i] for i in range(6)}})
    answer = anyjepa.perturb(adata, settings=FAST)
    text = " ".join(str(answer).split())
    assert "No method was evaluated on this screen, so trust no prediction." in text
    assert "unseen single perturbations: 0 of 6 perturbations are genes of the panel or have features" in text
    assert "pass --features FILE, or --set gene_names=COLUMN" in text
    assert "not asked: unseen combinations, unseen cell type, unseen donor, unseen batch" in text


def test_each_cell_type_is_predicted_by_name_and_covered():
    answer = anyjepa.perturb(stimulated(8, without=2), conditions=["stimulated"], settings=FAST)
    (verdict,) = answer.verdicts.values()
    assert answer.result("unseen cell type").notices == (
        "No shuffled control: all training conditions have the same perturbations.",
    )
    assert [c.name for c in answer.result("unseen cell type").conditions] == [f"type{i}: stimulated" for i in range(6)]
    assert verdict.sentences
    predicted = answer.predicted
    assert predicted.names == tuple(f"stimulated in type{i}" for i in range(8))
    assert predicted.prediction.why == ("it was measured",) * 6 + ("", "")
    rows = answer.table()
    assert rows["cell_type"].unique().tolist() == [f"type{i}" for i in range(8)]
    new = rows[rows["cell_type"] == "type7"]
    assert new["measured"].isna().all()
    assert (new["high"] - new["low"] > 0).all()
    known = rows[rows["cell_type"] == "type0"]
    assert (
        (known["measured_low"] <= known["log_fold_change"]) & (known["log_fold_change"] <= known["measured_high"])
    ).mean() > 0.5


def test_effects_without_any_order_are_not_to_be_trusted():
    """Each gene's knockdown does something of its own, which no cell of another one shows."""
    r = np.random.default_rng(1)
    singles = {f"G{i}": np.where(r.random(80) < 0.3, r.normal(0, 1, 80), 0) for i in range(12)}
    answer = anyjepa.perturb(cells_of({"control": np.zeros(80), **singles}), settings=FAST)
    assert list(answer.verdicts) == ["unseen single perturbations"]
    verdict = answer.verdicts["unseen single perturbations"]
    assert verdict.use is None
    assert "Trust no prediction here" in str(verdict)
    assert str(answer).startswith("Verdict\nunseen single perturbations:\n  Trust no prediction here")


def test_donors_as_in_the_raw_counts_of_kang_2018():
    """Columns stim, ind, cell and cluster; some cells have no type. Nothing is set."""
    parts = []
    for donor in range(4):
        state = np.random.default_rng(donor).normal(0, 0.2, 80)
        response = state + np.where(np.arange(80) < 20, 1.0, 0.0)
        parts.append(cells_of({"ctrl": state, "stim": response}, 60, donor, ind=donor, cluster=donor % 2))
    adata = anndata.concat(parts)
    adata.obs["stim"] = adata.obs.pop("perturbation")
    adata.obs["cell"] = np.where(np.arange(len(adata)) % 3 > 0, "T", "B")
    adata.obs.loc[adata.obs_names[:5], "cell"] = None
    answer = anyjepa.perturb(adata, conditions=["stim"], settings=FAST)
    columns = answer.screen.report["columns"]
    assert (columns["condition"], columns["donor"], columns["cell_type"]) == ("stim", "ind", "cell")
    assert answer.screen.report["left_out_cells"]["unlabelled"] == 5
    assert list(answer.verdicts) == ["unseen cell type", "unseen donor"]
    assert [c.name for c in answer.result("unseen donor").conditions] == [f"{donor}: stim" for donor in range(4)]
    assert "5 are needed" in str(answer.verdicts["unseen donor"])  # four donors are too few for a verdict
    assert answer.predicted.label == "donor"  # two cell types reveal nothing of a third
    assert answer.predicted.names == tuple(f"stim in {donor}" for donor in range(4))


def test_a_large_panel_is_reduced_on_training_cells_only():
    singles = {f"G{i}": np.where(np.arange(80) == 79 - i, 3.0, 0.0) for i in range(6)}
    screen = screen_of(cells_of({"control": np.zeros(80), **singles}), FILE)
    (asked,), impossible = questions(screen, folds=6)
    assert asked.title == "unseen single perturbations"
    assert set(impossible) >= {"unseen combinations", "unseen dose"}
    for effects, split in zip(asked.effects(genes=12), asked.splits, strict=True):
        assert effects.genes == variable_genes(screen, split.train, 12)
        assert {f"G{i}" for i in range(6)} < set(effects.genes)
    assert len({effects.genes for effects in asked.effects(genes=12)}) > 1
    assert sorted(name for split in asked.splits for name in split.names) == [f"G{i}" for i in range(6)]


def test_own_features_predict_what_is_not_in_the_panel(tmp_path):
    """Compounds whose effects are linear in their features: one was not measured."""
    r = np.random.default_rng(2)
    weights = r.normal(0, 0.6, (4, 80)) * (r.random((4, 80)) < 0.3)
    names, bits = [f"drug{i}" for i in range(16)], r.normal(size=(16, 4))
    changes = {name: of @ weights for name, of in zip(names[:15], bits, strict=False)}
    adata = cells_of({"DMSO": np.zeros(80), **changes})
    with pytest.raises(InputError, match=r"unknown perturbation 'drug15'; nearest: drug"):
        anyjepa.perturb(adata, conditions=["drug15"])
    table = tmp_path / "features.csv"
    pd.DataFrame(bits, index=names).to_csv(table)
    answer = anyjepa.perturb(adata, conditions=["drug15"], features=table, settings=FAST)
    result = answer.result("unseen single perturbations")
    assert result.row("ridge on your features").unanswered == 0
    assert answer.verdicts["unseen single perturbations"].use is not None
    found, truth = answer.predicted.prediction.change[0], bits[15] @ weights
    assert np.corrcoef(found, truth)[0, 1] > 0.7


def test_doses_are_held_out_and_predicted_between(tmp_path):
    screen = simulate_drugs(
        DrugSimulatorConfig(genes=60, regulators=12, compounds=6, families=2, cells=20, controls=100)
    )
    amounts = [next(iter(screen.conditions[n])) if n else None for n in screen.condition]
    obs = pd.DataFrame({
        "perturbation": ["DMSO" if one is None else one.name for one in amounts],
        "dose": [0.0 if one is None else one.dose for one in amounts],
    }, index=list(screen.ids))  # fmt: skip
    adata = anndata.AnnData(
        np.asarray(screen.values.todense() if hasattr(screen.values, "todense") else screen.values),
        obs,
        pd.DataFrame(index=list(screen.genes)),
    )
    name = obs["perturbation"].iloc[-1]
    settings = FAST | {"quality.min_condition_cells": 10}
    answer = anyjepa.perturb(adata, conditions=[f"{name}@30", f"{name}@10"], settings=settings)
    result = answer.result("unseen dose")
    assert result.rows[0].name == "interpolated curve"
    assert result.rows[0].unanswered == 0
    assert {"nearest compound", "ridge on features x log dose"} < {row.name for row in result.rows}
    why = answer.predicted.prediction.why
    assert why == ("", "it was measured")
    axes = answer.figures()[f"dose-{name}"].axes[0]
    assert axes.get_xticklabels()[0].get_text() == "0"
    assert len(axes.get_legend().get_texts()) == 5
    for _ in range(2):  # the second replaces the first
        answer.write(tmp_path / "answer")
    assert (tmp_path / "answer" / f"dose-{name}.png").exists()
    with pytest.raises(InputError, match="unknown perturbation"):
        anyjepa.perturb(adata, conditions=["D99@30"], settings=settings)


def test_a_model_joins_as_one_more_row_with_the_features_that_it_was_trained_with(cli, file, tmp_path):
    names = sorted({*anndata.read_h5ad(file).obs["perturbation"].str.split("+").explode()} - {"control"})
    table = tmp_path / "features.csv"
    bits = np.random.default_rng(0).normal(size=(len(names) + 1, 4))
    pd.DataFrame(bits, index=[*names, "OUTSIDE"]).to_csv(table)
    small = [
        "data.encoding.by=table", f"data.encoding.table={table}",
        "data.genes=50", "data.split.validation=0.1", "data.hidden.steps=2", "objective.encoder.tokens=5",
        "objective.encoder.dim=8", "objective.encoder.depth=1", "objective.encoder.heads=2",
        "objective.predictor.depth=1", "objective.predictor.heads=2", "training.steps=2", "training.batch_size=16",
        "training.optimiser.warmup=0", "quality.min_cells=0",
    ]  # fmt: skip
    run = tmp_path / "run"
    done = cli("pretrain", "perturb-demo", "--data", file, "-o", run, *(w for edit in small for w in ("--set", edit)))
    assert done.code == 0, done.err
    table.unlink()  # the model remembers
    answer = anyjepa.perturb(file, model=run, conditions=["OUTSIDE"], settings=FAST)
    assert np.isfinite(answer.predicted.prediction.change).all()
    result = answer.result("held out in pretraining")
    assert "ridge on your features" in [row.name for row in result.rows]
    names = [row.name for row in result.rows]
    assert names[:2] == ["head on PCA (50)", "head on pretrained (teacher)"]
    assert "the model's own predictor" not in names  # two steps of hidden genes: it never saw a pair
    assert "pretrained encoder" in str(answer.verdicts["held out in pretraining"])
    assert "none was compared" not in str(answer)


@pytest.mark.parametrize(("cells", "genes"), [(100, 6000), (22_369, 6000), (100_000, 1342), (10**6, 1000), (0, 6000)])
def test_many_cells_leave_room_for_fewer_genes(cells, genes):
    assert usable_genes(cells) == genes


@pytest.mark.realdata
@pytest.mark.long
@pytest.mark.parametrize(
    ("page", "file"),
    [("kang", "kang2018/scgen_valid.h5ad"), ("papalexi", "papalexi2021/papalexi2021.h5ad")],
)
def test_a_tutorial_shows_what_its_command_prints(cli, test_data, tmp_path, monkeypatch, page, file):
    """Every word, and numbers to two digits."""
    shutil.copy(test_data / file, tmp_path)
    monkeypatch.chdir(tmp_path)
    blocks = (Path(__file__).parents[2] / f"docs/cells-{page}.md").read_text().split("```")
    command, shown = blocks[1].strip().splitlines()[0], " ".join(blocks[3].split())
    done = cli(*command.split()[1:])
    assert done.code == 0, done.err
    rounded = [re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.2f}", text) for text in (shown, done.out)]
    assert rounded[0] in " ".join(rounded[1].split())


def test_json_of_a_question_can_be_read_again(folder):
    for path in folder.glob("unseen-*.json"):
        assert json.loads(path.read_text())["rows"]
        assert str(PerturbationResult.from_json(path))


def test_pictures_take_cells_predictions_and_doses(folder, file):
    from anyjepa.perturbation.predictions.pictures import volcano

    adata = anndata.read_h5ad(file)
    axes = volcano(adata, "T3").axes[0]
    assert "Wilcoxon; 30 and 80 cells" in axes.get_ylabel()
    adata.uns["anyjepa"] = {"noise": "poisson"}
    with pytest.warns(DataWarning, match="p-values depend on how many were drawn"):
        volcano(adata, "T3")
    with pytest.raises(InputError, match="no condition 'T33'; did you mean 'T3'"):
        volcano(anndata.read_h5ad(file), "T33")
