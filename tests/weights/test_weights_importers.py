"""Which layout published weights are in; that the numbers are right is tested layout by layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import anyjepa
from anyjepa.errors import InputError
from anyjepa.weights.importers import IMPORTERS, import_weights, recognised
from anyjepa.weights.source import find_source


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ecg_jepa/chkpt_2.pt", "ECG-JEPA"),
        ("ecg_jepa/eval_fc_best_chkpt.pt", "ECG-JEPA"),
        ("ijepa/jepa-latest.pth.tar", "I-JEPA"),
        ("vjepa/jepa-latest.pth.tar", "V-JEPA"),
        ("nepa_ecg", "NEPA"),
        ("nepa_image/cls/model.safetensors", "NEPA"),
    ],
)
def test_exactly_one_layout_fits(golden: Path, path: str, name: str):
    source = find_source(golden / path)
    assert [importer.name for importer in IMPORTERS if importer.fits(source)] == [name]
    assert recognised(source).name == name


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_unknown_weights_list_what_was_looked_for(tmp_path: Path, suffix: str):
    path, tensors = tmp_path / f"other{suffix}", {"layer.weight": torch.ones(2)}
    torch.save(tensors, path) if suffix == ".pt" else save_file(tensors, path)
    with pytest.raises(InputError, match=r"is in none of the known layouts\. Looked for: .*layer\.weight") as error:
        import_weights(path, tmp_path / "model")
    assert all(importer.name in str(error.value) for importer in IMPORTERS)
    assert "\n" not in str(error.value)


def test_a_model_of_anyjepa_needs_no_import(tiny_run: Path, tmp_path: Path):
    with pytest.raises(InputError, match="is already a model folder of anyjepa; use it as it is"):
        import_weights(tiny_run / "model", tmp_path / "model")


def test_a_folder_of_another_model_says_what_it_is(tmp_path: Path):
    save_file({"layer.weight": torch.ones(2)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(InputError, match=r"none of the known layouts\..* Its model_type: bert"):
        import_weights(tmp_path, tmp_path / "model")
    with pytest.raises(InputError, match=r"weights of another program; convert them: anyjepa weights import"):
        anyjepa.load(tmp_path)


def test_what_is_no_source(tmp_path: Path):
    for content, message in (("[1]", "must contain a JSON object, got list"), ("{", "is not JSON|not valid JSON")):
        (tmp_path / "config.json").write_text(content)
        save_file({"layer.weight": torch.ones(2)}, tmp_path / "model.safetensors")
        with pytest.raises(InputError, match=message):
            import_weights(tmp_path, tmp_path / "model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"contains none of model\.safetensors, model"):
        import_weights(tmp_path / "empty", tmp_path / "model")
    with pytest.raises(InputError, match="there is no such file or folder"):
        import_weights(tmp_path / "missing.pt", tmp_path / "model")


def test_options_of_other_layouts_are_refused(golden: Path, tmp_path: Path):
    with pytest.raises(InputError, match="is in the layout of ECG-JEPA, which does not need --heads; omit it"):
        import_weights(golden / "ecg_jepa" / "chkpt_2.pt", tmp_path / "model", heads=4)
