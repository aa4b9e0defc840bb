"""Models of the official NEPA code (Xu et al. 2025, github.com/SihanXU/nepa), a Hugging Face folder, both ways.

Two kinds: `ViTNepaForPreTraining`, and `ViTNepaForImageClassification` with its head. Beside the first there may be
`pytorch_model_ema.bin`, the average of its weights. An ECG model has the same layout with one-dimensional patches.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt
from torch import Tensor

from anyjepa.config import Config, Share, validated
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.errors import InputError, did_you_mean, one_line
from anyjepa.objectives.next_embedding import NextEmbeddingConfig
from anyjepa.weights.folder import save_model
from anyjepa.weights.foreign import read_foreign, read_json, renamed
from anyjepa.weights.model import ModelConfig, Provenance
from anyjepa.weights.tensors import check_digest, read_tensors

# Official names and ours, replaced in this order both ways.
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
# Linear layers that are one here, by their parts in order; a plain MLP has no gate.
JOINED = {"qkv": ("query", "key", "value"), "fc1": ("gate_proj", "up_proj")}
PROJECTION = "vit_nepa.embeddings.patch_embeddings.projection.weight"
AVERAGE = "pytorch_model_ema.bin"
FS = 500.0  # Hz, of the ECG port; a folder does not say it
CENTRE = 0.875  # of the shorter side, in evaluation: 224 of 256 pixels


class OfficialConfig(Config):
    """The keys of the official config.json that a model depends on; training settings are passed over."""

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["vit_nepa"]
    hidden_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    intermediate_size: PositiveInt
    image_size: PositiveInt
    patch_size: PositiveInt
    num_channels: PositiveInt
    hidden_act: Literal["gelu", "silu"]
    hidden_dropout_prob: Share = 0.0
    attention_probs_dropout_prob: Share = 0.0
    drop_path_prob: Share = 0.0
    layer_norm_eps: PositiveFloat
    layerscale_value: PositiveFloat | None
    qkv_bias: bool
    qk_norm: bool
    qk_norm_affine: bool
    qk_norm_bias: bool
    rope_theta: PositiveFloat
    pos_embed_rescale: float | None = None
    pos_embed_shift: None = None
    pos_embed_jitter: None = None
    num_prompt_token: Literal[0] = 0
    use_gated_mlp: bool
    is_causal: bool
    add_pooling_layer: bool = True
    id2label: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Converted:
    """An official folder in this project's terms, with the arguments of `save_model`."""

    config: ModelConfig
    tensors: dict[str, Tensor]
    student: dict[str, Tensor] | None
    preprocessing: dict[str, object]


def import_nepa(path: Path | str, folder: Path | str, statistics: str | None = None) -> Path:
    """Write an official folder as a model folder: the average of the weights as the model, where there is one.

    statistics: of an ECG model, the data set whose published constants standardise new recordings; the folder has none.
    InputError for anything that does not fit.
    """
    made = convert(Path(path), statistics)
    return save_model(folder, made.config, made.tensors, made.preprocessing, made.student)


def is_nepa(path: Path) -> bool:
    """Whether a folder's config.json says that it has the official layout."""
    try:
        config = read_json(path / "config.json")
    except InputError:
        return False
    return isinstance(config, dict) and config.get("model_type") == "vit_nepa"


def convert(path: Path, statistics: str | None = None, constants: bool = True) -> Converted:
    """Config, weights and preprocessing of an official folder. constants: whether the preprocessing is wanted."""
    if not path.is_dir():
        raise InputError(f"{path}: is no folder; the official layout is a folder of config.json and model.safetensors")
    where, official = str(path), read_official(path)
    raw, metadata = read_tensors(path / "model.safetensors")
    check_digest(path / "model.safetensors", raw, metadata)
    if PROJECTION not in raw or raw[PROJECTION].ndim not in (3, 4):
        raise InputError(f"{where}: tensor '{PROJECTION}', the convolution of patches, is missing or of another shape")
    axes = raw[PROJECTION].ndim - 2  # of an ECG 1, of images 2
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
            "size": (official.image_size,) * axes,
            "weights": weights,
            "predictor": False,
            "classifier": classifier,
            "provenance": Provenance(
                data="not said by the folder", origin=f"official NEPA folder {one_line(path.resolve().name)}"
            ),
        },
        where,
    )
    preprocessing = _preprocessing(where, official, axes, statistics) if constants else {}
    return Converted(config, average or tensors, tensors if average else None, preprocessing)


