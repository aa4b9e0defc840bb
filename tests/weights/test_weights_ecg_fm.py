from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.errors import InputError
from anyjepa.weights.folder import load_model
from anyjepa.weights.foreign import read_foreign
from anyjepa.weights.importers import import_weights, recognised
from anyjepa.weights.source import find_source


@pytest.fixture
def official(golden: Path) -> dict[str, Any]:
    return read_foreign(golden / "ecg_fm" / "pretrained.pt")


def imported(checkpoint: dict[str, Any], folder: Path) -> Any:
    torch.save(checkpoint, folder / "weights.pt")
    assert recognised(find_source(folder / "weights.pt")).name == "ECG-FM and others of fairseq-signals"
    return load_model(import_weights(folder / "weights.pt", folder / "model"))


def test_sizes_and_options(golden: Path, tmp_path: Path):
    encoder = imported(read_foreign(golden / "ecg_fm" / "prenorm.pt"), tmp_path).encoder
    config = encoder.config
    assert (config.widths, config.strides, config.patch) == ((16, 24, 24), (4, 2, 2), (16,))
    assert (config.dim, config.depth, config.heads, config.block.mlp_ratio) == (24, 2, 4, 40 / 24)
    assert (config.position_kernel, config.position_groups) == (7, 4)
    assert config.convolution_bias
    assert config.block.norm_first
    assert encoder.grid == (156,)


def test_inputs_are_standardised_by_record(official: dict[str, Any], tmp_path: Path):
    made = EcgPreprocessing.model_validate(imported(official, tmp_path).preprocessing)
    assert (made.fs, made.samples, made.leads, made.clip, made.by_record) == (500, 2500, LEADS, None, True)


def test_a_classifier_is_left_out_and_the_card_says_so(golden: Path, tmp_path: Path):
    model = imported(read_foreign(golden / "ecg_fm" / "finetuned.pt"), tmp_path)
    assert model.head is None
    assert "Its classifier was left out" in model.provenance.notes[-1]


def test_weight_norm_of_older_versions_of_pytorch(official: dict[str, Any], tmp_path: Path):
    new, old = "conv_pos.pos_conv.0.parametrizations.weight.original", "conv_pos.pos_conv.0.weight_"
    (tmp_path / "new").mkdir()
    expected = imported(official, tmp_path / "new").encoder.positions.weight
    for number, letter in enumerate("gv"):
        official["model"][old + letter] = official["model"].pop(f"{new}{number}")
    assert torch.equal(imported(official, tmp_path).encoder.positions.weight, expected)


def test_without_a_projection(official: dict[str, Any], tmp_path: Path):
    """If the convolutions are as wide as the transformer, there is none."""
    model = official["model"]
    for name in [name for name in model if name.startswith(("feature_extractor", "layer_norm"))]:
        model[name] = torch.zeros([24 if size == 16 else size for size in model[name].shape])
    for name in ("weight", "bias"):
        del model[f"post_extract_proj.{name}"]
    official["cfg"]["model"]["conv_feature_layers"] = "[(24, 2, 2), (24, 2, 2)] * 2"
    assert list(imported(official, tmp_path).encoder.project.parameters()) == []


def _config(**settings: Any) -> Callable[[dict], object]:
    return lambda c: c["cfg"]["model"].update(settings)


BROKEN: dict[str, tuple[Callable[[dict], object], str]] = {
    "unknown tensor": (lambda c: c["model"].update(cls=torch.ones(2)), "tensor 'encoder.cls' does not belong"),
    "unknown tensor of the head": (
        lambda c: c["model"].update({"proj.weight": torch.ones(2)}),
        "'encoder.proj.weight'",
    ),
    "missing tensor": (lambda c: c["model"].pop("layer_norm.bias"), "tensor 'encoder.token_norm.bias' is missing"),
    "missing query": (
        lambda c: c["model"].pop("encoder.layers.1.self_attn.q_proj.weight"),
        "tensor 'transformer.blocks.1.attn.query.weight' is missing",
    ),
    "missing positions": (
        lambda c: c["model"].pop("conv_pos.pos_conv.0.parametrizations.weight.original0"),
        "tensor 'positions.size' is missing",
    ),
    "no tensor": (lambda c: c["model"].update({"layer_norm.bias": 3}), "'layer_norm.bias' is a int"),
    "shape": (
        lambda c: c["model"].update({"layer_norm.bias": torch.zeros(3)}),
        "'encoder.token_norm.bias' has shape (3,), expected (16,)",
    ),
    "not finite": (
        lambda c: c["model"]["conv_pos.pos_conv.0.bias"].fill_(torch.inf),
        "'encoder.positions.bias' contains NaN or infinite",
    ),
    "other leads": (
        lambda c: c["model"].update({"feature_extractor.conv_layers.0.0.weight": torch.zeros(16, 8, 2)}),
        "reads 8 leads",
    ),
    "other convolutions": (_config(conv_feature_layers="[(16, 2, 2)] * 3"), "does not describe its tensors"),
    "code": (_config(conv_feature_layers="__import__('os').getcwd()"), "does not describe its tensors"),
    "overlapping tokens": (_config(conv_feature_layers="[(16, 2, 1)] * 4"), "kernel 2 and stride 1 is not supported"),
    "layer norms": (_config(extractor_mode="layer_norm"), "extractor_mode 'layer_norm' is not supported"),
    "quantised input": (_config(quantize_input=True), "quantize_input True is not supported"),
    "convolutions that take for ever to match": (
        _config(conv_feature_layers="[(" + "16, 2, 2)  (" * 40 + "x"),
        "does not describe its tensors",
    ),
    "spaces without end": (_config(conv_feature_layers="[(16, 2, 2)" + " " * 10**6 + "x"), "at most 1000 characters"),
    "one size for all taps": (
        lambda c: c["model"].update({"conv_pos.pos_conv.0.parametrizations.weight.original0": torch.ones(1, 1, 1)}),
        "have shapes (1, 1, 1) and (24, 6, 8), expected (1, 1, K)",
    ),
    "sizes along another axis": (
        lambda c: c["model"].update({"conv_pos.pos_conv.0.parametrizations.weight.original0": torch.ones(24, 1, 1)}),
        "have shapes (24, 1, 1) and (24, 6, 8), expected (1, 1, K)",
    ),
    "heads": (_config(encoder_attention_heads=5), "width 24 is not a multiple of 5 heads"),
    "impossible heads": (
        _config(encoder_attention_heads=0),
        "cfg.model: encoder_attention_heads must be greater than 0",
    ),
    "no convolutions": (
        lambda c: c["model"].update({"feature_extractor.conv_layers.0.0.weight": torch.zeros(16)}),
        "do not have the shapes of ECG-FM",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_refused_in_one_line(case: str, official: dict[str, Any], tmp_path: Path):
    spoil, message = BROKEN[case]
    spoil(official)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        imported(official, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_a_name_outside_of_the_encoder_of_a_classifier(golden: Path, tmp_path: Path):
    official: dict[str, Any] = read_foreign(golden / "ecg_fm" / "finetuned.pt")
    official["model"]["pool.weight"] = torch.ones(2)  # type: ignore[index]
    with pytest.raises(InputError, match=r"tensor 'pool\.weight' does not belong to this model"):
        imported(official, tmp_path)
