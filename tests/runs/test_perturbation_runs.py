"""Cells through the whole of it, by the command line: pretraining, evaluation, report, embedding, going on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from h5ad_writing import write
from safetensors.numpy import load_file, save_file
from scipy import sparse

import anyjepa
from anyjepa import plot
from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate
from anyjepa.errors import InputError
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.recipes.schema import load_recipe
from anyjepa.report.contents import read_contents
from anyjepa.report.page import page
from anyjepa.report.perturbation_results import perturbations
from anyjepa.runs.cells.evaluate_perturbations import evaluate_perturbations
from anyjepa.runs.folder import Run, open_run
from anyjepa.runs.objective import build_objective
from anyjepa.runs.pretrain import pretrain
from anyjepa.training.logs import read_metrics

VIEWS = pytest.mark.filterwarnings("ignore:The 'mode.chained_assignment'")  # anndata's, when it is indexed
SCREEN = {"genes": 60, "regulators": 12, "singles": 12, "doubles": 10, "cells": 30, "controls": 80}
SMALL = [
    *(f"data.simulator.{key}={value}" for key, value in SCREEN.items()),
    "data.genes=50",
    "data.split.validation=0.1",
    "data.hidden.steps=4",
    "objective.encoder.tokens=5",
    "objective.encoder.dim=8",
    "objective.encoder.depth=1",
    "objective.encoder.heads=2",
    "objective.predictor.depth=1",
    "objective.predictor.heads=2",
    "training.steps=8",
    "training.batch_size=16",
    "training.optimiser.warmup=2",
    "training.checkpoint_every=4",
    "training.log_every=1",
    "training.monitor_every=2",
    "perturbation.bootstrap=50",
    "perturbation.head.steps=50",
]


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("cells") / "run"
    done = cli("pretrain", "perturb-demo", "-o", folder, *(word for edit in SMALL for word in ("--set", edit)))
    assert done.code == 0, done.err
    assert f"next: anyjepa evaluate {folder} --protocol perturbation" in done.err
    return open_run(folder)


@pytest.fixture(scope="module")
def evaluated(cli, run) -> PerturbationResult:
    done = cli("evaluate", run.folder, "--protocol", "perturbation", "--seeds", 1)
    assert done.code == 0, done.err
    assert "half-split ceiling" in done.out
    assert done.out.splitlines()[-1].startswith("report: ")
    return PerturbationResult.from_json(run.perturbations / "held-out-embedded.json")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Another screen as .h5ad, with the same genes and a compound's name for the control."""
    screen = simulate(CellSimulatorConfig(**SCREEN, seed=5))
    names = [str(screen.conditions[number]) for number in screen.condition]
    obs = pd.DataFrame({"perturbation": names}, index=[f"new{i}" for i in screen.ids])
    path = tmp_path_factory.mktemp("screens") / "screen.h5ad"
    write(anndata.AnnData(sparse.csr_matrix(screen.values), obs, pd.DataFrame(index=list(screen.genes))), path)
    return path


def test_both_phases_are_trained_and_collapse_is_watched(run):
    rows = read_metrics(run.folder / "metrics.csv")
    assert [row["step"] for row in rows] == list(range(1, 9))
    assert {"prediction", "variance", "covariance"} <= rows[-1].keys()
    assert rows[-1]["teacher_between"] > 0.3


def test_going_on_gives_the_same_numbers_across_the_phases(run, tmp_path):
    recipe = load_recipe("perturb-demo", [*SMALL, "training.workers=1"])[0]
    other = pretrain(recipe, output=tmp_path / "other")
    (other.folder / "checkpoints/step-00000008.ckpt").unlink()
    again = pretrain(recipe, output=tmp_path / "other", resume=True)
    first, second = (read_metrics(one.folder / "metrics.csv")[-1] for one in (run, again))
    assert first["loss"] == second["loss"]
    assert first["teacher_between"] == second["teacher_between"]


