"""Encoders of images of `transformers` and with the names of timm, against the forward pass of `transformers`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor

import anyjepa
from anyjepa.errors import InputError
from anyjepa.nn.positions import SinCosConfig, sincos_table
from anyjepa.weights.folder import load_model
from anyjepa.weights.importers import import_weights

SMALL: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 16,
    "patch_size": 4,
}
NARROW: dict[str, Any] = SMALL | {"intermediate_size": 40, "layer_norm_eps": 1e-5}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("ViT", NARROW),
    "vit without biases": ("ViT", NARROW | {"qkv_bias": False, "hidden_act": "relu", "num_channels": 1}),
    "i-jepa": ("IJepa", NARROW),
    "dinov2": ("Dinov2", SMALL | {"mlp_ratio": 2}),
    "dinov2 giant": ("Dinov2", SMALL | {"use_swiglu_ffn": True}),
    "dinov2 registers": ("Dinov2WithRegisters", SMALL | {"num_register_tokens": 4}),
    "dinov3": ("DINOv3ViT", NARROW | {"num_register_tokens": 2}),
    "dinov3 gated": ("DINOv3ViT", NARROW | {"num_register_tokens": 0, "use_gated_mlp": True, "hidden_act": "silu"}),
}


def published(name: str, folder: Path) -> tuple[Any, Path]:
    """A tiny model with random values in every tensor, so that no forgotten one stays unseen, and its folder."""
    family, settings = MODELS[name]
    torch.manual_seed(1)
    model = getattr(transformers, f"{family}Model")(getattr(transformers, f"{family}Config")(**settings)).eval()
    with torch.no_grad():
        for tensor_name, tensor in model.named_parameters():
            tensor.copy_(torch.randn(tensor.shape) * 0.2 + ("norm" in tensor_name and tensor_name.endswith("weight")))
    model.save_pretrained(folder)
    return model, folder


def images(channels: int = 3, side: int = 16) -> Tensor:
    return torch.randn(2, channels, side, side, generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def difference(theirs: Any, ours: Path, side: int = 16) -> float:
    encoder = load_model(ours).encoder
    x = images(encoder.channels, side)
    kept = torch.cat(encoder.features(x), dim=1)
    return (kept - theirs(x).last_hidden_state).abs().max().item()


@pytest.mark.parametrize("name", MODELS)
def test_the_encoder_computes_the_same(name: str, tmp_path: Path):
    theirs, folder = published(name, tmp_path / "theirs")
    ours = import_weights(folder, tmp_path / "ours")
    assert difference(theirs, ours) < 1e-5
    vector = anyjepa.load(ours).embed(np.arange(900, dtype=np.uint8).reshape(1, 30, 30, 1).repeat(3, axis=3))
    assert vector.shape == (1, 24)


@pytest.mark.parametrize("name", ["dinov2", "dinov3"])
def test_another_size(name: str, tmp_path: Path, cli: Any):
    """Learned positions are resampled as there; rotary ones need nothing."""
    theirs, folder = published(name, tmp_path / "theirs")
    ours = import_weights(folder, tmp_path / "ours")
    assert cli("weights", "resize", ours, "--set", "side=24", "-o", tmp_path / "large").code == 0
    assert difference(theirs, tmp_path / "large", side=24) < 1e-5


def test_weights_in_several_files(tmp_path: Path):
    theirs, folder = published("vit", tmp_path / "theirs")
    (folder / "model.safetensors").unlink()
    theirs.save_pretrained(folder, max_shard_size="10KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    assert difference(theirs, import_weights(folder, tmp_path / "ours")) < 1e-5
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(InputError, match="must have a weight_map from tensors to files of this folder"):
        import_weights(folder, tmp_path / "ours")
    next(folder.glob("model-*.safetensors")).unlink()
    index.write_text(json.dumps({"weight_map": {"a": "model-00001-of-00009.safetensors"}}))
    with pytest.raises(InputError, match="there is no such file"):
        import_weights(folder, tmp_path / "ours")


def test_fixed_positions_are_recognised(tmp_path: Path):
    theirs, folder = published("i-jepa", tmp_path / "theirs")
    with torch.no_grad():
        table = sincos_table(SinCosConfig(layout="halves", axes="last_first"), 24, (4, 4))
        theirs.embeddings.position_embeddings.copy_(table[None])
    theirs.save_pretrained(folder)
    ours = import_weights(folder, tmp_path / "ours")
    assert load_model(ours).config.objective.encoder.positions.kind == "sincos"
    assert difference(theirs, ours) < 1e-5


@torch.no_grad()
def test_a_classifier_of_cls(tmp_path: Path):
    labels: dict[str, Any] = {"id2label": {0: "crane", 1: "cat", 2: "crane"}}
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**NARROW, **labels)).eval()
    torch.nn.init.normal_(model.classifier.bias)  # pyright: ignore[reportArgumentType]
    model.save_pretrained(tmp_path / "theirs")
    loaded = load_model(import_weights(tmp_path / "theirs", tmp_path / "ours"))
    assert loaded.config.classifier is not None
    assert loaded.config.classifier.classes == ("crane (0)", "cat", "crane (2)")
    assert loaded.head is not None
    logits = loaded.head(*loaded.encoder.features(images()))
    assert (logits - model(images()).logits).abs().max() < 1e-5


def test_a_classifier_of_more_than_cls_is_left_out(tmp_path: Path):
    transformers.Dinov2ForImageClassification(transformers.Dinov2Config(**SMALL)).save_pretrained(tmp_path / "theirs")
    loaded = load_model(import_weights(tmp_path / "theirs", tmp_path / "ours"))
    assert loaded.head is None
    assert "Its classifier was left out" in loaded.provenance.notes[0]


def test_images_are_prepared_as_the_folder_says(tmp_path: Path):
    _, folder = published("dinov2", tmp_path / "theirs")
    assert load_model(import_weights(folder, tmp_path / "ours")).preprocessing["mean"] == [0.485, 0.456, 0.406]
    processor = {
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [1, 1, 0.5],
        "do_center_crop": True,
        "size": {"shortest_edge": 256},
        "crop_size": {"height": 224, "width": 224},
        "resample": 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    loaded = load_model(import_weights(folder, tmp_path / "ours"))
    assert (loaded.preprocessing["mean"], loaded.preprocessing["centre"]) == ([0.1, 0.2, 0.3], 0.875)
    assert "resizes with another filter (resample 3)" in loaded.provenance.notes[0]


TIMM = (
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.register_tokens", "reg_token"),
    ("embeddings.mask_token", "mask_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("encoder.layer.", "blocks."),
    ("attention.output.dense", "attn.proj"),
    ("attention.attention.query", "attn.qkv"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("mlp.weights_in", "mlp.w12"),
    ("mlp.weights_out", "mlp.w3"),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("layernorm.", "norm."),
)


def timm_state(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder of `transformers` under the names of timm."""
    state, made = load_file(folder / "model.safetensors"), {}
    for name in [
        name for name in state if not name.startswith("pooler.") and ".key." not in name and ".value." not in name
    ]:
        parts = [state[name.replace(".query.", f".{part}.")] for part in ("query", "key", "value")]
        new = name
        for theirs, ours in TIMM:
            new = new.replace(theirs, ours)
        made[new] = torch.cat(parts) if ".query." in name else state[name]
    return made


