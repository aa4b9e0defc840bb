"""The demos: each through the command line in seconds, and as it is under the marker `long`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.evaluation.result import Result
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs import demo
from anyjepa.runs.folder import Run, open_run

TASKS = {"ecg": ["diagnosis"], "images": ["class"], "series": ["class"], "video": ["motion", "digit"], "cells": []}
FEW = {
    "ecg": ["data.simulator.patients=66", "evaluation.min_count=1"],
    "images": ["data.simulator.train=120", "data.simulator.test=32"],
    "series": ["data.simulator.series=180"],
    "video": ["data.moving_digits.clips=300"],
    "cells": [
        *(f"data.simulator.{key}" for key in ("genes=60", "regulators=12", "singles=12", "doubles=10", "cells=20")),
        "data.genes=60",
        "data.hidden.steps=2",
        "objective.encoder.tokens=20",
        "data.split.validation=0.1",
        "perturbation.head.steps=20",
    ],
    "drug-response-demo": [
        *(f"data.simulator.{key}" for key in ("genes=60", "regulators=12", "compounds=10", "cells=6", "controls=60")),
        "data.genes=60",
        "data.hidden.steps=2",
    ],
    "trajectory-demo": [
        *(f"data.simulator.{key}" for key in ("genes=60", "regulators=12", "moved=8", "cells=12")),
        "data.genes=60",
        "data.hidden.steps=2",
    ],
    "two-modality-demo": [
        *(f"data.simulator.{key}" for key in ("genes=60", "regulators=12", "cells=60")),
        "data.genes=60",
    ],
}
SHORT = [
    "training.steps=2",
    "training.optimiser.warmup=1",
    "training.batch_size=4",
    "training.precision='32'",
    "evaluation.seeds=1",
    "evaluation.bootstrap=20",
    "evaluation.raw_dimensions=50",
    "evaluation.linear.strengths=[1.0]",
    "evaluation.supervised.fit.steps=2",
    "evaluation.supervised.fit.warmup=1",
    "evaluation.supervised.fit.validate_every=2",
]


def test_a_demo_is_a_recipe_named_so():
    assert demo.demo_names() == [
        "drug-response-demo",
        "ecg-jepa-demo",
        "ecg-nepa-demo",
        "ijepa-demo",
        "perturb-demo",
        "series-jepa-demo",
        "trajectory-demo",
        "two-modality-demo",
        "vjepa-demo",
    ]


@pytest.fixture(scope="module", params=demo.demo_names())
def short(request, cli, tmp_path_factory) -> Run:
    """Two steps on few records."""

    kind = load_recipe(request.param)[0].data.kind
    edits = [*FEW.get(request.param, FEW[kind]), *SHORT]
    folder = tmp_path_factory.mktemp("demo") / "run"
    options = [word for edit in edits for word in ("--set", edit)]
    done = cli("demo", request.param, "--output", folder, "--seed", 3, *options)
    assert done.code == 0, done.err
    assert done.out.endswith(f"model: {folder / 'model'}\nreport: {folder / 'report.html'}\n")
    return open_run(folder)


def results(run: Run) -> list[Result]:
    return [Result.from_json(path) for path in run.results.glob("*.json")]


def test_the_seed_is_that_of_data_and_training(short):
    assert short.recipe.training.seed == 3
    assert getattr(short.recipe.data, short.recipe.data.embedded).seed == 3


def test_every_task_is_evaluated_beside_controls(short):
    asked = sorted((result.task, result.settings["low_shot"] or 0) for result in results(short))
    if short.recipe.name == "two-modality-demo":
        (told,) = (ProteinResult.from_json(path) for path in short.proteins.iterdir())
        assert {"expression itself", "tokens of random weights"} <= {row.name for row in told.rows}
    elif short.recipe.data.kind == "cells":
        (evaluated,) = (PerturbationResult.from_json(path) for path in short.perturbations.iterdir())
        knocked = {"additive", "head on random weights"} if short.recipe.name == "perturb-demo" else set()
        rows = {row.name for row in evaluated.rows}
        assert {"no change"} | knocked <= rows
        assert "the model's own predictor" not in rows  # so short a training never reaches it
    assert asked == sorted((task, few) for task in TASKS[short.recipe.data.kind] for few in (0, 5))
    for result in results(short):
        names = [row.name for row in result.rows]
        assert not result.notices  # nothing that is tested was trained on
        assert any("random" in name for name in names)
        assert any("raw input" in name for name in names)
        assert any("scratch" in name for name in names) == (result.settings["low_shot"] == 5)


def test_the_report_has_its_pictures(short):
    page = (short.folder / "report.html").read_text()
    kind, masked = short.recipe.data.kind, short.recipe.objective.kind == "masked"
    assert ("Where does the model look?" in page) == (kind == "images")
    assert ("Nearest neighbours." in page) == (kind not in ("ecg", "cells"))
    assert ("No tokens were hidden" in page) != masked
    assert "is missing." not in re.sub(r"<script>.*?</script>|data:image[^\"]*", "", page, flags=re.DOTALL)


def test_without_output_the_run_is_named_as_the_demo(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/series-jepa-demo").mkdir(parents=True)
    (tmp_path / "runs/series-jepa-demo/mine").touch()
    folder = Path("runs/series-jepa-demo")
    message = f"anyjepa: {folder}: is not empty; pass another --output, or resume that run with pretrain --resume\n"
    assert cli("demo", "series-jepa-demo") == (2, "", message)


def test_another_name_is_one_line(cli):
    assert cli("demo", "ijepa-dem") == (2, "", "anyjepa: there is no demo 'ijepa-dem'; did you mean 'ijepa-demo'?\n")
    done = cli("demo", "ecg-jepa-xs")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("anyjepa: there is no demo 'ecg-jepa-xs'; did you mean 'ecg-jepa-demo'?")
    assert cli("demo", "q").err.endswith("there are: " + ", ".join(demo.demo_names()) + "\n")


@pytest.mark.long
def test_pretraining_on_series_beats_random_weights(cli, tmp_path):
    done = cli("demo", "series-jepa-demo", "--output", tmp_path / "run")
    assert done.code == 0, done.err
    (result,) = (result for result in results(open_run(tmp_path / "run")) if result.settings["low_shot"] == 5)
    (random,) = (row for row in result.rows if "random" in row.name)
    gain = result.difference(random)
    assert gain.low is not None
    assert gain.low > 0