def test_the_head_stands_on_four_representations_beside_every_baseline(evaluated):
    names = [row.name for row in evaluated.rows]
    assert names[:4] == [
        "head on pretrained (teacher)",
        "head on PCA (100)",
        "head on random weights",
        "head on raw expression",
    ]
    assert {"no change", "perturbed mean", "additive", "half-split ceiling"} < set(names)
    assert f"{names[0]}, shuffled" in names
    assert "the model's own predictor" in names
    assert list(evaluated.decoded) == ["all tokens of the model (teacher)", "PCA (100)", "all tokens of random weights"]
    assert evaluated.decoded["PCA (100)"] > 0.98  # of 50 genes, all but the ridge
    assert all(len(condition.perturbed) == 2 for condition in evaluated.conditions)
    assert evaluated.splits == 1


def test_the_result_is_on_the_card_of_a_pushed_model(run, evaluated, tmp_path):
    anyjepa.push(run, "someone/cells", dry_run=tmp_path / "upload")
    card = (tmp_path / "upload" / "README.md").read_text()
    assert f"### {evaluated.data}" in card
    assert "half-split ceiling" in card.partition("```text")[2].partition("```")[0]


def test_the_result_is_on_the_report(run, evaluated):
    contents = read_contents(run.folder)
    assert not contents.notes
    shown = page(contents)
    assert "How well are perturbations predicted?" in shown
    assert "Is the representation useful?" not in shown
    assert f"{len(evaluated.conditions)} held-out perturbations of the embedded screen" in shown
    assert all(condition.name in shown for condition in evaluated.conditions)
    assert "the first two principal axes of the measured changes" in shown
    assert "ridge (G W P&#x27;)" in perturbations(contents)  # which had no answer, and is named for it


@pytest.mark.parametrize("text", ["", "{", "[]", '{"rows": []}', '{"schema_version": 9}'])
def test_a_broken_result_is_a_note_on_the_report(run, evaluated, tmp_path, text):
    (tmp_path / "perturbations").mkdir()
    (tmp_path / "perturbations/held-out.json").write_text(text)
    contents = read_contents(tmp_path)
    assert any("perturbations/held-out.json cannot be read" in note for note in contents.notes)
    assert page(contents)
    plain = json.loads((run.perturbations / "held-out-embedded.json").read_text())
    for spoil in (
        lambda: plain["places"].update(true=plain["places"]["true"][:1]),
        lambda: plain.update(conditions=plain["conditions"][:1]),
        lambda: plain["rows"][1].update(difference={}),
        lambda: plain["rows"][0].update(metrics={}),
    ):
        spoil()
        (tmp_path / "perturbations/held-out.json").write_text(json.dumps(plain))
        assert not read_contents(tmp_path).perturbations
        assert page(read_contents(tmp_path))
    (tmp_path / "perturbations/held-out.json").write_text(json.dumps(plain))
    assert not read_contents(tmp_path).perturbations


def test_other_data_are_split_anew(cli, run, file, tmp_path):
    """A panel that is smaller than the filters of the defaults expect needs its own settings."""
    recipe = load_recipe("perturb-demo", [*SMALL, "data.file.quality.min_genes=0", "training.steps=4"])[0]
    other = pretrain(recipe, output=tmp_path / "run")
    done = cli("evaluate", other.folder, "--data", file, "--protocol", "perturbation", "--seeds", 1, "--folds", 2)
    assert done.code == 0, done.err
    (path,) = other.perturbations.glob("other-screen-*.json")
    found = PerturbationResult.from_json(path)
    assert found.notices[0].startswith("OTHER DATA: the model was trained on none of these cells")
    assert found.splits == 2
    assert {condition.split for condition in found.conditions} == {0, 1}


