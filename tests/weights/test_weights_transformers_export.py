"""Models of anyjepa in `transformers`, which computes the same with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoImageProcessor, AutoModel

import anyjepa
from anyjepa.errors import InputError
from anyjepa.nn.packing import Layout, Packed
from anyjepa.nn.positions import AxialRotaryConfig, LearnedConfig, RotaryConfig, SinCosConfig
from anyjepa.nn.predictor import DensePredictorConfig, PredictorConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.weights.folder import load_model, save_pretrained
from anyjepa.weights.importers import import_weights
from anyjepa.weights.model import Provenance
from anyjepa.weights.transformers_export import export_transformers

SIZES: dict[str, Any] = {"dim": 24, "depth": 2, "heads": 3}
BIASED = BlockConfig(bias=True, qkv_bias=True, mlp_ratio=5 / 3, norm_eps=1e-5)
IMAGES: dict[str, Any] = {
    "kind": "images",
    "side": 16,
    "colours": "rgb",
    "centre": 0.8,
    "mean": [0.1, 0.2, 0.3],
    "std": [1.0, 0.5, 2.0],
}
VIDEOS: dict[str, Any] = {
    "kind": "video",
    "frames": 4,
    "side": 16,
    "colours": "rgb",
    "mean": [0, 0, 0],
    "std": [1, 1, 1],
}


def saved(folder: Path, encoder: dict[str, Any], predictor: Any = None) -> Path:
    """A model with random values in every tensor."""
    torch.manual_seed(0)
    size = (4, 16, 16) if len(encoder["patch"]) == 3 else (16, 16)
    config = MaskedPredictionConfig(
        encoder=ViTConfig(**SIZES | encoder), predictor=predictor or PredictorConfig(dim=12, depth=1, heads=2)
    )
    objective = MaskedPrediction(config, 3, size)
    with torch.no_grad():
        for name, parameter in objective.named_parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.2 + ("norm" in name and name.endswith("weight")))
    return save_pretrained(folder, objective, IMAGES if len(size) == 2 else VIDEOS, Provenance(data="noise"))


def loaded_without_gaps(folder: Path) -> Any:
    """The model of `transformers`, which has found all tensors but those of its pooling layer, and no others."""
    model, found = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert {key for key in found["missing_keys"] if not key.startswith("pooler.")} == set()
    assert not found["unexpected_keys"]
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "encoder"),
    [
        ("ijepa", {"positions": SinCosConfig()}),
        ("ijepa", {"positions": SinCosConfig(layout="halves", axes="last_first"), "block": BIASED}),
        ("vit", {"positions": LearnedConfig(), "block": BIASED, "cls": True}),
    ],
)
@torch.no_grad()
def test_images(kind: str, encoder: dict[str, Any], tmp_path: Path, cli: Any):
    folder = saved(tmp_path / "ours", {"patch": (4, 4), **encoder})
    done = cli("weights", "export", folder, "-o", tmp_path / "theirs")
    assert done == (0, f"folder: {tmp_path / 'theirs'}\n", "")
    theirs, ours, x = loaded_without_gaps(tmp_path / "theirs"), load_model(folder).encoder, torch.randn(2, 3, 16, 16)
    assert theirs.config.model_type == kind
    computed = torch.cat(ours.features(x), dim=1)
    assert (theirs(x).last_hidden_state - computed).abs().max() < 1e-5

    again = load_model(import_weights(tmp_path / "theirs", tmp_path / "again"))
    assert (torch.cat(again.encoder.features(x), dim=1) - computed).abs().max() < 1e-5
    assert {key: again.preprocessing[key] for key in IMAGES} == IMAGES


def test_images_are_prepared_alike(tmp_path: Path):
    """Within three grey levels, because transformers resizes before it cuts."""
    folder = saved(tmp_path / "ours", {"patch": (4, 4)})
    export_transformers(load_model(folder), tmp_path / "theirs")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "theirs")
    rows, columns = np.mgrid[:40, :30]
    image = np.stack([5 * rows, 6 * columns, rows + columns], axis=2).astype(np.uint8)
    theirs = processor(image, return_tensors="pt")["pixel_values"][0]
    ours = anyjepa.load(folder).prepared(image)[0]
    levels = np.abs(theirs.numpy() - ours) * 255 * np.array(IMAGES["std"])[:, None, None]
    assert levels.max() <= 3


@torch.no_grad()
def test_videos_with_their_predictor(tmp_path: Path):
    predictor = PredictorConfig(dim=20, depth=1, heads=2, positions=AxialRotaryConfig(), mask_tokens=2)
    folder = saved(tmp_path / "ours", {"patch": (2, 8, 8), "positions": AxialRotaryConfig()}, predictor)
    loaded = load_model(folder)
    theirs = loaded_without_gaps(export_transformers(loaded, tmp_path / "theirs"))
    x, context, targets = torch.randn(1, 3, 4, 16, 16), torch.tensor([[0, 3, 6]]), torch.tensor([[1, 2, 7]])
    expected = theirs(x.transpose(1, 2), context_mask=[context], target_mask=[targets])
    tokens = loaded.encoder.features(x)[1]
    assert (expected.last_hidden_state - tokens).abs().max() < 1e-5
    assert loaded.predictor is not None
    seen = Packed(tokens[0, context[0]], Layout(1, 3))
    predicted = loaded.predictor(seen, context, targets[None], None, (2, 2, 2), group=1)
    assert (expected.predictor_output.last_hidden_state[0] - predicted).abs().max() < 1e-5

    again = load_model(import_weights(tmp_path / "theirs", tmp_path / "again")).encoder
    assert (again.features(x)[1] - tokens).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("encoder", "predictor", "message"),
    [
        ({"patch": (4, 4), "registers": 2}, None, "encoder.registers is 2"),
        ({"patch": (4, 8)}, None, r"size is \(16, 16\); images must be square"),
        ({"patch": (4, 4), "block": BlockConfig(mlp="swiglu")}, None, "block.mlp is swiglu"),
        ({"patch": (4, 4), "block": BlockConfig(layer_scale=0.1)}, None, "block.layer_scale is 0.1"),
        ({"patch": (4, 4), "positions": RotaryConfig()}, None, "encoder.positions is rotary"),
        ({"patch": (2, 8, 8)}, None, "encoder.positions is sincos, not axial, in a model of videos"),
        ({"patch": (2, 8, 8), "positions": AxialRotaryConfig()}, None, "predictor.positions is sincos"),
        (
            {"patch": (2, 8, 8), "positions": AxialRotaryConfig()},
            DensePredictorConfig(heads=3),
            "has no predictor of masked tokens",
        ),
    ],
)
def test_what_has_no_layout_is_one_line(encoder: dict[str, Any], predictor: Any, message: str, tmp_path: Path):
    loaded = load_model(saved(tmp_path / "ours", encoder, predictor))
    with pytest.raises(InputError, match=message) as error:
        export_transformers(loaded, tmp_path / "theirs")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "theirs").exists()


def test_a_model_of_ecgs_has_no_layout(cli, tmp_path: Path):
    done = cli("weights", "export", "ecg-sim-xs", "-o", tmp_path / "theirs")
    assert (done.code, list(tmp_path.iterdir())) == (2, [])
    assert "reads ECGs or other series, but transformers has layouts for images and videos only" in done.err
    assert done.err.count("\n") == 1


def test_other_files_are_kept(tmp_path: Path):
    loaded = load_model(saved(tmp_path / "ours", {"patch": (4, 4)}))
    export_transformers(loaded, tmp_path / "theirs")
    export_transformers(loaded, tmp_path / "theirs")
    (tmp_path / "theirs" / "notes.txt").touch()
    with pytest.raises(InputError, match="contains other files; choose another folder"):
        export_transformers(loaded, tmp_path / "theirs")
