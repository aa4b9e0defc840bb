"""`anyjepa evaluate --protocol dense`, from a run to its table and report."""

from __future__ import annotations

import re

import numpy as np
import pytest

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.places import PlaceLabels
from anyjepa.errors import InputError
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import open_run
from anyjepa.runs.model import load


def test_a_run_is_evaluated_on_the_waves_of_its_simulated_ecgs(cli, tiny_run):
    settings = ["--set", "evaluation.bootstrap=10", "--set", "evaluation.linear.strengths=[0.1]"]
    done = cli("evaluate", tiny_run, "--protocol", "dense", "--seeds", 1, "--folds", 2, "--low-shot", 4, *settings)
    assert done.code == 0, done.err
    assert "linear probe on single tokens" in done.out
    assert re.search(r"QRS +[+-]\d+ ± \d+ +[01]\.\d{3}", done.out)
    assert (open_run(tiny_run).folder / "report.html").read_text().count("Onsets and offsets within 150 ms") == 1


def test_records_in_memory_bring_labels_per_place(tiny_run):
    model = load(tiny_run)
    fs = model.preprocessing.fs
    raw = np.stack([r.signal for r in simulate(SimulatorConfig(patients=8, fs=fs, duration_s=5))])
    length = raw.shape[2]
    places = PlaceLabels(
        tuple(map(str, range(8))), ("off", "on"), list(np.random.default_rng(0).integers(0, 2, (8, length)))
    )
    settings = {"linear": {"strengths": (0.1,)}}
    options = {"fs": fs, "leads": LEADS, "labels": places, "folds": 2, "seeds": 1, "bootstrap": 0}
    result = evaluate(model, raw, protocol="dense", settings=settings, **options)
    assert result.classes.keys() == {"off", "on"}
    assert result.groups == 8
    assert not result.event_rows()
    with pytest.raises(InputError, match=r"^evaluate: labels per place need protocol dense$"):
        evaluate(model, raw, settings=settings, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"task": "wave"}, r"^evaluate: there is no task 'wave'; did you mean 'waves'\?$"),
        (
            {"settings": {"protocol": "linear"}},
            r"^evaluation\.protocol is linear, but the evaluation uses dense; pass --protocol linear ",
        ),
        (
            {"protocol": "linear", "settings": {"protocol": "dense"}},
            r"^evaluation\.protocol is dense, but the evaluation uses linear; pass --protocol dense ",
        ),
        ({"save_classifier": "classifier"}, r"^evaluate: a probe on single tokens cannot be saved as a classifier"),
    ],
)
def test_wrong_requests_are_one_line(tiny_run, change, message):
    with pytest.raises(InputError, match=message):
        evaluate(tiny_run, **({"protocol": "dense"} | change))
