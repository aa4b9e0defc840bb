"""Every size and flag of an official config, against a forward pass in plain PyTorch on the official tensors."""

from __future__ import annotations

import json
from math import pi
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.nn.packing import Layout, Packed
from anyjepa.weights.folder import LoadedModel, load_model
from anyjepa.weights.importers import import_weights
from anyjepa.weights.nepa_export import export_nepa

State = dict[str, Tensor]
NEPA: dict[str, Any] = {
    "model_type": "vit_nepa",
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "image_size": 12,
    "patch_size": 4,
    "num_channels": 3,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "layerscale_value": 1e-5,
    "qkv_bias": True,
    "qk_norm": True,
    "qk_norm_affine": False,
    "qk_norm_bias": False,
    "rope_theta": 100.0,
    "use_gated_mlp": False,
    "is_causal": True,
}
ECG_NEPA = {"model_type": "vit_nepa_ecg", "signal_length": 60, "patch_size": 10, "num_channels": 12}
ACTS = {"gelu": F.gelu, "relu": F.relu, "silu": F.silu}


def drawn(shapes: dict[str, tuple[int, ...]]) -> State:
    """Random tensors, with norms near 1, so that no forgotten one stays unseen."""
    random = torch.Generator().manual_seed(1)
    state = {name: torch.randn(shape, generator=random) * 0.4 for name, shape in shapes.items()}
    return {name: tensor + ("norm" in name and name.endswith("weight")) for name, tensor in state.items()}