@pytest.mark.parametrize("name", ["vit", "dinov2", "dinov2 giant", "dinov2 registers"])
@pytest.mark.parametrize("form", ["folder", "file", "checkpoint"])
def test_the_names_of_timm(name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(MODELS, name, (MODELS[name][0], MODELS[name][1] | {"layer_norm_eps": 1e-6}))
    theirs, folder = published(name, tmp_path / "theirs")
    state, path = timm_state(folder), tmp_path / "timm"
    path.mkdir()
    if form == "checkpoint":
        torch.save({"model": {f"module.{key}": tensor for key, tensor in state.items()}}, path / "vit.pth")
    else:
        state |= {"head.weight": torch.ones(5, 24), "head.bias": torch.zeros(5)}
        save_file(state, path / "model.safetensors")
    if form == "folder":
        config = {
            "architecture": "vit_tiny",
            "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "crop_pct": 0.9},
        }
        (path / "config.json").write_text(json.dumps(config))
    source = path if form == "folder" else next(path.iterdir())
    ours = import_weights(source, tmp_path / "ours", heads=3)
    assert difference(theirs, ours) < 1e-5
    loaded = load_model(ours)
    assert loaded.preprocessing["centre"] == (0.9 if form == "folder" else 0.875)
    assert (loaded.head is None) == (form == "checkpoint")


DINOV3 = (
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.register_tokens", "storage_tokens"),
    ("embeddings.mask_token", "mask_token"),
    ("embeddings.patch_embeddings", "patch_embed.proj"),
    ("layer.", "blocks."),
    ("layer_scale1.lambda1", "ls1.gamma"),
    ("layer_scale2.lambda1", "ls2.gamma"),
    ("attention.o_proj", "attn.proj"),
    ("attention.q_proj", "attn.qkv"),
)


@pytest.mark.parametrize("name", ["dinov3", "dinov3 gated"])
def test_the_official_layout_of_dinov3(name: str, tmp_path: Path, cli: Any):
    theirs, folder = published(name, tmp_path / "theirs")
    state = load_file(folder / "model.safetensors")
    mlp = ("gate_proj", "w1"), ("up_proj", "w2"), ("down_proj", "w3")
    names = (*DINOV3, *(mlp if "gated" in name else (("up_proj", "fc1"), ("down_proj", "fc2"))))
    made: dict[str, Tensor] = {"rope_embed.periods": 100.0 ** (torch.arange(2) / 2)}
    for before in [key for key in state if ".k_proj." not in key and ".v_proj." not in key]:
        parts = [state.get(before.replace("q_proj", f"{part}_proj"), torch.full((24,), 7.0)) for part in "qkv"]
        new = before
        for there, here in names:
            new = new.replace(there, here)
        made[new] = torch.cat(parts) if "q_proj" in before else state[before]
        if new.endswith("qkv.bias"):
            made[f"{new}_mask"] = torch.full((72,), torch.nan)
    made = {key: tensor for key, tensor in made.items() if tensor.numel()}  # no empty registers
    made |= {"local_cls_norm.weight": torch.ones(24), "local_cls_norm.bias": torch.ones(24)}
    torch.save(made, tmp_path / "dinov3.pth")
    ours = import_weights(tmp_path / "dinov3.pth", tmp_path / "ours")
    assert load_model(ours).config.size == (224, 224)
    assert cli("weights", "resize", ours, "--set", "side=16", "-o", tmp_path / "small").code == 0
    assert difference(theirs, tmp_path / "small") < 1e-5
    torch.save(made | {"rope_embed.periods": torch.ones(2)}, tmp_path / "dinov3.pth")
    with pytest.raises(InputError, match="periods' does not have the published periods"):
        import_weights(tmp_path / "dinov3.pth", tmp_path / "other")


def test_positions_of_timm_without_cls(tmp_path: Path):
    """As of DINOv2 in timm: the token CLS has its position added already."""
    theirs, folder = published("dinov2 registers", tmp_path / "theirs")
    state = timm_state(folder)
    state["cls_token"] = state["cls_token"] + state["pos_embed"][:, :1]
    state["pos_embed"] = state["pos_embed"][:, 1:].clone()
    save_file(state, tmp_path / "vit.safetensors")
    assert difference(theirs, import_weights(tmp_path / "vit.safetensors", tmp_path / "ours", heads=3)) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c, t: c.pop("num_attention_heads"), "key 'num_attention_heads' is missing"),
        (lambda c, t: c.update(num_attention_heads=5), "width 24 is not a multiple of 5 heads"),
        (lambda c, t: c.update(hidden_act="quick_gelu"), "an MLP with 'quick_gelu' is not supported"),
        (lambda c, t: c.update(image_size=[16, 12]), r"config\.json: image_size"),
        (lambda c, t: t.pop("embeddings.position_embeddings"), "has no table of positions"),
        (lambda c, t: t.update({"embeddings.position_embeddings": torch.ones(1, 15, 24)}), "table of 15 positions"),
        (lambda c, t: t.pop("embeddings.patch_embeddings.projection.weight"), "'project.weight' is missing"),
        (lambda c, t: t.pop("encoder.layer.1.attention.attention.value.weight"), "1.attn.value.weight' is missing"),
        (lambda c, t: t.pop("encoder.layer.1.layernorm_after.bias"), "encoder.transformer.blocks.1.norm2.bias"),
        (lambda c, t: t.update({"decoder.weight": torch.ones(2)}), "'encoder.decoder.weight' does not belong"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, change: Any, message: str):
    _, folder = published("vit", tmp_path / "theirs")
    config, tensors = json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")
    change(config, tensors)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(InputError, match=message) as error:
        import_weights(folder, tmp_path / "model")
    assert "\n" not in str(error.value)


def test_a_norm_after_the_average_is_refused(tmp_path: Path):
    _, folder = published("vit", tmp_path / "theirs")
    state = {
        name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: t
        for name, t in timm_state(folder).items()
    }
    save_file(state, tmp_path / "vit.safetensors")
    with pytest.raises(InputError, match=r"norm \(fc_norm\) comes after an average over tokens"):
        import_weights(tmp_path / "vit.safetensors", tmp_path / "ours", heads=3)
