"""Two modalities through the whole of it, by the command line: pretraining, evaluation, report, embedding, going on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from h5ad_writing import write
from safetensors.torch import load_file
from scipy import sparse

import anyjepa
from anyjepa.data.cells.protein_simulator import ProteinSimulatorConfig, simulate_proteins
from anyjepa.errors import InputError
from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.report.contents import read_contents
from anyjepa.report.page import page
from anyjepa.runs.cells.evaluate_proteins import evaluate_proteins, predict_latents
from anyjepa.runs.folder import Run, open_run
from anyjepa.weights.folder import load_model

CELLS = {"genes": 60, "regulators": 12, "proteins": 8, "types": 3, "cells": 300}
SMALL = [
    *(f"data.simulator.{key}={value}" for key, value in CELLS.items()),
    "data.genes=50",
    "data.proteins=8",
    *(f"objective.{one}.{key}" for one in ("encoder", "target.encoder") for key in ("tokens=4", "dim=8", "heads=2")),
    "objective.encoder.depth=1",
    "objective.predictor.depth=1",
    "objective.predictor.heads=2",
    "training.steps=6",
    "training.batch_size=16",
    "training.optimiser.warmup=2",
    "training.checkpoint_every=3",
    "training.log_every=1",
    "training.monitor_every=2",
]  # fmt: skip


def words(edits: list[str]) -> list[str]:
    return [word for edit in edits for word in ("--set", edit)]


@pytest.fixture(scope="module")
def run(cli, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("two") / "run"
    done = cli("pretrain", "two-modality-demo", "-o", folder, *words(SMALL))
    assert done.code == 0, done.err
    assert f"next: anyjepa evaluate {folder} --protocol proteins" in done.err
    return open_run(folder)


@pytest.fixture(scope="module")
def evaluated(cli, run) -> ProteinResult:
    done = cli("evaluate", run.folder, "--protocol", "proteins")
    assert done.code == 0, done.err
    assert "own rank" in done.out
    assert done.out.splitlines()[-1].startswith("report: ")
    return ProteinResult.from_json(run.proteins / "held-out-embedded-student.json")


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Other cells of the same genes and proteins, as .h5ad."""
    screen = simulate_proteins(ProteinSimulatorConfig(**{**CELLS, "cells": 120}, seed=0))
    obs = pd.DataFrame(index=[f"new{name}" for name in screen.ids])
    adata = anndata.AnnData(sparse.csr_matrix(screen.values), obs, pd.DataFrame(index=list(screen.genes)))
    adata.obsm["adt"] = pd.DataFrame(screen.proteins.counts, adata.obs_names, list(screen.proteins.names))
    path = tmp_path_factory.mktemp("cite") / "cite.h5ad"
    write(adata, path)
    return path


def test_every_row_is_there_and_only_held_out_cells_are_tested(evaluated):
    assert [row.name for row in evaluated.rows] == [
        "predicted latents of the proteins",
        "tokens of expression (student)",
        "PCA of expression (50)",
        "tokens of random weights",
        "expression itself",
        "mean of the cell's type",
        "its predicted latents, without a ridge",
    ]
    assert evaluated.cells == (240, 60)
    assert evaluated.notices == ()
    assert all(low < high for low, high in (row.metrics["rank"].bootstrap for row in evaluated.rows))


def test_the_model_folder_holds_both_encoders_and_the_predictor(run):
    loaded = load_model(run.model)
    assert loaded.config.other == (8,)
    assert loaded.second.size == (8,)
    assert {name.partition(".")[0] for name in load_file(run.model / "model.safetensors")} == {
        "encoder",
        "predictor",
        "second",
    }
    model = anyjepa.load(run.folder)
    cells = np.random.default_rng(0).random((3, 50), np.float32)
    expected = loaded.predictor(loaded.encoder(torch.from_numpy(cells)[:, None]).padded()).flatten(1)
    torch.testing.assert_close(torch.from_numpy(predict_latents(model, cells)), expected.detach())


def test_the_report_shows_it(run, evaluated):
    shown = page(read_contents(run.folder))
    assert "How well are proteins predicted?" in shown
    assert evaluated.rows[0].name in shown
    assert evaluated.proteins[0] in shown
    assert "not evaluated yet" not in shown


def test_damaged_results_are_a_note(run, evaluated, tmp_path):
    folder = shutil.copytree(run.folder, tmp_path / "run")
    kept = next((folder / "proteins").glob("*.json"))
    kept.write_text(kept.read_text()[:100])
    assert "cannot be read" in page(read_contents(folder))