def read_official(path: Path) -> OfficialConfig:
    """config.json of an official folder. InputError for what this project does not compute."""
    official = validated(OfficialConfig, read_json(path / "config.json"), f"{path}/config.json")
    if official.qk_norm and official.qk_norm_bias and official.qk_norm_affine:
        raise InputError(f"{path}/config.json: qk_norm_bias is true; a bias of the q and k norms is not supported")
    if official.use_gated_mlp != (official.hidden_act == "silu"):
        raise InputError(
            f"{path}/config.json: hidden_act '{official.hidden_act}' with use_gated_mlp {official.use_gated_mlp} is "
            "not supported; plain 'gelu' and gated 'silu' are"
        )
    return official


def from_official(where: str, tensors: Mapping[str, object]) -> dict[str, Tensor]:
    """Official tensors (or their gradients) under our names and in our shapes.

    The mask token, which nothing uses, is left out. Unknown names stay as they are.
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
        elif name == "encoder.project.weight":
            ours[name] = tensor.flatten(1)
        else:
            ours[name] = tensor.flatten(0, 1) if name == "encoder.prefix" and tensor.ndim == 3 else tensor
    for name, found in parts.items():
        order = JOINED[name.split(".")[-2]]
        try:
            ours[name] = torch.cat([found[part] for part in order if part in found])
        except RuntimeError as error:
            raise InputError(f"{where}: the parts of tensor '{name}' do not fit together ({error})") from None
    return ours


def _objective(where: str, official: OfficialConfig, axes: int, classifier: bool) -> NextEmbeddingConfig:
    if not official.is_causal and not classifier:
        raise InputError(f"{where}/config.json: is_causal is false; a model that predicts the next patch is causal")
    block = {
        "mlp": "swiglu" if official.use_gated_mlp else "gelu",
        "mlp_ratio": official.intermediate_size / official.hidden_size,
        "bias": True,
        "qkv_bias": official.qkv_bias,
        "qk_norm": ("affine" if official.qk_norm_affine else "plain") if official.qk_norm else "off",
        "norm_eps": official.layer_norm_eps,
        "layer_scale": official.layerscale_value,
        "drop_path": official.drop_path_prob,
        "dropout": official.hidden_dropout_prob,
        "attention_dropout": official.attention_probs_dropout_prob,
    }
    positions = {
        "kind": "rotary",
        "theta": official.rope_theta,
        "rescale": official.pos_embed_rescale,
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
    count = len(tensors["head.read.weight"])
    head = {"kind": "mean", "norm": official.layer_norm_eps} if official.add_pooling_layer else {"kind": "last"}
    return {
        "head": head | {"bias": True},
        "classes": tuple(official.id2label.get(str(number), f"class {number}") for number in range(count)),
        "exclusive": True,
        "causal": official.is_causal,
    }


def _preprocessing(where: str, official: OfficialConfig, axes: int, statistics: str | None) -> dict[str, object]:
    if axes == 2:
        if statistics is not None:
            raise InputError(
                f"{where}: is a model of images, standardised by .5; leave the data set '{statistics}' out"
            )
        if official.num_channels != 3:
            raise InputError(f"{where}: num_channels is {official.num_channels}; images have 3, red, green and blue")
        half = [0.5] * 3
        size = {"side": official.image_size, "centre": CENTRE}
        return {"kind": "images", "colours": "rgb", "mean": half, "std": half, **size}
    if official.num_channels != len(LEADS):
        raise InputError(f"{where}: num_channels is {official.num_channels}; an ECG model has the {len(LEADS)} leads")
    if statistics is None:
        raise InputError(
            f"{where}: is a model of ECGs without its constants; name the data set whose to use by --statistics: "
            f"{', '.join(CATALOGUE)}"
        )
    if statistics not in CATALOGUE:
        hint = did_you_mean(statistics, CATALOGUE)
        raise InputError(f"{where}: there are no constants of data set '{statistics}'{hint}")
    mean, std = CATALOGUE[statistics].constants()
    raw = {"fs": FS, "samples": official.image_size, "mean": mean, "std": std}
    return validated(EcgPreprocessing, raw, where).model_dump(mode="json")
