"""Import and export of official NEPA folders; that the numbers are theirs is in tests/golden_parity."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.errors import InputError
from anyjepa.nn.positions import RotaryConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction
from anyjepa.weights.folder import load_model, save_pretrained
from anyjepa.weights.importers import import_weights
from anyjepa.weights.inspection import inspect_weights
from anyjepa.weights.model import Provenance
from anyjepa.weights.nepa_export import export_nepa


@pytest.fixture
def official(golden: Path, tmp_path: Path) -> Path:
    """A copy of the images' folder without the average, to be broken."""
    folder = tmp_path / "official"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(golden / "nepa_image" / name, folder / name)
    return folder


def change(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_images(golden: Path, tmp_path: Path):
    model = load_model(import_weights(golden / "nepa_image", tmp_path / "model"))
    encoder = model.config.objective.encoder
    assert (model.config.size, encoder.patch, encoder.dim, encoder.causal) == ((28, 28), (7, 7), 48, True)
    assert (encoder.positions.span, encoder.positions.rescale) == ("input", 2.0)
    preprocessing = ImagePreprocessing.model_validate(model.preprocessing)
    assert (preprocessing.size, preprocessing.mean, preprocessing.std) == ((28, 28), (0.5,) * 3, (0.5,) * 3)


def test_ecg(golden: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"without preprocessing constants; .*--statistics"):
        import_weights(golden / "nepa_ecg", tmp_path / "model")
    model = load_model(import_weights(golden / "nepa_ecg", tmp_path / "model", "ptb-xl"))
    preprocessing = EcgPreprocessing.model_validate(model.preprocessing)
    assert (preprocessing.fs, preprocessing.samples, preprocessing.clip) == (500, 500, 5)
    assert not preprocessing.absolute_time


def test_without_an_average_the_weights_are_the_student(official: Path, tmp_path: Path):
    assert load_model(import_weights(official, tmp_path / "model")).weights == "student"


def test_classes_have_the_names_of_the_folder(golden: Path, tmp_path: Path):
    classifier = load_model(import_weights(golden / "nepa_image" / "cls", tmp_path / "model")).config.classifier
    assert classifier is not None
    assert classifier.classes == tuple(f"LABEL_{number}" for number in range(5))
    assert (classifier.causal, classifier.exclusive, classifier.head.norm) == (False, True, 1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "bert"}, r"none of the known layouts\..* model_type: bert"),
        ({"qk_norm_affine": True}, "q_norm.weight' is missing"),
        ({"use_gated_mlp": True}, "mlp.fc1.weight' has shape"),
        ({"is_causal": False}, "is_causal is false"),
        ({"num_channels": 4}, r"num_channels is 4; images have 3 channels \(RGB\) or 1 \(grey\)"),
        ({"num_hidden_layers": 3}, "has 2 blocks, its config says 3"),
        ({"num_attention_heads": 5}, "dims per head"),
        ({"layerscale_value": None}, "scale1' does not belong"),
    ],
)
def test_a_config_that_does_not_fit_is_one_line(official: Path, tmp_path: Path, values: dict, message: str):
    change(official, **values)
    with pytest.raises(InputError, match=message) as error:
        import_weights(official, tmp_path / "model")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("vit_nepa.embeddings.patch_embeddings.projection.weight", None, "the convolution of patches, is missing"),
        ("vit_nepa.encoder.layer.0.attention.attention.key.weight", None, "attn.qkv.weight' has shape"),
        ("vit_nepa.encoder.layer.0.attention.attention.key.weight", torch.zeros(3, 2), "cannot be concatenated"),
        ("vit_nepa.layernorm.weight", None, "encoder.norm.weight' is missing"),
        ("vit_nepa.embeddings.patch_embeddings.projection.weight", torch.zeros(3), "the convolution of patches"),
        ("decoder.weight", torch.zeros(2), "decoder.weight' does not belong"),
    ],
)
def test_tensors_that_do_not_fit_are_one_line(official: Path, tmp_path: Path, name: str, value, message: str):
    tensors = load_file(official / "model.safetensors")
    tensors.pop(name, None)
    save_file(tensors if value is None else tensors | {name: value}, official / "model.safetensors")
    with pytest.raises(InputError, match=message) as error:
        import_weights(official, tmp_path / "model")
    assert "\n" not in str(error.value)


def test_an_unused_mask_token_is_passed_over(official: Path, tmp_path: Path):
    tensors = load_file(official / "model.safetensors") | {"vit_nepa.embeddings.mask_token": torch.zeros(1, 1, 48)}
    save_file(tensors, official / "model.safetensors")
    assert load_model(import_weights(official, tmp_path / "model")).encoder.dim == 48


def test_the_file_of_a_folder_is_imported_as_the_folder(golden: Path, tmp_path: Path):
    made = import_weights(golden / "nepa_image" / "model.safetensors", tmp_path / "model")
    assert load_model(made).config.objective.kind == "next_embedding"


def saved(folder: Path, **encoder: object) -> Path:
    block = BlockConfig(bias=True, qkv_bias=True, qk_norm="affine", layer_scale=0.1, mlp="swiglu")
    plain = {"patch": (5,), "dim": 16, "depth": 2, "heads": 2, "positions": RotaryConfig(), "block": block}
    config = ViTConfig(**(plain | {"cls": True, "causal": True} | encoder))
    model = NextEmbeddingPrediction(NextEmbeddingConfig(encoder=config), 12, (40,))
    constants = EcgPreprocessing(samples=40, mean=(0.0,) * 12, std=(1.0,) * 12).model_dump(mode="json")
    return save_pretrained(folder, model, constants, Provenance(data="nothing"))


def test_a_gated_model_with_affine_norms_goes_there_and_back(tmp_path: Path):
    folder = saved(tmp_path / "ours")
    back = import_weights(export_nepa(folder, tmp_path / "theirs"), tmp_path / "back", "ptb-xl")
    ours, theirs = load_model(folder).encoder.state_dict(), load_model(back).encoder.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    names = load_file(tmp_path / "theirs" / "model.safetensors")
    assert "vit_nepa.encoder.layer.1.intermediate.gate_proj.weight" in names
    assert "vit_nepa.encoder.layer.1.attention.attention.q_norm.weight" in names


def test_what_the_layout_cannot_hold_is_refused(tmp_path: Path):
    folder = saved(tmp_path / "ours", registers=2)
    with pytest.raises(InputError, match=r"encoder.registers is 2, which the NEPA layout does not support"):
        export_nepa(folder, tmp_path / "theirs")
    with pytest.raises(InputError, match="contains other files"):
        export_nepa(saved(tmp_path / "plain"), tmp_path)


def test_inspection_names_the_importer(golden: Path):
    found = inspect_weights(golden / "nepa_image")
    assert (found["kind"], found["importer"], found["fits"]) == ("published weights: NEPA", "NEPA", True)
