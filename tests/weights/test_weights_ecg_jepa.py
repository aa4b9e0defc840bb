from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.errors import InputError
from anyjepa.weights.ecg_jepa import convert
from anyjepa.weights.folder import load_model
from anyjepa.weights.foreign import read_foreign
from anyjepa.weights.importers import import_weights


@pytest.fixture
def official(golden: Path) -> dict:
    return read_foreign(golden / "ecg_jepa" / "chkpt_2.pt")


def imported(checkpoint: dict, tmp_path: Path, name: str = "chkpt_2.pt", **options: str):
    torch.save(checkpoint, tmp_path / name)
    return load_model(import_weights(tmp_path / name, tmp_path / "model", **options))


def test_pretraining_checkpoint(official: dict, tmp_path: Path):
    model = imported(official, tmp_path)
    assert model.weights == "teacher"
    assert model.provenance.steps == 2
    assert (tmp_path / "model" / "student.safetensors").exists()
    preprocessing = EcgPreprocessing.model_validate(model.preprocessing)
    assert (preprocessing.fs, preprocessing.samples, preprocessing.leads) == (50, 500, LEADS)
    assert (preprocessing.mean, preprocessing.std) == CATALOGUE["ptb-xl"].constants()


def test_minified_checkpoint(official: dict, tmp_path: Path):
    teacher = {name: tensor for name, tensor in official["model"].items() if name.startswith("target_encoder.")}
    model = imported({"model": teacher, "config": official["config"]}, tmp_path)
    assert model.predictor is None
    assert model.provenance.steps is None
    assert not (tmp_path / "model" / "student.safetensors").exists()
    whole = convert("chkpt_2.pt", official).tensors
    assert all(torch.equal(tensor, whole[f"encoder.{name}"]) for name, tensor in model.encoder.state_dict().items())


def test_classifier_keeps_its_own_constants(golden: Path, tmp_path: Path):
    checkpoint = read_foreign(golden / "ecg_jepa" / "eval_attn_best_chkpt.pt")
    mean = checkpoint["preprocess"]["mean"].tolist()
    checkpoint["config"]["channels"] = [
        "V6",
        *checkpoint["config"]["channels"][:-1],
    ]  # constants stay in PTB-XL's order
    model = imported(checkpoint, tmp_path, "all_best_chkpt.pt")
    preprocessing = EcgPreprocessing.model_validate(model.preprocessing)
    assert preprocessing.leads == ("V6", *LEADS[:-1])
    assert preprocessing.mean == (mean[-1], *mean[:-1])
    assert preprocessing.samples == 125
    assert model.weights == "fine-tuned"
    assert model.config.classifier is not None
    assert len(model.config.classifier.classes) == 7
    assert not model.config.classifier.exclusive


def test_st_mem_classes_exclude_each_other(golden: Path, tmp_path: Path):
    checkpoint = read_foreign(golden / "ecg_jepa" / "eval_fc_best_chkpt.pt")
    model = imported(checkpoint, tmp_path, "ST-MEM_best_chkpt.pt")
    assert model.config.classifier is not None
    assert model.config.classifier.exclusive


def test_statistics_of_the_largest_share_or_by_name(official: dict, tmp_path: Path):
    official["config"]["datasets"] = {"georgia": 0.3, "mimic-iv-ecg": 0.7}
    model = imported(official, tmp_path)
    assert tuple(model.preprocessing["mean"]) == CATALOGUE["mimic-iv-ecg"].constants()[0]
    assert "mimic-iv-ecg" in model.provenance.notes[-1]
    assert tuple(imported(official, tmp_path, statistics="georgia").preprocessing["std"]) == CATALOGUE["georgia"].std
    with pytest.raises(InputError, match="there are no constants for data set 'gorgia'; did you mean 'georgia'"):
        imported(official, tmp_path, statistics="gorgia")


def test_old_layernorm_biases_are_honoured(official: dict, tmp_path: Path):
    """Before its commit d7b787b the official LayerNorms had biases whatever the config said."""
    plain = imported(official, tmp_path)
    for name in list(official["model"]):
        if re.search(r"norm\d?\.weight$", name):
            official["model"][name.replace("weight", "bias")] = torch.zeros_like(official["model"][name])
    x = torch.randn(2, 12, 500)
    torch.testing.assert_close(imported(official, tmp_path).encoder(x).values, plain.encoder(x).values)

    bias = torch.randn(32)
    official["model"]["target_encoder.norm.bias"] = bias
    old = imported(official, tmp_path)
    torch.testing.assert_close(old.encoder(x).values, plain.encoder(x).values + bias)
    assert any("LayerNorm" in note for note in old.provenance.notes)
    del official["model"]["target_encoder.blocks.0.norm1.bias"]
    with pytest.raises(InputError, match=r"tensor 'encoder\.transformer\.blocks\.0\.norm1\.bias' is missing"):
        imported(official, tmp_path)


