"""Export next-embedding models in the layout of the official NEPA code: config.json and model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.nn.pooling import HeadConfig
from anyjepa.nn.positions import RotaryConfig
from anyjepa.nn.transformer import GATED
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.base import Weights
from anyjepa.objectives.next_embedding import NextEmbeddingConfig
from anyjepa.weights.folder import LoadedModel, load_model
from anyjepa.weights.model import ModelConfig
from anyjepa.weights.nepa import JOINED, NAMES
from anyjepa.weights.nepa_config import MLPS
from anyjepa.weights.tensors import dump_tensors
from anyjepa.writing import replacing

FILES = ("config.json", "model.safetensors")


def export_nepa(path_or_id: Path | str, folder: Path | str, weights: Weights | None = None) -> Path:
    """Write a model in the official layout, which `import_weights` reads back with identical tensors.

    weights: weights of the folder to export, by default its model. Raises InputError for a model that the layout does
    not support, and for a folder with other files.
    """
    loaded, folder = load_model(path_or_id, weights), Path(folder)
    config = official_config(loaded)
    if folder.exists() and (not folder.is_dir() or any(file.name not in FILES for file in folder.iterdir())):
        raise InputError(f"{folder}: contains other files; choose another folder")
    state = {f"encoder.{name}": tensor for name, tensor in loaded.encoder.state_dict().items()}
    state |= {f"head.{name}": tensor for name, tensor in (loaded.head.state_dict() if loaded.head else {}).items()}
    with replacing(folder) as new:
        new.mkdir()
        (new / "model.safetensors").write_bytes(dump_tensors(to_official(loaded.config, state), {}))
        (new / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return folder


def to_official(config: ModelConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors with official names and shapes; the inverse of `from_official`."""
    encoder = config.objective.encoder
    assert isinstance(encoder, ViTConfig)
    patch, channels = encoder.patch, config.channels
    official: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name == "encoder.project.weight":
            tensor = tensor.unflatten(1, (channels, *patch))
        elif name == "encoder.prefix":
            tensor = tensor.unsqueeze(0)
        layer, _, rest = name.rpartition(".")
        stem, _, last = layer.rpartition(".")
        parts = JOINED.get(last, ())
        if last == "fc1" and encoder.block.mlp not in GATED:
            parts = parts[1:]
        official |= (
            {f"{stem}.{part}.{rest}": piece for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True)}
            if parts
            else {name: tensor}
        )
    return {_named(name): tensor.contiguous() for name, tensor in official.items()}


def official_config(loaded: LoadedModel) -> dict[str, object]:
    """Make config.json of the official layout. Raises InputError with the first setting that it does not support."""
    where, config = str(loaded.folder), loaded.config
    objective, classifier = config.objective, config.classifier
    if not isinstance(objective, NextEmbeddingConfig):
        raise InputError(f"{where}: its objective is {objective.kind}; the NEPA layout is for next_embedding only")
    encoder = objective.encoder
    if type(encoder) is not ViTConfig:
        raise InputError(f"{where}: its encoder is {encoder.kind}; the NEPA layout is for a vit only")
    block, positions, head = encoder.block, encoder.positions, None if classifier is None else classifier.head
    assert isinstance(positions, RotaryConfig), "checked by the config of the objective"
    square = len(set(config.size)) == len(set(encoder.patch)) == 1 and len(encoder.patch) <= 2
    if head is not None and not isinstance(head, HeadConfig):
        raise InputError(f"{where}: its head is {head.kind}, which the NEPA layout does not support")
    pooled = head is not None and head.kind == "mean" and head.norm == block.norm_eps
    for fits, key, value in (
        (square, "size", config.size),
        (objective.horizon == 1, "objective.horizon", objective.horizon),
        (encoder.cls and not encoder.registers, "encoder.registers", encoder.registers),
        (block.bias, "encoder.block.bias", block.bias),
        (block.norm == "layer", "encoder.block.norm", block.norm),
        (block.norm_first, "encoder.block.norm_first", block.norm_first),
        (head is None or (head.bias and not head.standardise), "classifier.head", head),
        (head is None or pooled or (head.kind == "last" and head.norm is None), "classifier.head", head),
    ):
        if not fits:
            raise InputError(f"{where}: {key} is {value}, which the NEPA layout does not support")
    act, gated = next(theirs for theirs, mine in MLPS.items() if mine == block.mlp)
    config_json: dict[str, object] = {
        "architectures": [f"ViTNepaFor{'PreTraining' if classifier is None else 'ImageClassification'}"],
        "model_type": "vit_nepa",
        "dtype": "float32",
        "hidden_size": encoder.dim,
        "num_hidden_layers": encoder.depth,
        "num_attention_heads": encoder.heads,
        "intermediate_size": round(encoder.dim * block.mlp_ratio),
        "image_size": max(config.size),  # both sides are equal
        "patch_size": max(encoder.patch),
        "num_channels": config.channels,
        "hidden_act": act,
        "use_gated_mlp": gated,
        "hidden_dropout_prob": block.dropout,
        "attention_probs_dropout_prob": block.attention_dropout,
        "drop_path_prob": block.drop_path,
        "initializer_range": 0.02,
        "layer_norm_eps": block.norm_eps,
        "layerscale_value": block.layer_scale,
        "qkv_bias": block.qkv_bias,
        "qk_norm": block.qk_norm != "off",
        "qk_norm_affine": block.qk_norm in ("affine", "biased"),
        "qk_norm_bias": block.qk_norm == "biased",
        "rope_theta": positions.theta,
        "pos_embed_rescale": positions.rescale,
        "pos_embed_shift": None,
        "pos_embed_jitter": None,
        "num_prompt_token": 0,
        "is_causal": True if classifier is None or classifier.causal is None else classifier.causal,
        "add_pooling_layer": classifier is None or pooled,
    }
    if len(encoder.patch) == 1:
        config_json["signal_length"] = max(config.size)
    if classifier is not None:
        several = {False: "multi_label_classification", True: "single_label_classification"}
        config_json["problem_type"] = several[classifier.exclusive]
        config_json["id2label"] = {str(number): name for number, name in enumerate(classifier.classes)}
        config_json["label2id"] = {name: number for number, name in enumerate(classifier.classes)}
    return config_json


def _named(name: str) -> str:
    for theirs, mine in NAMES:
        name = name.replace(mine, theirs)
    return name