def test_a_model_of_a_file_is_evaluated_on_what_it_has_not_seen(cli, file, tmp_path):
    edits = [*SMALL, "data.file.quality.min_genes=0", "training.steps=4"]
    recipe = load_recipe("perturb-demo", edits)[0]
    held = pretrain(recipe, file, tmp_path / "held")
    first = evaluate_perturbations(held, file, seeds=1)
    assert first.splits == 1
    again = evaluate_perturbations(held, seeds=1)  # without data: what it was trained on, never the simulator
    assert [row.scores for row in again.rows] == [row.scores for row in first.rows]
    assert len(list(held.perturbations.iterdir())) == 1
    done = cli("perturb", "--model", held.folder, "--condition", "T1+T2", "-o", tmp_path / "p.csv", "--no-evaluate")
    assert done.code == 0, done.err
    read = ("--set", "quality.min_genes=0", "--set", "quality.min_condition_cells=500")
    done = cli("evaluate", held.model, "--data", file, "--protocol", "perturbation", *read)
    assert "and quality.min_condition_cells is 500; pass --set quality.min_condition_cells=" in done.err
    everything = pretrain(load_recipe("perturb-demo", [*edits, "data.split=null"])[0], file, tmp_path / "all")
    done = cli("evaluate", everything.folder, "--data", file, "--protocol", "perturbation")
    assert (done.code, done.out) == (2, "")
    assert "the model was trained on test cells such as 'new" in done.err
    with pytest.raises(InputError, match="only a run folder records its training data"):
        evaluate_perturbations(held.model)


def test_labels_of_cells_are_probed_like_any_others_and_explained_by_gene(run, tmp_path):
    settings = {"seeds": 1, "bootstrap": 0, "linear": {"strengths": [1]}}
    found = anyjepa.evaluate(run, task="cell_type", settings=settings, save_classifier=tmp_path / "kept")
    assert found.classes.keys() == {"state0", "state1"}
    model = anyjepa.load(tmp_path / "kept")
    cell = np.ones(50, np.float32)
    cell[3] = 0
    (why,) = model.explain(cell)
    table = why.table("state0")
    assert table["gene"].tolist() == list(model.preprocessing.genes)
    assert table["log_odds"][3] == 0  # not expressed, so hiding it changes nothing
    assert (table["log_odds"] != 0).sum() > 40
    bars = plot.explanation(why, "state0").axes[0].patches
    assert max(abs(bar.get_width()) for bar in bars) == pytest.approx(table["log_odds"].abs().max())


def test_the_report_shows_the_error_of_each_group_of_genes(run):
    kept = np.load(run.artifacts / "places.npz")
    genes = open_run(run.folder).recipe.data.genes
    assert kept["genes"].shape == kept["errors"].shape == (5,)
    first, _, last = str(kept["genes"][-1]).partition(" to ")
    names = anyjepa.load(run).preprocessing.genes
    assert (genes, first, last) == (50, names[40], names[49])
    assert (kept["errors"] > 0).all()
    written = page(read_contents(run.folder))
    assert "Mean error of 5 groups of genes" in written
    assert first in written


