"""Doses, unseen compounds and later times through the whole of it, by the command line."""

from __future__ import annotations

import pytest

from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.runs.folder import open_run

SHORT = [
    "data.genes=50",
    "data.hidden.steps=3",
    "objective.encoder.tokens=5",
    "objective.encoder.dim=8",
    "objective.encoder.depth=1",
    "objective.encoder.heads=2",
    "objective.predictor.depth=1",
    "objective.predictor.heads=2",
    "training.steps=6",
    "training.batch_size=16",
    "training.optimiser.warmup=2",
    "perturbation.bootstrap=20",
]
FEW = {
    "drug-response-demo": {"regulators": 12, "compounds": 10, "families": 5, "cells": 6, "controls": 60},
    "trajectory-demo": {"regulators": 12, "moved": 8, "cells": 12},
}
OWN = ["the model's own predictor", "its predictor, conditions exchanged"]


def evaluated(cli, folder, recipe: str, *edits: str) -> PerturbationResult:
    few = [f"data.simulator.{key}={value}" for key, value in {"genes": 60, **FEW[recipe]}.items()]
    words = [word for edit in (*SHORT, *few, *edits) for word in ("--set", edit)]
    done = cli("pretrain", recipe, "-o", folder, *words)
    assert done.code == 0, done.err
    done = cli("evaluate", folder, "--protocol", "perturbation")
    assert done.code == 0, done.err
    assert "half-split ceiling" in done.out
    return PerturbationResult.from_json(open_run(folder).perturbations / "held-out-embedded.json")


def test_unseen_compounds_are_answered_at_every_dose(cli, tmp_path):
    found = evaluated(cli, tmp_path / "run", "drug-response-demo")
    assert [row.name for row in found.rows] == [
        *OWN,
        "no change",
        "perturbed mean",
        "ridge on features x log dose",
        "nearest compound",
        "half-split ceiling",
    ]
    assert not any(row.unanswered for row in found.rows)
    assert len(found.conditions) == 2 * 4
    assert {condition.name.partition("@")[2] for condition in found.conditions} == {"0.1", "1", "10", "100"}
    assert found.rows[0].scores != found.rows[1].scores  # the condition has a say


def test_an_unseen_dose_of_known_compounds(cli, tmp_path):
    found = evaluated(cli, tmp_path / "run", "drug-response-demo", "data.split={kind: amount, of: dose, above: 10}")
    assert len(found.conditions) == 10
    assert all(condition.name.endswith("@100") for condition in found.conditions)


def test_later_times_are_predicted_from_earlier_cells(cli, tmp_path):
    found = evaluated(cli, tmp_path / "run", "trajectory-demo")
    assert [row.name for row in found.rows] == [
        *OWN,
        "no change",
        "linear extrapolation",
        "mean change a unit of time",
        "half-split ceiling",
    ]
    assert not any(row.unanswered for row in found.rows)
    assert found.baseline == "no change"
    starts = [(name, start) for name in "AB" for start in (2, 3, 4)]
    assert [one.name for one in found.conditions] == [f"{n} {s} to {t}" for n, s in starts for t in (5, 6, 7)]


@pytest.mark.parametrize(
    ("recipe", "edit", "message"),
    [
        ("drug-response-demo", "data.matching.before=earlier", "needs conditions that are one perturbation"),
        ("trajectory-demo", "data.encoding.by=table", "has no features of perturbations"),
        ("trajectory-demo", "data.split.above=7", "the test part is empty"),
    ],
)
def test_what_does_not_fit_is_one_line(cli, tmp_path, recipe, edit, message):
    words = [word for one in (*SHORT, edit) for word in ("--set", one)]
    done = cli("pretrain", recipe, "-o", tmp_path / "run", *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