def test_going_on_gives_the_same_weights(cli, run, tmp_path):
    folder = tmp_path / "run"
    done = cli("pretrain", "two-modality-demo", "-o", folder, *words(SMALL))
    assert done.code == 0, done.err
    shutil.rmtree(folder / "model")
    for path in (folder / "checkpoints").glob("*"):
        if "6" in path.name:
            path.unlink()
    done = cli("pretrain", "two-modality-demo", "-o", folder, "--resume", *words(SMALL))
    assert done.code == 0, done.err
    first, second = (load_file(where / "model" / "model.safetensors") for where in (run.folder, folder))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_cells_of_a_file(cli, run, file, tmp_path):
    read = words(["quality.min_genes=0", "condition=none"])
    done = cli("evaluate", run.model, "--data", file, "--protocol", "proteins", *read, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["cells"] == [96, 24]
    assert found["notices"][0].startswith("OTHER DATA")
    done = cli("embed", run.folder, file, "-o", tmp_path / "cells.csv")
    assert done.code == 0, done.err
    assert pd.read_csv(tmp_path / "cells.csv").shape == (120, 2 + 8)


def test_a_file_is_trained_on(cli, file, tmp_path):
    read = ["data.file.quality.min_genes=0", "data.file.quality.min_cells=0", "data.file.condition=none"]
    done = cli("pretrain", "two-modality-demo", "--data", file, "-o", tmp_path / "run", *words([*SMALL, *read]))
    assert done.code == 0, done.err
    result = evaluate_proteins(tmp_path / "run", resamples=10)
    assert result.cells == (96, 24)
    assert str(file) in result.data


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("data.proteins=7", "has 8 proteins, not data.proteins=7; set it to 8"),
        ("data.proteins=0", "objective.target.encoder and data of a second modality (data.proteins) go together"),
        ("objective.target.encoder=null", "objective.target.encoder and data of a second modality"),
        ("objective.target.encoder.tokens=8", "the encoder gives 4 tokens, target.encoder 8"),
        (
            "objective.target.encoder={kind: genes, tokens: 7, dim: 8, depth: 1, heads: 2}",
            "8 inputs in groups of 2 fill 4 tokens, not 7; use 4",
        ),
    ],
)
def test_what_does_not_fit_is_one_line(cli, tmp_path, edit, message):
    done = cli("pretrain", "two-modality-demo", "-o", tmp_path / "run", *words([*SMALL, edit]))
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_what_is_not_asked_so(cli, run, file):
    done = cli("evaluate", run.folder, "--protocol", "proteins", "--seeds", 2)
    assert done.code == 2
    assert "--seeds does not apply to --protocol proteins" in done.err
    done = cli("evaluate", run.folder, "--protocol", "proteins", "--task", "cell_type")
    assert "--task does not apply to --protocol proteins" in done.err
    with pytest.raises(InputError, match="only a run folder records its training data"):
        evaluate_proteins(run.model)


def test_a_model_without_a_second_encoder_is_refused(run, tmp_path):
    folder = shutil.copytree(run.model, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"other": None}))
    with pytest.raises(InputError, match="was saved with another config: other is None, was"):
        load_model(folder)
    for proteins in ([], [*"abcdefghi"]):
        changed = json.loads((run.model / "preprocessing.json").read_text()) | {"proteins": proteins}
        odd = Path(shutil.copytree(run.model, tmp_path / f"model{len(proteins)}"))
        (odd / "preprocessing.json").write_text(json.dumps(changed))
        with pytest.raises(
            InputError, match=f"encoder takes inputs of size 8, its preprocessing makes {len(proteins) or 'none'}"
        ):
            anyjepa.load(odd)
    config["objective"]["target"] = {"kind": "separate"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"other is set, but the objective has no target\.encoder"):
        load_model(folder)


@pytest.mark.long
def test_predicted_latents_find_a_cells_own_proteins(cli, tmp_path):
    """Without a ridge and far above what the cell's type knows (.80, .05); see docs/cells-forms.md."""
    done = cli("demo", "two-modality-demo", "--output", tmp_path / "run")
    assert done.code == 0, done.err
    (path,) = open_run(tmp_path / "run").proteins.iterdir()
    rows = {row.name: row.metrics for row in ProteinResult.from_json(path).rows}
    without, by_type = rows["its predicted latents, without a ridge"], rows["mean of the cell's type"]
    assert without["rank"].bootstrap[0] > by_type["rank"].bootstrap[1]
    assert without["first"].bootstrap[0] > 2 * by_type["first"].bootstrap[1]
    assert rows["predicted latents of the proteins"]["r2"].mean > 0.35
