"""Models on the Hugging Face Hub: what is uploaded, and that it comes back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hub_server import Hub, HubServer
from local_server import served

import anyjepa
from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.ecg.source import training_data
from anyjepa.errors import InputError
from anyjepa.runs.folder import open_run
from anyjepa.weights.importers import import_weights
from anyjepa.weights.model import fingerprint


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine, which the library takes for the real one, and a token for it."""
    from huggingface_hub import constants

    hub = Hub()
    with served(HubServer, hub=hub) as address:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, address)
        for name, value in (
            ("ENDPOINT", address),
            ("HUGGINGFACE_CO_URL_TEMPLATE", template),
            ("HF_HUB_CACHE", str(tmp_path / "cache")),
            ("HF_HUB_DISABLE_XET", True),
        ):
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("HF_TOKEN", hub.token)
        yield hub


@pytest.fixture(scope="module")
def evaluated(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("push") / "run"
    shutil.copytree(tiny_run, run, ignore=shutil.ignore_patterns("checkpoints", "results"))
    anyjepa.evaluate(run, seeds=1)
    return run


def test_a_dry_run_writes_what_would_be_uploaded(evaluated: Path, tmp_path: Path, cli) -> None:
    folder = tmp_path / "upload"
    done = cli("push", evaluated, "someone/ecg", "--license", "apache-2.0", "--dry-run", folder)
    assert done == (0, f"folder: {folder}\n", "")
    card = (folder / "README.md").read_text()
    for text in (
        "license: apache-2.0",
        "| licence | apache-2.0 |",
        'anyjepa.load("someone/ecg")',
        "## Intended use",
        "## Limits",
        "### ",
        "Pretraining saw test records: **no**.",
        "| raw statistics",
        "Intervals: 95 %",
        "| recipe | tiny",
    ):
        assert text in card
    assert {path.name for path in folder.iterdir()} == {path.name for path in (evaluated / "model").iterdir()}
    assert anyjepa.load(folder).dim == anyjepa.load(evaluated).dim
    assert cli("push", evaluated, "someone/ecg", "--dry-run", folder).code == 0  # replaces the last one
    (folder / "notes.txt").touch()
    assert "contains 'notes.txt'" in cli("push", evaluated, "someone/ecg", "--dry-run", folder).err
    for own in (evaluated / "model", evaluated / "model" / "upload"):
        done = cli("push", evaluated, "someone/ecg", "--dry-run", own)
        assert (done.code, done.err) == (
            2, f"anyjepa: {own}: is in the folder of the model itself; choose another folder\n"
        )  # fmt: skip


def test_no_name_of_a_record_leaves_the_machine(evaluated: Path, tmp_path: Path) -> None:
    """Neither in plain nor as a hash, not even from a folder of an older version, and not from results."""
    run = Path(shutil.copytree(evaluated, tmp_path / "run"))
    shutil.copy(run / "training_records.json", run / "model" / "training_records.json")
    path = next((run / "results").glob("*.json"))
    config = open_run(run).recipe.data
    assert isinstance(config, EcgDataConfig)
    ids = training_data(config, ()).ids
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unlabelled": 1, "examples": {"unlabelled": ids[:1]}}))
    anyjepa.push(run, "someone/ecg", dry_run=tmp_path / "upload")
    content = b"".join(file.read_bytes() for file in sorted((tmp_path / "upload").iterdir()))
    assert fingerprint(ids[0]).encode() in (run / "training_records.json").read_bytes()
    assert not [
        name for name in ids if fingerprint(name).encode() in content or (len(name) > 4 and name.encode() in content)
    ]


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's use of httpx
def test_a_model_goes_to_the_hub_and_comes_back(evaluated: Path, hub: Hub, cli) -> None:
    done = cli("push", evaluated, "someone/ecg")
    assert done.code == 0, done.err
    assert done.out.strip().endswith("/someone/ecg")
    files = hub.repositories["someone/ecg"]
    assert hub.private["someone/ecg"]
    assert files["model.safetensors"] == (evaluated / "model" / "model.safetensors").read_bytes()
    signal = next(iter(simulate(SimulatorConfig(patients=1, fs=200, duration_s=5)))).signal
    here, there = (anyjepa.load(name).embed(signal, fs=200) for name in (evaluated, "hf:someone/ecg"))
    assert np.array_equal(here, there)
    assert anyjepa.load("someone/ecg", "student").loaded.weights == "student"

    (Path(evaluated) / "model" / "student.safetensors").rename(evaluated / "student")  # a second version without one
    try:
        assert cli("push", evaluated, "hf:someone/ecg", "--public").code == 0
    finally:
        (evaluated / "student").rename(evaluated / "model" / "student.safetensors")
    assert "student.safetensors" not in files
    assert ".gitattributes" in files


def test_published_weights_are_imported_from_the_hub(golden: Path, hub: Hub, tmp_path: Path) -> None:
    folder = golden / "nepa_image"
    names = ("config.json", "model.safetensors")
    hub.repositories["someone/nepa"] = {name: (folder / name).read_bytes() for name in names} | {"other.bin": b"0"}
    hub.private["someone/nepa"] = False
    made = import_weights("someone/nepa", tmp_path / "model")
    assert anyjepa.load(made).dim == anyjepa.load(import_weights(folder, tmp_path / "here")).dim
    assert not [request for request in hub.requests if "other.bin" in request]
    del hub.repositories["someone/nepa"]["model.safetensors"]
    with pytest.raises(InputError, match=r"someone/nepa: contains none of model\.safetensors"):
        import_weights("hf:someone/nepa", tmp_path / "model")


def test_errors_are_one_line(evaluated: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cli) -> None:
    def error(*arguments: object) -> str:
        done = cli(*arguments)
        assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
        return done.err

    assert "must be a repository on the Hugging Face Hub, such as owner/name" in error("push", evaluated, "ecg")
    assert "--license a b: must be an identifier" in error("push", evaluated, "a/b", "--license", "a b")
    assert "there is no such repository on the Hugging Face Hub" in error("weights", "inspect", "hf:someone/missing")
    assert "there is no such run or model" in error("push", tmp_path / "missing", "someone/ecg")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert "refuses your token" in error("push", evaluated, "someone/ecg")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    assert "needs a token of the Hugging Face Hub; run 'hf auth login'" in error("push", evaluated, "someone/ecg")


def test_without_a_network(evaluated: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    closed = "http://127.0.0.1:9"  # nothing listens there
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, closed)
    monkeypatch.setattr(constants, "ENDPOINT", closed)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    for attempt in (lambda: anyjepa.load("hf:someone/ecg"), lambda: anyjepa.push(evaluated, "someone/ecg")):
        with pytest.raises(InputError, match="the Hugging Face Hub cannot be reached") as error:
            attempt()
        assert "\n" not in str(error.value)
