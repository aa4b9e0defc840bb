"""The clients and commands of docs/production.md work against a real service."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import typer
from pydicom.data import get_testdata_file
from served_bodies import npz
from served_process import server

import anyjepa
from anyjepa.cli import app
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.serving.settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "production.md").read_text()


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:coverage 0.9. too few")
def test_the_clients_of_the_page_get_answers(classifier, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(classifier, "models/af")
    signal = next(iter(simulate(SimulatorConfig(patients=1, fs=500, duration_s=10)))).signal
    Path("record.npz").write_bytes(npz(signals=signal, fs=500, leads=LEADS, unit="mV"))
    Path("record.json").write_text(json.dumps({"signals": signal.tolist(), "fs": 500}))
    shutil.copy(str(get_testdata_file("waveform_ecg.dcm", download=False)), "record.dcm")
    model = anyjepa.load("models/af")
    predictions = model.predict_classes(signal, fs=500)
    curls = [line for line in PAGE.splitlines() if line.startswith("curl ")]
    assert len(curls) == 4
    with server("models/af") as (_, address):
        text = PAGE.replace("http://127.0.0.1:8000", address)
        answers = []
        for line in [line for line in text.splitlines() if line.startswith("curl ")]:
            done = subprocess.run([*shlex.split(line), "--silent", "--show-error"], capture_output=True, timeout=60)
            assert done.returncode == 0, done.stderr
            answers.append(json.loads(done.stdout))
        about, predicted, embedded, from_dicom = answers
        (client,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
        exec(compile(client, "production.md", "exec"), {})
    assert about["classes"] == ["even", "third"]
    np.testing.assert_allclose(predicted["probabilities"], predictions.probabilities, atol=1e-6)
    assert predicted["sets"] == predictions.sets(0.9).tolist()
    np.testing.assert_allclose(embedded["embedding"], model.embed(signal, fs=500), atol=1e-6)
    assert np.shape(from_dicom["embedding"]) == (1, model.dim)
    named = zip(("even", "third"), predictions.probabilities[0], strict=True)
    assert capsys.readouterr().out.splitlines() == [f"{name}: {probability:.3f}" for name, probability in named]


def test_limits_on_the_page_are_those_of_the_command_and_of_the_service():
    options = {p.opts[0]: p.default for p in typer.main.get_command(app).commands["serve"].params}  # type: ignore[attr-defined]
    stated = {option: float(value) for option, value in re.findall(r"`(--[a-z-]+)`[^`]*?\((\d+)\)", PAGE)}
    limits = ("--max-mb", "--max-windows", "--queue", "--batch")
    assert stated == {option: options[option] for option in limits}
    assert Settings() == Settings(
        batch=options["--batch"],
        queue=options["--queue"],
        max_bytes=options["--max-mb"] * 10**6,
        max_windows=options["--max-windows"],
        threads=options["--threads"],
    )
