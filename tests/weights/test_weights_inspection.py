from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from anyjepa.errors import InputError
from anyjepa.weights.inspection import LISTED, inspect_weights, render


def shown(report: dict) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(render(report))
    return console.export_text()


def test_model_folder(pristine: Path):
    report = inspect_weights(pristine)
    assert report["kind"] == "anyjepa model folder"
    assert report["fits"] is True
    assert report["step"] == 7
    assert report["parameters"]["encoder"] == 1664
    assert report["tensors"]["encoder.prefix"] == {"shape": [1, 8], "dtype": "float32"}
    json.dumps(report)
    text = shown(report)
    assert "encoder 1,664" in text
    assert "ten records" in text


def test_a_folder_that_does_not_fit_says_why(folder: Path):
    (folder / "preprocessing.json").unlink()
    report = inspect_weights(folder)
    assert report["fits"] is False
    assert "preprocessing.json: there is no such file" in str(report["problem"])
    assert "preprocessing.json" in shown(report)


def test_safetensors(pristine: Path):
    report = inspect_weights(pristine / "student.safetensors")
    assert report["kind"] == "tensors of an anyjepa model folder"
    assert report["fits"] is None
    assert report["parameters"] == {"encoder": 1664}


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("chkpt_2", {"encoder", "predictor", "target_encoder"}),
        ("eval_attn_best_chkpt", {"encoder", "attn_pool"}),
        ("eval_fc_best_chkpt", {"encoder", "fc"}),
    ],
)
def test_official_ecg_jepa(name: str, parts: set[str], golden: Path):
    report = inspect_weights(golden / "ecg_jepa" / f"{name}.pt")
    assert report["kind"] == "published weights: ECG-JEPA"
    assert report["importer"] == "ECG-JEPA"
    assert report["fits"] is True
    assert set(report["parameters"]) == parts
    assert report["step"] == (2 if name == "chkpt_2" else None)
    json.dumps(report)
    assert "ECG-JEPA" in shown(report)


def test_other_checkpoints(tmp_path: Path, golden: Path):
    torch.save({"state_dict": {"layer.weight": torch.ones(2, 3)}, "epoch": 4}, tmp_path / "other.pt")
    report = inspect_weights(tmp_path / "other.pt")
    assert report["kind"] == "weights of unknown origin"
    assert report["tensors"] == {"state_dict.layer.weight": {"shape": [2, 3], "dtype": "float32"}}
    assert report["importer"] is None
    shown(report)

    broken = torch.load(golden / "ecg_jepa" / "chkpt_2.pt", weights_only=True)
    del broken["model"]["target_encoder.registers"]
    torch.save(broken, tmp_path / "broken.pt")
    report = inspect_weights(tmp_path / "broken.pt")
    assert report["fits"] is False
    assert "'encoder.prefix' is missing" in str(report["problem"])


def test_nothing_to_inspect(tmp_path: Path):
    with pytest.raises(InputError, match="there is no such run or model"):
        inspect_weights(tmp_path / "missing.pt")
    (tmp_path / "a.pt").write_text("text")
    with pytest.raises(InputError, match="is not a PyTorch checkpoint"):
        inspect_weights(tmp_path / "a.pt")
    (tmp_path / "a.safetensors").write_text("text")
    with pytest.raises(InputError, match="not a safetensors file"):
        inspect_weights(tmp_path / "a.safetensors")


def empty_tensors(path: Path, count: int) -> Path:
    """A safetensors file that consists of its header."""
    header = json.dumps({f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(count)})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    return path


def test_a_long_list_of_tensors_is_cut(tmp_path: Path):
    report = inspect_weights(empty_tensors(tmp_path / "many.safetensors", LISTED + 3))
    assert len(report["tensors"]) == LISTED + 3  # type: ignore[arg-type]
    text = shown(report)
    assert text.count(" float32 ") == LISTED
    assert text.rstrip().endswith("and 3 more tensors; --json lists all")


def test_too_many_tensors_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANYJEPA_LIMIT_COLUMNS", "5")
    assert len(inspect_weights(empty_tensors(tmp_path / "a.safetensors", 5))["tensors"]) == 5  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"needs 6 columns, more than the limit of 5 columns"):
        inspect_weights(empty_tensors(tmp_path / "a.safetensors", 6))
