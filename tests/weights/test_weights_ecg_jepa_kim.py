from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.errors import InputError
from anyjepa.nn.positions import LearnedConfig, SinCosConfig
from anyjepa.weights.folder import load_model
from anyjepa.weights.foreign import read_foreign
from anyjepa.weights.importers import import_weights, recognised
from anyjepa.weights.source import find_source


@pytest.fixture
def official(golden: Path) -> dict[str, Any]:
    return read_foreign(golden / "ecg_jepa_kim" / "epoch100.pth")


def imported(checkpoint: dict[str, Any], folder: Path, heads: int | None = 4) -> Any:
    torch.save(checkpoint, folder / "epoch100.pth")
    assert recognised(find_source(folder / "epoch100.pth")).name == "ECG-JEPA of Kim"
    return load_model(import_weights(folder / "epoch100.pth", folder / "model", heads=heads))


def test_sizes_are_those_of_the_tensors(official: dict[str, Any], tmp_path: Path):
    model = imported(official, tmp_path)
    encoder = model.encoder.config
    assert (encoder.patch, encoder.dim, encoder.depth, encoder.heads, encoder.block.mlp_ratio) == ((50,), 24, 2, 4, 4)
    assert encoder.separate
    assert encoder.cross
    assert encoder.positions_again
    assert encoder.positions == SinCosConfig(layout="halves")
    assert not encoder.block.qkv_bias
    assert model.encoder.grid == (50, 8)
    assert model.predictor is None
    assert "Trained for 100 epochs." in model.provenance.notes


def test_inputs_are_millivolts_of_eight_leads(official: dict[str, Any], tmp_path: Path):
    made = EcgPreprocessing.model_validate(imported(official, tmp_path).preprocessing)
    assert made.leads == ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
    assert (made.fs, made.samples, made.clip, set(made.mean), set(made.std)) == (250, 2500, None, {0}, {1})


def test_published_width_has_its_heads(official: dict[str, Any], tmp_path: Path):
    with pytest.raises(InputError, match="no published model has the width 24; pass the number of heads with --heads"):
        imported(official, tmp_path, heads=None)
    wide = {name: torch.zeros([768 if n == 24 else n for n in t.shape]) for name, t in official["encoder"].items()}
    for name, tensor in wide.items():  # the widths of the MLP and of queries, keys and values
        wide[name] = torch.zeros([{96: 3072, 72: 2304}.get(n, n) for n in tensor.shape])
    assert imported({"encoder": wide}, tmp_path, heads=None).encoder.config.heads == 16


def test_learned_positions_are_ordered_by_time(official: dict[str, Any], tmp_path: Path):
    table = official["encoder"]["pos_embed"] = torch.randn(400, 24)
    model = imported(official, tmp_path)
    assert model.encoder.config.positions == LearnedConfig()
    assert torch.equal(model.encoder.positions.learned[8 * 3 + 2], table[50 * 2 + 3])  # lead 2 at time 3


def test_biases_of_queries_keys_and_values(official: dict[str, Any], tmp_path: Path):
    for number in range(2):
        official["encoder"][f"encoder_blocks.blocks.{number}.attn.qkv.bias"] = torch.randn(72)
    bias = imported(official, tmp_path).encoder.transformer.blocks[1].attn.qkv.bias
    assert torch.equal(bias, official["encoder"]["encoder_blocks.blocks.1.attn.qkv.bias"])


BROKEN: dict[str, tuple[Callable[[dict], object], str]] = {
    "unknown tensor": (lambda e: e.update(mask_token=torch.zeros(24)), "tensor 'encoder.mask_token' does not belong"),
    "missing tensor": (lambda e: e.pop("norm.bias"), "tensor 'encoder.norm.bias' is missing"),
    "missing block": (
        lambda e: [e.pop(name) for name in list(e) if ".0.attn." in name],
        "tensor 'encoder.transformer.blocks.0.attn.",
    ),
    "shape": (
        lambda e: e.update({"W_P.bias": torch.zeros(23)}),
        "'encoder.project.bias' has shape (23,), expected (24,)",
    ),
    "not finite": (lambda e: e["norm.bias"].fill_(torch.nan), "'encoder.norm.bias' contains NaN"),
    "other leads": (
        lambda e: e.update(pos_embed=torch.zeros(450, 24)),
        "tensor 'pos_embed' has shape (450, 24), not rows for 8 leads",
    ),
    "no rows": (lambda e: e.update(pos_embed=torch.zeros(400)), "tensor 'pos_embed' has shape (400,)"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_refused_in_one_line(case: str, official: dict[str, Any], tmp_path: Path):
    spoil, message = BROKEN[case]
    spoil(official["encoder"])
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        imported(official, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()
