"""Export encoders in layouts of `transformers`: I-JEPA or ViT for images, V-JEPA 2 with its predictor for videos."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.nn.positions import AxialRotaryConfig, RotaryConfig
from anyjepa.nn.predictor import MaskedPredictor
from anyjepa.nn.transformer import BlockConfig
from anyjepa.nn.vit import ViT
from anyjepa.weights.folder import LoadedModel
from anyjepa.weights.foreign import QKV
from anyjepa.weights.source import CONFIG, PROCESSOR, WEIGHTS
from anyjepa.weights.tensors import dump_tensors
from anyjepa.writing import replacing

FILES = (CONFIG, WEIGHTS[0], PROCESSOR)
IMAGE = (
    ("transformer.blocks.", "encoder.layer."),
    ("project.", "embeddings.patch_embeddings.projection."),
    (".attn.proj.", ".attention.output.dense."),
    (".attn.", ".attention.attention."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".mlp.fc1.", ".intermediate.dense."),
    (".mlp.fc2.", ".output.dense."),
)
VIDEO = (
    ("transformer.blocks.", "layer."),
    ("project.", "embeddings.patch_embeddings.proj."),
    ("embed.", "embeddings.predictor_embeddings."),
    (".attn.", ".attention."),
)


def export_transformers(loaded: LoadedModel, folder: Path) -> Path:
    """Write the encoder of a model, and the predictor of V-JEPA 2, for `transformers`; no classifier heads.

    Linear layers and norms without a bias get a zero one. Raises InputError for a model without such a layout, and for
    a folder with other files.
    """
    if folder.exists() and (not folder.is_dir() or any(file.name not in FILES for file in folder.iterdir())):
        raise InputError(f"{folder}: contains other files; choose another folder")
    encoder = loaded.encoder
    if not isinstance(encoder, ViT):
        raise InputError(f"{loaded.folder}: its encoder is {encoder.config.kind}; only a vit can be exported")
    if len(encoder.size) == 1:
        raise InputError(
            f"{loaded.folder}: reads ECGs or other series, but transformers has layouts for images and videos only; "
            "write ONNX with anyjepa export"
        )
    axial = isinstance(encoder.config.positions, AxialRotaryConfig)
    tensors, config = _video(loaded, encoder) if axial else _image(loaded, encoder)
    with replacing(folder) as new:
        new.mkdir()
        (new / WEIGHTS[0]).write_bytes(dump_tensors(tensors, {}))
        (new / CONFIG).write_text(json.dumps(config | {"dtype": "float32"}, indent=2) + "\n")
        if not axial:
            (new / PROCESSOR).write_text(json.dumps(_processor(loaded.preprocessing), indent=2) + "\n")
    return folder


def _image(loaded: LoadedModel, encoder: ViT) -> tuple[dict[str, Tensor], dict[str, object]]:
    config = encoder.config
    rotary = isinstance(config.positions, RotaryConfig)
    sides, patch = set(encoder.size), set(config.patch)
    _check(
        loaded,
        config.block,
        (len(encoder.size) == 2, "encoder.positions", f"{config.positions.kind}, not axial, in a model of videos"),
        (len(sides) == len(patch) == 1, "size", f"{encoder.size}; images must be square"),
        (not rotary, "encoder.positions", "rotary"),
        (config.registers == 0, "encoder.registers", config.registers),
        (not config.causal, "encoder.causal", config.causal),
        (not config.absent, "encoder.absent", config.absent),
        (not (config.cross or config.separate), "encoder.cross or encoder.separate", True),
        (not config.positions_again, "encoder.positions_again", True),
        (config.block.norm_first, "encoder.block.norm_first", False),
    )
    assert encoder.positions is not None
    table = encoder.positions(encoder.grid).detach()[None]
    state = _named(_with_biases(encoder, config.block), IMAGE)
    state["embeddings.patch_embeddings.projection.weight"] = encoder.project.weight.detach().unflatten(
        1, (encoder.channels, *config.patch)
    )
    if config.cls:
        state["embeddings.cls_token"] = encoder.prefix.detach()[None]
        table = torch.cat([table.new_zeros(1, 1, config.dim), table], dim=1)
    state["embeddings.position_embeddings"] = table
    about = {
        "architectures": ["ViTModel" if config.cls else "IJepaModel"],
        "model_type": "vit" if config.cls else "ijepa",
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "intermediate_size": round(config.dim * config.block.mlp_ratio),
        "hidden_act": config.block.mlp,
        "layer_norm_eps": config.block.norm_eps,
        "image_size": max(sides),
        "patch_size": max(patch),
        "num_channels": encoder.channels,
        "qkv_bias": config.block.qkv_bias,
    }
    return state, about


def _video(loaded: LoadedModel, encoder: ViT) -> tuple[dict[str, Tensor], dict[str, object]]:
    config, predictor = encoder.config, loaded.predictor
    if not isinstance(predictor, MaskedPredictor):
        raise InputError(f"{loaded.folder}: has no predictor of masked tokens, which V-JEPA 2 of transformers needs")
    own, block = predictor.config, predictor.config.block
    same = (block.norm_eps, block.qkv_bias, block.mlp) == (
        config.block.norm_eps,
        config.block.qkv_bias,
        config.block.mlp,
    )
    time, *sides = encoder.size
    tube, *patch = config.patch
    for part in (config.block, block):
        _check(
            loaded,
            part,
            (config.positions == AxialRotaryConfig(), "encoder.positions", "not as in V-JEPA 2"),
            (len(sides) == 2 and len({*sides}) == len({*patch}) == 1, "size", f"{encoder.size}; frames must be square"),
            (isinstance(own.positions, AxialRotaryConfig), "predictor.positions", own.positions.kind),
            (own.positions == AxialRotaryConfig(), "predictor.positions", "not as in V-JEPA 2"),
            (not config.levels, "encoder.levels", config.levels),
            (own.hidden is None and own.out is None, "predictor.hidden or predictor.out", own.hidden or own.out),
            (part.mlp == "gelu" and same, "predictor.block", "another than that of the encoder, or without GELU"),
            (len(encoder.prefix) == 0, "encoder.registers", len(encoder.prefix)),
            (not config.causal and not config.absent, "encoder.causal or encoder.absent", True),
            (not (config.cross or config.separate), "encoder.cross or encoder.separate", True),
            (part.norm_first, "block.norm_first", False),
        )
    state: dict[str, Tensor] = {}
    for name, part, heads in (("encoder", encoder, config.heads), ("predictor", predictor, own.heads)):
        tensors = _named(_unpaired(_with_biases(part, part.config.block), heads), VIDEO)
        state |= {f"{name}.{key}": tensor for key, tensor in tensors.items()}
    weight = encoder.project.weight.detach().unflatten(1, (encoder.channels, *config.patch))
    state["encoder.embeddings.patch_embeddings.proj.weight"] = weight
    state["predictor.embeddings.mask_tokens"] = predictor.mask_tokens.detach()[:, None, None]
    about = {
        "architectures": ["VJEPA2Model"],
        "model_type": "vjepa2",
        "hidden_size": config.dim,
        "num_hidden_layers": config.depth,
        "num_attention_heads": config.heads,
        "mlp_ratio": _ratio(config.block, config.dim),
        "layer_norm_eps": config.block.norm_eps,
        "qkv_bias": config.block.qkv_bias,
        "crop_size": sides[0],
        "patch_size": patch[0],
        "frames_per_clip": time,
        "tubelet_size": tube,
        "in_chans": encoder.channels,
        "pred_hidden_size": int(own.dim),
        "pred_num_hidden_layers": int(own.depth),
        "pred_num_attention_heads": own.heads,
        "pred_num_mask_tokens": own.mask_tokens,
        "pred_mlp_ratio": _ratio(block, int(own.dim)),
    }
    return state, about


def _check(loaded: LoadedModel, block: BlockConfig, *others: tuple[bool, str, object]) -> None:
    """Raise InputError with the first setting that the layouts do not have. others: fits, key and value."""
    for fits, key, value in (
        *others,
        (block.mlp in ("gelu", "relu", "silu"), "block.mlp", block.mlp),
        (block.norm == "layer", "block.norm", block.norm),
        (block.qk_norm == "off", "block.qk_norm", block.qk_norm),
        (block.layer_scale is None, "block.layer_scale", block.layer_scale),
    ):
        if not fits:
            raise InputError(f"{loaded.folder}: {key} is {value}, which the layouts of transformers do not support")


def _ratio(block: BlockConfig, width: int) -> float:
    """Ratio of the MLP that gives the same width when the product is rounded down."""
    return (round(width * block.mlp_ratio) + 0.5) / width


def _with_biases(part: ViT | MaskedPredictor, block: BlockConfig) -> dict[str, Tensor]:
    """Tensors of a part, with zero biases for layers without one, except for queries, keys and values."""
    apart = ("prefix", "positions.learned", "mask_tokens")  # these have other shapes there
    state = {name: tensor for name, tensor in part.state_dict().items() if name not in apart}
    if block.bias:
        return state
    layers = [name for name in state if name.endswith(".weight") and ".qkv." not in name]
    return state | {name.removesuffix("weight") + "bias": torch.zeros(len(state[name])) for name in layers}


def _named(state: Mapping[str, Tensor], names: Sequence[tuple[str, str]]) -> dict[str, Tensor]:
    """Rename tensors, and separate queries, keys and values."""
    made: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = f"layernorm.{name.removeprefix('norm.')}" if name.startswith("norm.") else name
        for ours, theirs in names:
            new = new.replace(ours, theirs)
        if ".qkv." in new:
            made |= {new.replace("qkv", part): piece for part, piece in zip(QKV, tensor.chunk(3), strict=True)}
        else:
            made[new] = tensor
    return made


def _unpaired(state: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Queries and keys in the order of V-JEPA 2; the inverse of what the import does."""
    made = dict(state)
    for name, tensor in state.items():
        if ".qkv." in name:
            *rotated, values = tensor.chunk(3)
            pairs = [part.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2) for part in rotated]
            made[name] = torch.cat([*pairs, values])
    return made


def _processor(preprocessing: Mapping[str, object]) -> dict[str, object]:
    """preprocessor_config.json that cuts, resizes and standardises as closely as `transformers` can."""
    side, centre = preprocessing["side"], preprocessing.get("centre", 1.0)
    assert isinstance(side, int)
    assert isinstance(centre, float)
    return {
        "image_processor_type": "BitImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": round(side / centre)},
        "resample": 2,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": preprocessing["mean"],
        "image_std": preprocessing["std"],
    }
