"""Import models of the official NEPA code (Xu et al. 2025, github.com/SihanXU/nepa), which are Hugging Face folders.

There are two kinds: `ViTNepaForPreTraining`, and `ViTNepaForImageClassification` with a head. A pretrained model can
have `pytorch_model_ema.bin`, an average of the weights. An ECG model has the same layout with one-dimensional patches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from anyjepa.config import validated
from anyjepa.errors import InputError, one_line
from anyjepa.objectives.next_embedding import NextEmbeddingConfig
from anyjepa.weights.foreign import Converted, read_foreign, renamed
from anyjepa.weights.model import ModelConfig, Provenance
from anyjepa.weights.nepa_config import MLPS, OfficialConfig, preprocessing_of, read_official
from anyjepa.weights.tensors import check_digest, read_tensors

# Official names and ours, replaced in this order in both directions.
NAMES = (
    ("vit_nepa.embeddings.cls_token", "encoder.prefix"),
    ("vit_nepa.embeddings.patch_embeddings.projection.", "encoder.project."),
    ("vit_nepa.layernorm.", "encoder.norm."),
    ("vit_nepa.encoder.layer.", "encoder.transformer.blocks."),
    ("fc_norm.", "head.norm."),
    ("classifier.", "head.read."),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".attention.output.dense.", ".attn.proj."),
    (".attention.attention.", ".attn."),
    (".output.dense.", ".mlp.fc2."),
    (".intermediate.", ".mlp."),
    (".output.layer_scale.lambda1", ".scale2"),
    (".layer_scale.lambda1", ".scale1"),
)
# Linear layers that are merged here -> their parts in order; a plain MLP has no gate.
JOINED = {"qkv": ("query", "key", "value"), "fc1": ("gate_proj", "up_proj")}
PROJECTION = "vit_nepa.embeddings.patch_embeddings.projection.weight"
AVERAGE = "pytorch_model_ema.bin"
MODEL_TYPES = ("vit_nepa", "vit_nepa_ecg")


def convert(path: Path, statistics: str | None = None, constants: bool = True) -> Converted:
    """Convert the config, weights and preprocessing of an official folder.

    The average of the weights is the model if there is one. statistics: for ECG models, whose folder has no constants,
    the data set whose published constants standardise new recordings; constants: include the preprocessing.
    """
    if not path.is_dir():
        raise InputError(
            f"{path}: is not a folder; the official layout is a folder with config.json and model.safetensors"
        )
    where, official = str(path), read_official(path)
    raw, metadata = read_tensors(path / "model.safetensors")
    check_digest(path / "model.safetensors", raw, metadata)
    if PROJECTION not in raw or raw[PROJECTION].ndim not in (3, 4):
        raise InputError(f"{where}: tensor '{PROJECTION}', the convolution of patches, is missing or has another shape")
    axes = raw[PROJECTION].ndim - 2  # 1 for ECGs, 2 for images
    if official.ecg and axes == 2:
        raise InputError(f"{where}: model_type is vit_nepa_ecg, but its patches have two axes, as for images")
    tensors = from_official(where, raw)
    classifier = _classifier(tensors, official) if "head.read.weight" in tensors else None
    average = None
    if classifier is None and (path / AVERAGE).is_file():
        average = from_official(f"{where}/{AVERAGE}", read_foreign(path / AVERAGE))
    weights = "fine-tuned" if classifier else "average" if average else "student"
    config = validated(
        ModelConfig,
        {
            "objective": _objective(where, official, axes, classifier is not None),
            "channels": official.num_channels,
            "size": (official.length,) * axes,
            "weights": weights,
            "predictor": False,
            "classifier": classifier,
            "provenance": Provenance(
                data="unknown (not in the folder)",
                origin=f"official NEPA folder {one_line(path.resolve().name)}",
                notes=_notes(official),
            ),
        },
        where,
    )
    preprocessing = preprocessing_of(path, official, axes, statistics) if constants else {}
    return Converted(config, average or tensors, preprocessing, tensors if average else None)


def _notes(official: OfficialConfig) -> tuple[str, ...]:
    if official.hidden_dropout_prob == 0:
        return ()
    return (
        f"hidden_dropout_prob {official.hidden_dropout_prob}: the official code applies dropout to the embedded "
        "patches and not inside the MLP; evaluation gives the same numbers.",
    )


def from_official(where: str, tensors: Mapping[str, object]) -> dict[str, Tensor]:
    """Official tensors (or their gradients) with our names and shapes.

    The mask token is dropped, because it is not used. Unknown names are kept.
    """
    used = {name: tensor for name, tensor in tensors.items() if not str(name).endswith(".mask_token")}
    ours: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in renamed(where, used, [(re.escape(theirs), mine) for theirs, mine in NAMES]).items():
        stem, _, rest = name.rpartition(".")
        layer, _, part = stem.rpartition(".")
        whole = next((whole for whole, names in JOINED.items() if part in names), None)
        if whole:
            parts.setdefault(f"{layer}.{whole}.{rest}", {})[part] = tensor
        elif name == "encoder.project.weight" and tensor.ndim > 2:
            ours[name] = tensor.flatten(1)
        else:
            ours[name] = tensor.flatten(0, 1) if name == "encoder.prefix" and tensor.ndim == 3 else tensor
    for name, group in parts.items():
        order = JOINED[name.split(".")[-2]]
        try:
            ours[name] = torch.cat([group[part] for part in order if part in group])
        except RuntimeError as error:
            raise InputError(f"{where}: the parts of tensor '{name}' cannot be concatenated ({error})") from None
    return ours


def _objective(where: str, official: OfficialConfig, axes: int, classifier: bool) -> NextEmbeddingConfig:
    if not official.is_causal and not classifier:
        raise InputError(f"{where}/config.json: is_causal is false; a model that predicts the next patch is causal")
    norms = "biased" if official.qk_norm_bias else "affine"
    block = {
        "mlp": MLPS[official.hidden_act, official.use_gated_mlp],
        "mlp_ratio": official.intermediate_size / official.hidden_size,
        "bias": True,
        "qkv_bias": official.qkv_bias,
        "qk_norm": (norms if official.qk_norm_affine else "plain") if official.qk_norm else "off",
        "norm_eps": official.layer_norm_eps,
        "layer_scale": official.layerscale_value,
        "drop_path": official.drop_path_prob,
        "dropout": official.hidden_dropout_prob,
        "attention_dropout": official.attention_probs_dropout_prob,
    }
    positions = {
        "kind": "rotary",
        "theta": official.rope_theta,
        "rescale": None if official.pos_embed_rescale == 1 else official.pos_embed_rescale,
        "span": "input",
    }
    encoder = {
        "patch": (official.patch_size,) * axes,
        "dim": official.hidden_size,
        "depth": official.num_hidden_layers,
        "heads": official.num_attention_heads,
        "positions": positions,
        "block": block,
        "cls": True,
        "causal": True,
        "init": "plain",
    }
    return validated(NextEmbeddingConfig, {"encoder": encoder}, f"{where}/config.json")


def _classifier(tensors: Mapping[str, Tensor], official: OfficialConfig) -> dict[str, object]:
    """Classifier settings. Without pooling, images use the last token and ECGs the CLS token; ECGs are multi-label."""
    count = len(tensors["head.read.weight"])
    unpooled = {"kind": "register" if official.ecg else "last"}
    head = {"kind": "mean", "norm": official.layer_norm_eps} if official.add_pooling_layer else unpooled
    several = official.problem_type == "multi_label_classification" or (official.ecg and official.problem_type is None)
    return {
        "head": head | {"bias": "head.read.bias" in tensors},
        "classes": tuple(official.id2label.get(str(number), f"class {number}") for number in range(count)),
        "exclusive": not several,
        "causal": official.is_causal,
    }