@VIEWS
def test_cells_are_embedded_from_files_and_in_memory(cli, run, file, tmp_path):
    done = cli("embed", run.folder, file, "-o", tmp_path / "cells.npz")
    assert done.code == 0, done.err
    table = np.load(tmp_path / "cells.npz")
    adata = anndata.read_h5ad(file)
    assert table["id"].tolist() == adata.obs_names.tolist()  # no filter leaves any out
    model = anyjepa.load(run.folder)
    np.testing.assert_allclose(model.embed(adata), table["embedding"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.embed(adata[:, ::-1].copy()), table["embedding"], rtol=1e-5, atol=1e-6)
    screen = simulate(CellSimulatorConfig(**SCREEN, seed=5)).select(genes=model.preprocessing.genes)
    cells = screen.rows(np.arange(4))
    np.testing.assert_allclose(model.embed(cells), table["embedding"][:4], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.embed(cells[0]), table["embedding"][:1], rtol=1e-5, atol=1e-6)


@VIEWS
def test_cells_that_do_not_fit_the_model_are_one_line(cli, run, file, tmp_path):
    model, adata = anyjepa.load(run.folder), anndata.read_h5ad(file)
    gene = model.preprocessing.genes[3]
    with pytest.raises(InputError, match=f"1 of 50 genes are missing: '{gene}'"):
        model.embed(adata[:, [name != gene for name in adata.var_names]].copy())
    logged = adata.copy()
    logged.X = logged.X.astype(np.float32).log1p()
    with pytest.raises(InputError, match="has log1p, the model was trained on counts"):
        model.embed(logged)
    with pytest.raises(InputError, match="reads 50 genes in its order"):
        model.embed(np.ones((2, 49), np.float32))
    with pytest.raises(InputError, match="negative or not finite"):
        model.embed(np.full((2, 50), -1.0))
    with pytest.raises(InputError, match=r"has value 37, above ln\(10,001\)"):  # counts
        model.embed(np.full((2, 50), 37.0))
    with pytest.raises(InputError, match="cells: is a csr_matrix; pass an array of numbers"):
        model.embed(sparse.csr_matrix((2, 50)))
    (tmp_path / "cells.h5ad").write_text("no HDF5")
    done = cli("embed", run.folder, tmp_path / "cells.h5ad", "-o", tmp_path / "cells.npz")
    assert (done.code, done.out) == (2, "")
    assert "is not an HDF5 file" in done.err


def test_settings_of_the_comparison_and_of_the_file_are_set_apart(cli, run, file, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    edits = ["perturbation.bootstrap=0", "perturbation.head.steps=2", "perturbation.splits=1", "condition=perturbation"]
    edits += ["quality.min_condition_cells=5"]
    words = ["evaluate", folder, "--data", file, "--protocol", "perturbation", "--seeds", 1]
    done = cli(*words, *(word for edit in edits for word in ("--set", edit)))
    assert done.code == 0, done.err
    result = PerturbationResult.from_json(next((folder / "perturbations").glob("other-*.json")))
    assert all(estimate.bootstrap is None for row in result.rows for estimate in row.metrics.values())
    done = cli(*words, "--set", "perturbation.bootstraps=0")
    assert done.code == 2
    assert "unknown key 'bootstraps'; did you mean 'bootstrap'?" in done.err


def test_options_of_labels_are_refused(cli, run, tmp_path):
    done = cli("evaluate", run.folder, "--protocol", "perturbation", "--task", "cell_type")
    assert (done.code, done.out) == (2, "")
    assert "--task does not apply to --protocol perturbation" in done.err
    done = cli("evaluate", run.folder, "--set", "condition=gene")
    assert (done.code, done.out) == (2, "")
    assert "settings of a file of cells need --protocol perturbation or proteins" in done.err


def test_parts_of_a_model_that_do_not_fit_each_other_are_one_line(run, tmp_path):
    def spoilt(change: Callable[[dict], object]) -> Path:
        folder = tmp_path / f"model{len(list(tmp_path.iterdir()))}"
        shutil.copytree(run.model, folder)
        plain = json.loads((folder / "preprocessing.json").read_text())
        change(plain)
        (folder / "preprocessing.json").write_text(json.dumps(plain))
        return folder

    for change, message in (
        (lambda plain: plain["genes"].pop(), "the encoder takes inputs of size 50, its preprocessing makes 49"),
        (lambda plain: plain["genes"].__setitem__(0, plain["genes"][1]), "a gene occurs twice"),
        (lambda plain: plain["encoding"].update(width=64), "takes conditions of width 128, its preprocessing makes 64"),
        (lambda plain: plain["encoding"]["names"].append(plain["encoding"]["names"][0]), "is named twice"),
        (lambda plain: plain["encoding"].update(features=[[1.0]]), "names need as many features"),
    ):
        with pytest.raises(InputError, match=message):
            anyjepa.load(spoilt(change))


def test_a_screen_of_controls_has_nothing_to_learn_from(cli, run, tmp_path):
    screen = simulate(CellSimulatorConfig(**SCREEN))
    controls = screen.select(cells=screen.controls)
    obs = pd.DataFrame({"perturbation": "control"}, index=list(controls.ids))
    file = tmp_path / "c.h5ad"
    write(anndata.AnnData(controls.values, obs, pd.DataFrame(index=list(controls.genes))), file)
    read = ("--set", "condition=none", "--set", "quality.min_genes=0")
    done = cli("perturb", file, "--model", run.folder, "--condition", "T1", "-o", tmp_path / "p.csv", *read)
    assert (done.code, done.out) == (2, "")
    assert "has no perturbed cell" in done.err


def test_perturbations_are_of_cells(cli, tmp_path):
    images = pretrain(
        load_recipe("ijepa-demo", ["data.simulator.train=60", "training.steps=1", "training.optimiser.warmup=0"])[0],
        output=tmp_path / "images",
    )
    done = cli("evaluate", images.folder, "--protocol", "perturbation")
    assert (done.code, done.err) == (2, "anyjepa: evaluate: needs a model of cells, but this is a model of images\n")


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (["objective.predictor.condition_dim=64"], "condition_dim and data.encoding.width must be the same"),
        (["data.split.kind=nothing"], "data.split"),
        (["objective.encoder.tokens=70", "data.genes=60"], "60 inputs in groups of 1 fill 60 tokens, not 70"),
    ],
)
def test_recipes_that_do_not_fit_are_one_line(cli, tmp_path, edits, message):
    words = [word for edit in [*SMALL, *edits] for word in ("--set", edit)]
    done = cli("pretrain", "perturb-demo", "-o", tmp_path / "run", *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert not (tmp_path / "run").exists()


def test_the_first_design_has_its_parameters_and_takes_a_step():
    """69,390,080 with a condition of 128 numbers; the loss and every gradient are finite."""
    import torch

    from anyjepa.data.pair import Pair
    from anyjepa.objectives.batch import Batch

    recipe = load_recipe("bio-jepa-seed")[0]
    model = build_objective(recipe)
    assert sum(p.numel() for p in model.parameters()) == 69_390_080
    x, other, condition = torch.rand(4, 1, 20_000), torch.rand(4, 1, 20_000), torch.rand(4, 1, 128)
    pair = Pair(other, condition, torch.ones(4, 1, dtype=torch.bool))
    losses = model(Batch.whole(x, pair=pair))
    losses.total().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_the_recipe_for_screens_of_ones_own_spends_little_on_reading_genes():
    model = build_objective(load_recipe("perturb-jepa")[0])
    reading = sum(p.numel() for p in model.student.projection.parameters())
    assert reading == 50 * 40 * 128
    assert reading < 0.25 * sum(p.numel() for p in model.student.parameters())


@VIEWS
@pytest.mark.long
def test_the_documented_map_is_drawn_by_scanpy(run, file, tmp_path):
    """The Python lines of docs/cells.md that draw a UMAP, as they stand there.

    In a process of their own: `scanpy.pp.neighbors` leaves another number of threads behind, with which later trainings
    would differ in their last digits.
    """
    text = (Path(__file__).parents[2] / "docs/cells.md").read_text()
    (lines,) = (block for block in text.split("```python\n")[1:] if "umap" in block)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/screen").symlink_to(run.folder)
    shutil.copy(file, tmp_path / "screen.h5ad")
    script = lines.partition("```")[0] + "import numpy\nnumpy.save('umap.npy', cells.obsm['X_umap'])\n"
    environment = os.environ | {"MPLBACKEND": "agg"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    drawn = np.load(tmp_path / "umap.npy")
    assert drawn.shape[1] == 2
    assert len(drawn) == anndata.read_h5ad(file, backed="r").n_obs
    assert np.isfinite(drawn).all()


@VIEWS
def test_damaged_weights_predict_nothing(cli, run, tmp_path):
    damaged = tmp_path / "run"
    shutil.copytree(run.folder, damaged)
    path = damaged / "model" / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.startswith("encoder.") and name.endswith("fc1.weight"))
    tensors[name][0] = 3e38
    save_file(tensors, path)  # as another program would, without a checksum
    done = cli("perturb", "--model", damaged, "--condition", "T0+T1", "-o", tmp_path / "out.csv")
    assert (done.code, (tmp_path / "out.csv").exists()) == (2, False)
    assert "the model's output is NaN or infinite; weight 'transformer" in done.err