def nepa_state(config: dict[str, Any], classes: int = 0) -> State:
    d, hidden, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    axes = 1 if config["model_type"] == "vit_nepa_ecg" else 2
    shapes: dict[str, tuple[int, ...]] = {"vit_nepa.embeddings.cls_token": (1, 1, d)}

    def linear(name: str, inputs: int, outputs: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs)
        if bias:
            shapes[f"{name}.bias"] = (outputs,)

    def norm(name: str, width: int = d, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (width,)
        if bias:
            shapes[f"{name}.bias"] = (width,)

    projection = "vit_nepa.embeddings.patch_embeddings.projection"
    shapes[f"{projection}.weight"] = (d, config["num_channels"], *(config["patch_size"],) * axes)
    shapes[f"{projection}.bias"] = (d,)
    norm("vit_nepa.layernorm")
    for number in range(config["num_hidden_layers"]):
        layer = f"vit_nepa.encoder.layer.{number}"
        norm(f"{layer}.layernorm_before")
        norm(f"{layer}.layernorm_after")
        for part in ("query", "key", "value"):
            linear(f"{layer}.attention.attention.{part}", d, d, config["qkv_bias"])
        if config["qk_norm"] and config["qk_norm_affine"]:
            norm(f"{layer}.attention.attention.q_norm", d // heads, config["qk_norm_bias"])
            norm(f"{layer}.attention.attention.k_norm", d // heads, config["qk_norm_bias"])
        linear(f"{layer}.attention.output.dense", d, d)
        linear(f"{layer}.intermediate.up_proj", d, hidden)
        if config["use_gated_mlp"]:
            linear(f"{layer}.intermediate.gate_proj", d, hidden)
        linear(f"{layer}.output.dense", hidden, d)
        if config["layerscale_value"] is not None:
            shapes[f"{layer}.layer_scale.lambda1"] = shapes[f"{layer}.output.layer_scale.lambda1"] = (d,)
    if classes:
        linear("classifier", d, classes)
        if config.get("add_pooling_layer", False):
            norm("fc_norm")
    return drawn(shapes)


def nepa_forward(config: dict[str, Any], state: State, x: Tensor) -> Tensor:
    """x: (B, C, *samples) -> (B, 1 + N, D), as the paper and the official config describe it."""
    d, heads, eps = config["hidden_size"], config["num_attention_heads"], config["layer_norm_eps"]
    patch, width = config["patch_size"], config["hidden_size"] // config["num_attention_heads"]

    def linear(name: str, x: Tensor) -> Tensor:
        return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))

    def norm(name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], state.get(f"{name}.weight"), state.get(f"{name}.bias"), eps)

    weight, bias = (state[f"vit_nepa.embeddings.patch_embeddings.projection.{part}"] for part in ("weight", "bias"))
    convolved = (F.conv1d if x.ndim == 3 else F.conv2d)(x, weight, bias, stride=patch)
    grid = convolved.shape[2:]
    tokens = convolved.flatten(2).transpose(1, 2)
    h = torch.cat([state["vit_nepa.embeddings.cls_token"].expand(len(x), -1, -1), tokens], 1)
    centres = [(torch.arange(n) + 0.5) / n * 2 - 1 for n in grid]
    places = torch.cartesian_prod(*centres).reshape(-1, len(grid))  # (N, axes)
    rates = config["rope_theta"] ** -(torch.arange(width // (2 * len(grid))) * 2 * len(grid) / width)
    angles = (2 * pi * places[:, :, None] * rates).flatten(1).repeat(1, 2)  # (N, width)

    def turned(x: Tensor) -> Tensor:  # (B, H, 1 + N, width)
        first, rest = x[:, :, :1], x[:, :, 1:]
        half = torch.cat([-rest[..., width // 2 :], rest[..., : width // 2]], -1)
        return torch.cat([first, rest * angles.cos() + half * angles.sin()], 2)

    length = h.shape[1]
    unseen = torch.ones(length, length).triu(1).bool() if config["is_causal"] else torch.zeros(length, length).bool()
    for number in range(config["num_hidden_layers"]):
        layer = f"vit_nepa.encoder.layer.{number}"
        inner = norm(f"{layer}.layernorm_before", h)
        q, k, v = (
            linear(f"{layer}.attention.attention.{part}", inner).unflatten(-1, (heads, width)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        if config["qk_norm"]:
            q, k = (norm(f"{layer}.attention.attention.{part}_norm", z) for part, z in (("q", q), ("k", k)))
        scores = turned(q) @ turned(k).transpose(-1, -2) / width**0.5
        seen = scores.masked_fill(unseen, -torch.inf).softmax(-1) @ v
        branch = linear(f"{layer}.attention.output.dense", seen.transpose(1, 2).reshape(len(x), length, d))
        h = h + branch * state.get(f"{layer}.layer_scale.lambda1", torch.ones(d))
        inner = norm(f"{layer}.layernorm_after", h)
        up = linear(f"{layer}.intermediate.up_proj", inner)
        act = ACTS[config["hidden_act"]]
        up = act(linear(f"{layer}.intermediate.gate_proj", inner)) * up if config["use_gated_mlp"] else act(up)
        h = h + linear(f"{layer}.output.dense", up) * state.get(f"{layer}.output.layer_scale.lambda1", torch.ones(d))
    return norm("vit_nepa.layernorm", h)


def nepa_folder(folder: Path, config: dict[str, Any], state: State) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors")
    return folder


def sample(channels: int, *size: int) -> Tensor:
    return torch.randn(2, channels, *size, generator=torch.Generator().manual_seed(2))


FLAGS: list[dict[str, Any]] = [
    {},
    {"qk_norm_affine": True},
    {"qk_norm_affine": True, "qk_norm_bias": True},
    {"qk_norm_bias": True},
    {"qk_norm": False},
    {"qk_norm": False, "qk_norm_affine": True, "qk_norm_bias": True},
    {"qkv_bias": False},
    {"use_gated_mlp": True},
    {"use_gated_mlp": True, "hidden_act": "silu"},
    {"hidden_act": "silu"},
    {"hidden_act": "relu"},
    {"layerscale_value": None},
    {"layer_norm_eps": 0.1},
    {"rope_theta": 7.0},
    {"hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 37},
    {"num_hidden_layers": 3},
    {"image_size": 10, "patch_size": 2},
    {"num_channels": 1},
    {"pos_embed_rescale": 1.0},
    {"pos_embed_rescale": None, "drop_path_prob": 0.3, "attention_probs_dropout_prob": 0.2},
    {"hidden_dropout_prob": 0.1},
    ECG_NEPA,
    {**ECG_NEPA, "qk_norm_affine": True, "qk_norm_bias": True, "rope_theta": 50.0},
    {**ECG_NEPA, "signal_length": 90, "patch_size": 15, "image_size": 90},
]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@torch.no_grad()
def test_nepa(tmp_path: Path, flags: dict[str, Any]):
    config = NEPA | flags
    state = nepa_state(config)
    ecg = config["model_type"] == "vit_nepa_ecg"
    statistics = "ptb-xl" if ecg else None
    model = load_model(import_weights(nepa_folder(tmp_path / "theirs", config, state), tmp_path / "ours", statistics))
    size = (config["signal_length"],) if ecg else (config["image_size"],) * 2
    x = sample(config["num_channels"], *size)
    torch.testing.assert_close(
        torch.cat(model.encoder.features(x), 1), nepa_forward(config, state, x), rtol=1e-5, atol=1e-5
    )
    exported = export_nepa(tmp_path / "ours", tmp_path / "back")
    written = json.loads((exported / "config.json").read_text())
    same = config.keys() - {"model_type", "image_size", "pos_embed_rescale", "qk_norm_affine", "qk_norm_bias"}
    assert {key: written[key] for key in same} == {key: config[key] for key in same}
    again = load_model(import_weights(exported, tmp_path / "again", statistics))
    torch.testing.assert_close(again.encoder.features(x)[1], model.encoder.features(x)[1], rtol=0, atol=0)


def test_nepa_takes_the_official_defaults_for_keys_that_are_left_out(tmp_path: Path):
    """qk_norm false, qkv_bias true, rope_theta 100, no gate, LayerScale 1e-5, epsilon 1e-12, causal, rescale 2."""
    full = NEPA | {"qk_norm": False}
    sizes = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    short = {key: full[key] for key in (*sizes, "image_size", "patch_size")}
    model = load_model(import_weights(nepa_folder(tmp_path / "theirs", short, nepa_state(full)), tmp_path / "ours"))
    x = sample(3, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(
            torch.cat(model.encoder.features(x), 1), nepa_forward(full, nepa_state(full), x), rtol=1e-5, atol=1e-5
        )
    assert model.config.objective.encoder.positions.rescale == 2.0


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("flags", [{}, ECG_NEPA, {"problem_type": "multi_label_classification"}], ids=str)
@torch.no_grad()
def test_nepa_classifiers(tmp_path: Path, flags: dict[str, Any], pooled: bool, causal: bool):
    config = NEPA | flags | {"add_pooling_layer": pooled, "is_causal": causal, "id2label": {"0": "a", "1": "b"}}
    state, ecg = nepa_state(config, classes=3), config["model_type"] == "vit_nepa_ecg"
    folder = nepa_folder(tmp_path / "theirs", config, state)
    model = load_model(import_weights(folder, tmp_path / "ours", "ptb-xl" if ecg else None))
    assert model.head is not None
    assert model.config.classifier is not None
    assert model.config.classifier.classes == ("a", "b", "class 2")
    assert model.config.classifier.exclusive == (flags == {})
    x = sample(config["num_channels"], *((60,) if ecg else (12, 12)))
    outputs = nepa_forward(config, state, x)
    if pooled:
        weight, bias = state["fc_norm.weight"], state["fc_norm.bias"]
        vector = F.layer_norm(outputs[:, 1:].mean(1), weight.shape, weight, bias, 1e-12)
    else:
        vector = outputs[:, 0] if ecg else outputs[:, -1]
    expected = F.linear(vector, state["classifier.weight"], state["classifier.bias"])
    torch.testing.assert_close(model.head(*model.encoder.features(x)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_act": "gelu_new"}, "hidden_act is 'gelu_new'; supported are 'gelu' without use_gated_mlp"),
        ({"hidden_act": "relu", "use_gated_mlp": True}, "hidden_act is 'relu'; supported are"),
        ({"num_prompt_token": 2}, "num_prompt_token is 2; prompt tokens are not supported"),
        ({"pos_embed_shift": 0.1}, "pos_embed_shift is 0.1; shifts of positions"),
        ({"pos_embed_jitter": 1.1}, "pos_embed_jitter is 1.1; jitter of positions"),
        ({"pos_embed_rescale": 0.5}, "pos_embed_rescale is 0.5; it must be 1 or more"),
        ({"layerscale_value": 0.0}, "layerscale_value is 0.0; it must be positive"),
        ({"image_size": 13}, "patch_size is 4; 13 samples are not a multiple"),
        ({"problem_type": "regression"}, "problem_type is 'regression'; only classification"),
        ({"model_type": "vit_nepa_ecg", "signal_length": 60}, "its patches have two axes"),
    ],
)
def test_a_nepa_flag_that_is_not_computed_is_named_with_its_value(tmp_path: Path, values: dict, message: str):
    with pytest.raises(InputError, match=message) as error:
        import_weights(nepa_folder(tmp_path / "theirs", NEPA | values, nepa_state(NEPA)), tmp_path / "ours")
    assert "\n" not in str(error.value)


def test_constants_of_images_are_those_of_the_folder(tmp_path: Path):
    folder = nepa_folder(tmp_path / "theirs", NEPA, nepa_state(NEPA))
    processor = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.1, 0.2, 0.3], "size": {"height": 12, "width": 12}}

    def imported(name: str, **changes: object) -> dict[str, object]:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor | changes))
        return dict(load_model(import_weights(folder, tmp_path / name)).preprocessing)

    found = imported("plain")
    assert (found["mean"], found["std"]) == ([0.4, 0.5, 0.6], [0.1, 0.2, 0.3])
    found = imported("raw", do_normalize=False)
    assert (found["mean"], found["std"]) == ([0.0] * 3, [1.0] * 3)
    for key, value in (("resample", 3), ("rescale_factor", 1.0), ("do_rescale", False)):
        with pytest.raises(InputError, match=rf"preprocessor_config.json: {key} is {value}; .* supported"):
            imported("wrong", **{key: value})
    with pytest.raises(InputError, match=r"size is {'height': 16, 'width': 12}; image_size is 12"):
        imported("wrong", size={"height": 16, "width": 12})


# ViTs with a fused qkv: the encoders and predictors of ECG-JEPA, I-JEPA and V-JEPA


def blocks_of(prefix: str, depth: int, width: int, hidden: int, biases: tuple[bool, bool], scale: bool = False) -> dict:
    """Shapes of blocks and of the norm after them. biases: of qkv, of everything else."""
    qkv, other = biases
    shapes: dict[str, tuple[int, ...]] = {}
    layers = {
        "attn.qkv": (3 * width, width),
        "attn.proj": (width, width),
        "mlp.fc1": (hidden, width),
        "mlp.fc2": (width, hidden),
    }
    for number in range(depth):
        block = f"{prefix}blocks.{number}"
        for name, shape in layers.items():
            shapes[f"{block}.{name}.weight"] = shape
            if qkv if name == "attn.qkv" else other:
                shapes[f"{block}.{name}.bias"] = shape[:1]
        if scale:
            shapes[f"{block}.attn_ls.weight"] = shapes[f"{block}.mlp_ls.weight"] = (width,)
        for name in ("norm1", "norm2"):
            shapes[f"{block}.{name}.weight"] = (width,)
            if other:
                shapes[f"{block}.{name}.bias"] = (width,)
    return shapes


def with_bias(name: str, shape: tuple[int, ...], bias: bool = True) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape} | ({f"{name}.bias": shape[:1]} if bias else {})


def run_blocks(state: State, prefix: str, x: Tensor, heads: int, eps: float) -> Tensor:
    depth = sum(name.startswith(f"{prefix}blocks.") and name.endswith("norm1.weight") for name in state)
    for number in range(depth):
        block = f"{prefix}blocks.{number}"

        def at(name: str, x: Tensor, block: str = block) -> Tensor:
            return F.linear(x, state[f"{block}.{name}.weight"], state.get(f"{block}.{name}.bias"))

        def scaled(name: str, x: Tensor, block: str = block) -> Tensor:
            return x * state.get(f"{block}.{name}.weight", torch.ones(()))

        q, k, v = at("attn.qkv", normed(state, f"{block}.norm1", x, eps)).unflatten(-1, (3, heads, -1)).unbind(-3)
        scores = torch.einsum("blhd,bmhd->bhlm", q, k) / q.shape[-1] ** 0.5
        seen = torch.einsum("bhlm,bmhd->blhd", scores.softmax(-1), v).flatten(2)
        x = x + scaled("attn_ls", at("attn.proj", seen))
        x = x + scaled("mlp_ls", at("mlp.fc2", F.gelu(at("mlp.fc1", normed(state, f"{block}.norm2", x, eps)))))
    return x


def normed(state: State, name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state.get(f"{name}.bias"), eps)


def waves(count: int, dim: int) -> Tensor:
    """(count, dim / 2) angles of places 0, 1, ... at wavelengths from 2 pi to 20,000 pi."""
    return torch.arange(count)[:, None] / 10000 ** (torch.arange(dim // 2) * 2 / dim)


ECG_JEPA: dict[str, Any] = {
    "sampling_frequency": 500,
    "channels": ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"],
    "channel_size": 60,
    "patch_size": 5,
    "min_block_size": 2,
    "min_keep_ratio": 0.15,
    "max_keep_ratio": 0.25,
    "datasets": {"ptb-xl": 1.0},
    "dim": 24,
    "depth": 2,
    "num_heads": 3,
    "pred_dim": 12,
    "pred_depth": 1,
    "pred_num_heads": 2,
    "mlp_ratio": 4.0,
    "qkv_bias": False,
    "bias": False,
    "dropout": 0.0,
    "attn_dropout": 0.0,
    "num_registers": 1,
    "norm_eps": 1e-6,
    "layer_scale_eps": 0.0,
    "encoder_momentum": 0.998,
    "final_encoder_momentum": 0.9995,
}


def ecg_jepa_state(c: dict[str, Any]) -> State:
    d, p, biases = c["dim"], c["pred_dim"], (c["qkv_bias"], c["bias"])
    encoder = with_bias("patch_embed.proj", (d, len(c["channels"]), c["patch_size"]), c["bias"])
    encoder |= blocks_of("", c["depth"], d, int(d * c["mlp_ratio"]), biases, c["layer_scale_eps"] > 0)
    encoder |= with_bias("norm", (d,), c["bias"])
    if c["num_registers"]:
        encoder["registers"] = (1, c["num_registers"], d)
    predictor: dict[str, tuple[int, ...]] = {"mask_token": (1, 1, p)}
    predictor |= with_bias("embed", (p, d), c["bias"]) | with_bias("proj", (d, p), c["bias"])
    predictor |= blocks_of("", c["pred_depth"], p, int(p * c["mlp_ratio"]), biases) | with_bias("norm", (p,), c["bias"])
    parts = {"encoder": encoder, "target_encoder": encoder, "predictor": predictor}
    return drawn({f"{part}.{name}": shape for part, shapes in parts.items() for name, shape in shapes.items()})


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"qkv_bias": True},
        {"bias": True},
        {"bias": True, "qkv_bias": True, "layer_scale_eps": 0.1},
        {"layer_scale_eps": 1e-5},
        {"num_registers": 0},
        {"num_registers": 3},
        {"mlp_ratio": 2.6},  # 62.4 and 31.2 hidden units, of which the official code has 62 and 31
        {"mlp_ratio": 2.49},  # 59.76 and 29.88: 59 and 29
        {"norm_eps": 0.1},
        {"dim": 32, "num_heads": 4, "depth": 1, "pred_dim": 8, "pred_depth": 3, "pred_num_heads": 1},
        {"patch_size": 12, "channel_size": 96},
        {"channels": ["II", "V1", "V5"], "sampling_frequency": 250},
        {"dropout": 0.1, "attn_dropout": 0.1},
    ],
    ids=str,
)
@torch.no_grad()
def test_ecg_jepa(tmp_path: Path, flags: dict[str, Any]):
    c = ECG_JEPA | flags
    state = ecg_jepa_state(c)
    torch.save({"model": state, "config": c, "step": 7}, tmp_path / "chkpt.pt")
    model = load_model(import_weights(tmp_path / "chkpt.pt", tmp_path / "ours"))
    x, tokens = sample(len(c["channels"]), c["channel_size"]), c["channel_size"] // c["patch_size"]

    def places(dim: int) -> Tensor:  # sines and cosines alternate
        return torch.stack([waves(tokens, dim).sin(), waves(tokens, dim).cos()], -1).flatten(1)

    name = "target_encoder.patch_embed.proj"
    h = F.conv1d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride=c["patch_size"]).transpose(1, 2)
    h, registers = h + places(c["dim"]), c["num_registers"]
    if registers:
        h = torch.cat([state["target_encoder.registers"].expand(2, -1, -1), h], 1)
    h = normed(
        state,
        "target_encoder.norm",
        run_blocks(state, "target_encoder.", h, c["num_heads"], c["norm_eps"]),
        c["norm_eps"],
    )
    prefix, outputs = model.encoder.features(x)
    torch.testing.assert_close(outputs, h[:, registers:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(prefix, h[:, :registers], rtol=1e-5, atol=1e-5)

    kept, hidden = torch.tensor([[0, 3, 4], [1, 2, 5]]), torch.tensor([[1, 2], [0, 6]])
    rows = torch.arange(2)[:, None]
    at = places(c["pred_dim"])
    seen = F.linear(h[:, registers:][rows, kept], state["predictor.embed.weight"], state.get("predictor.embed.bias"))
    z = torch.cat([seen + at[kept], state["predictor.mask_token"] + at[hidden]], 1)
    z = run_blocks(state, "predictor.", z, c["pred_num_heads"], c["norm_eps"])[:, -2:]
    expected = F.linear(
        normed(state, "predictor.norm", z, c["norm_eps"]),
        state["predictor.proj.weight"],
        state.get("predictor.proj.bias"),
    )
    torch.testing.assert_close(predicted(model, outputs, kept, hidden), expected, rtol=1e-5, atol=1e-5)


def predicted(model: LoadedModel, outputs: Tensor, kept: Tensor, hidden: Tensor, group: int = 0) -> Tensor:
    """Our predictor on visible outputs, (B, T, D)."""
    assert model.predictor is not None
    visible = Packed(outputs[torch.arange(len(outputs))[:, None], kept].flatten(0, 1), Layout(*kept.shape))
    found = model.predictor(visible, kept, hidden[:, None], None, model.encoder.grid, group=group)
    return found.unflatten(0, hidden.shape)


META: dict[str, Any] = {
    "dim": 24,
    "depth": 2,
    "heads": 3,
    "hidden": 96,
    "patch": (4, 4),
    "grid": (3, 3),
    "predictor": 12,
    "predictor_depth": 1,
    "predictor_hidden": 48,
    "qkv_bias": True,
    "channels": 3,
}
VIDEO: dict[str, Any] = {"patch": (2, 4, 4), "grid": (2, 3, 3)}


def table(grid: tuple[int, ...], dim: int, uniform: bool) -> Tensor:
    """(N, dim) as published: a block per axis, sines then cosines; columns and rows, or time, rows and columns."""
    if len(grid) == 2:
        axes, sizes = (1, 0), (dim // 2, dim // 2)
    else:
        axes = (0, 1, 2)
        sizes = (2 * -(-dim // 6),) * 3 if uniform else (dim // 2, dim // 4, dim // 4)
    places = torch.cartesian_prod(*(torch.arange(n) for n in grid))
    blocks = [waves(max(grid), size)[places[:, axis]] for axis, size in zip(axes, sizes, strict=True)]
    return torch.cat([torch.cat([block.sin(), block.cos()], 1) for block in blocks], 1)[:, :dim]


def meta_checkpoint(c: dict[str, Any]) -> dict[str, Any]:
    d, p, video = c["dim"], c["predictor"], len(c["patch"]) == 3
    encoder = with_bias("patch_embed.proj", (d, c["channels"], *c["patch"])) | with_bias("norm", (d,))
    encoder |= blocks_of("", c["depth"], d, c["hidden"], (c["qkv_bias"], True))
    tokens = ("mask_tokens.0", "mask_tokens.1") if video else ("mask_token",)
    predictor: dict[str, tuple[int, ...]] = dict.fromkeys(tokens, (1, 1, p))
    predictor |= with_bias("predictor_embed", (p, d)) | with_bias("predictor_proj", (d, p))
    predictor |= blocks_of("predictor_", c["predictor_depth"], p, c["predictor_hidden"], (c["qkv_bias"], True))
    predictor |= with_bias("predictor_norm", (p,))
    uniform = c.get("uniform_power", True)
    filled = drawn(encoder) | {"pos_embed": table(c["grid"], d, uniform)[None]}
    filled_predictor = drawn(predictor) | {"predictor_pos_embed": table(c["grid"], p, uniform)[None]}
    prefix = "module.backbone." if video else "module."
    parts = {"encoder": filled, "target_encoder": filled, "predictor": filled_predictor}
    return {part: {f"{prefix}{name}": x for name, x in state.items()} for part, state in parts.items()} | {"epoch": 3}


@pytest.mark.parametrize(
    "flags",
    [
        {},
        {"qkv_bias": False},
        {"dim": 16, "heads": 4, "hidden": 40, "depth": 1},
        {"patch": (2, 2), "grid": (5, 5)},
        {"predictor": 36, "predictor_depth": 3, "predictor_hidden": 60},
        VIDEO,
        {**VIDEO, "uniform_power": False, "predictor": 24},
        {**VIDEO, "patch": (1, 2, 2), "grid": (3, 2, 2), "qkv_bias": False},
        {**VIDEO, "patch": (4, 6, 6), "dim": 48, "hidden": 130},
    ],
    ids=str,
)
@torch.no_grad()
def test_ijepa_and_vjepa(tmp_path: Path, flags: dict[str, Any]):
    c = META | flags
    video, checkpoint = len(c["patch"]) == 3, meta_checkpoint(c)
    torch.save(checkpoint, tmp_path / "jepa.pth.tar")
    model = load_model(import_weights(tmp_path / "jepa.pth.tar", tmp_path / "ours", heads=c["heads"]))
    prefix = "module.backbone." if video else "module."
    encoder, predictor = (
        {name.removeprefix(prefix): x for name, x in checkpoint[part].items()}
        for part in ("target_encoder", "predictor")
    )
    x = sample(3, *(n * k for n, k in zip(c["grid"], c["patch"], strict=True)))
    convolve = F.conv3d if video else F.conv2d
    h = convolve(x, encoder["patch_embed.proj.weight"], encoder["patch_embed.proj.bias"], stride=c["patch"])
    h = h.flatten(2).transpose(1, 2) + encoder["pos_embed"]
    h = normed(encoder, "norm", run_blocks(encoder, "", h, c["heads"], 1e-6), 1e-6)
    outputs = model.encoder.features(x)[1]
    torch.testing.assert_close(outputs, h, rtol=1e-5, atol=1e-5)

    kept, hidden = torch.tensor([[0, 3, 4], [1, 2, 5]]), torch.tensor([[1, 2], [0, 6]])
    places, rows = predictor["predictor_pos_embed"][0], torch.arange(2)[:, None]
    seen = (
        F.linear(h[rows, kept], predictor["predictor_embed.weight"], predictor["predictor_embed.bias"]) + places[kept]
    )
    for group in range(2 if video else 1):
        mask = predictor[f"mask_tokens.{group}" if video else "mask_token"]
        z = run_blocks(predictor, "predictor_", torch.cat([seen, mask + places[hidden]], 1), c["heads"], 1e-6)[:, -2:]
        z = normed(predictor, "predictor_norm", z, 1e-6)
        expected = F.linear(z, predictor["predictor_proj.weight"], predictor["predictor_proj.bias"])
        torch.testing.assert_close(predicted(model, outputs, kept, hidden, group), expected, rtol=1e-5, atol=1e-5)


def test_other_channels_than_rgb_are_named(tmp_path: Path):
    torch.save(meta_checkpoint(META | {"channels": 1}), tmp_path / "jepa.pth.tar")
    with pytest.raises(InputError, match="its patches have 1 channels; only RGB images with 3 are supported"):
        import_weights(tmp_path / "jepa.pth.tar", tmp_path / "ours", heads=3)