def test_biases_and_layer_scale(official: dict, tmp_path: Path):
    """Every parameter that the official config can switch on has its place."""
    config, model = official["config"], official["model"]
    config |= {"bias": True, "qkv_bias": True, "layer_scale_eps": 0.1}
    for name in list(model):
        if name.endswith(".weight"):
            model[name.replace("weight", "bias")] = torch.randn(len(model[name]))
        if name.endswith("norm1.weight") and "encoder" in name:
            model[name.replace("norm1", "attn_ls")] = torch.randn(32)
            model[name.replace("norm1", "mlp_ls")] = torch.randn(32)
    ours = imported(official, tmp_path)
    block, prefix = ours.encoder.transformer.blocks[1], "target_encoder.blocks.1."
    assert torch.equal(block.scale1, model[prefix + "attn_ls.weight"])
    assert torch.equal(block.scale2, model[prefix + "mlp_ls.weight"])
    assert torch.equal(block.attn.qkv.bias, model[prefix + "attn.qkv.bias"])
    x = torch.randn(2, 12, 500)
    projected = F.conv1d(
        x, model["target_encoder.patch_embed.proj.weight"], model["target_encoder.patch_embed.proj.bias"], 25
    )
    patches = x.unflatten(2, (20, 25)).transpose(1, 2).flatten(2)
    torch.testing.assert_close(ours.encoder.project(patches), projected.transpose(1, 2), atol=1e-4, rtol=1e-4)


BROKEN: dict[str, tuple[Callable[[dict], object], str]] = {
    "unknown tensor": (
        lambda c: c["model"].update({"decoder.weight": torch.ones(2)}),
        "tensor 'decoder.weight' does not belong to ECG-JEPA",
    ),
    "unknown tensor of the encoder": (
        lambda c: c["model"].update({"target_encoder.cls_token": torch.ones(1, 1, 32)}),
        "tensor 'encoder.cls_token' does not belong",
    ),
    "no tensor": (lambda c: c["model"].update({"encoder.step": 3}), "'encoder.step' is a int; it must be a tensor"),
    "missing tensor": (lambda c: c["model"].pop("target_encoder.registers"), "tensor 'encoder.prefix' is missing"),
    "missing block": (
        lambda c: [c["model"].pop(n) for n in list(c["model"]) if n.startswith("predictor.blocks.1.")],
        "its predictor has 1 blocks, its config says 2",
    ),
    "no teacher": (
        lambda c: [c["model"].pop(n) for n in list(c["model"]) if n.startswith("target_encoder.")],
        "has no 'target_encoder', the teacher",
    ),
    "wrong shape": (
        lambda c: c["model"].update({"target_encoder.norm.weight": torch.ones(31)}),
        "tensor 'encoder.norm.weight' has shape (31,), expected (32,)",
    ),
    "broken student": (
        lambda c: c["model"].update({"encoder.norm.weight": torch.ones(31)}),
        "(student): tensor 'encoder.norm.weight' has shape (31,)",
    ),
    "missing key": (lambda c: c["config"].pop("depth"), "config: key 'depth' is missing"),
    "impossible value": (
        lambda c: c["config"].update(depth=-1),
        "config: encoder.depth must be greater than 0",
    ),
    "impossible heads": (lambda c: c["config"].update(num_heads=5), "width 32 is not a multiple of 5 heads"),
    "unknown lead": (
        lambda c: c["config"]["channels"].__setitem__(3, "AVX"),
        "config: lead 'AVX' is unknown; did you mean",
    ),
    "other program": (
        lambda c: c.pop("config"),
        ". Its keys: model, optimizer, step",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_refused_in_one_line(case: str, official: dict, tmp_path: Path):
    spoil, message = BROKEN[case]
    spoil(official)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        imported(official, tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_an_attentive_head_without_registers_is_refused(golden: Path, tmp_path: Path):
    checkpoint = read_foreign(golden / "ecg_jepa" / "eval_attn_best_chkpt.pt")
    checkpoint["eval_config"]["use_register"] = False
    with pytest.raises(InputError, match="does not see the registers is not supported"):
        imported(checkpoint, tmp_path)


@pytest.mark.parametrize("key", ["crop_duration", "crop_stride"])
def test_a_crop_of_any_length_is_a_window_or_one_line(golden: Path, tmp_path: Path, key: str):
    checkpoint = torch.load(golden / "ecg_jepa/eval_attn_best_chkpt.pt", weights_only=True)
    checkpoint["eval_config"][key] = 1e308
    with pytest.raises(InputError, match=key):
        imported(checkpoint, tmp_path)
