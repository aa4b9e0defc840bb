"""Import V-JEPA 2 (Assran et al. 2025): official checkpoints, and folders of `transformers` with encoder and predictor.

Sizes are those of the tensors. Rotary positions do not depend on the size of a clip, so an official file does not say
it; the model then takes clips of `SIZE`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import ConfigDict, PositiveFloat, PositiveInt
from torch import Tensor

from anyjepa.config import Config, validated
from anyjepa.errors import InputError, one_line
from anyjepa.masks.blocks import BlocksConfig
from anyjepa.masks.tubes import TubesConfig
from anyjepa.nn.positions import AxialRotaryConfig
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.weights import meta_jepa
from anyjepa.weights.foreign import Converted, joined, renamed
from anyjepa.weights.meta_jepa import CENTRE, MEAN, PARTS, STD, from_official, network, published_heads, under
from anyjepa.weights.model import ModelConfig, Provenance
from anyjepa.weights.source import Source
from anyjepa.weights.tensors import single_precision

SIZE = (64, 256, 256)  # frames and pixels of a clip
STRIDE = 7  # frames between frames of a clip: pretraining used 4 of 30 frames per second
HEADS = meta_jepa.HEADS | {1408: 22, 1664: 26}  # width of the encoder -> heads
PREDICTOR_HEADS = {384: 12}
# Names of `transformers` -> ours; queries, keys and values are joined.
NAMES = (
    (r"^vjepa2\.", ""),
    (r"embeddings\.patch_embeddings\.proj\.", "project."),
    (r"predictor\.embeddings\.predictor_embeddings\.", "predictor.embed."),
    (r"\.embeddings\.mask_tokens$", ".mask_tokens"),
    (r"\.layer\.", ".transformer.blocks."),
    (r"\.attention\.", ".attn."),
    (r"\.layernorm\.", ".norm."),
)
CLASSIFIER = ("pooler.", "classifier.")


class TransformersConfig(Config):
    """Keys of config.json of `transformers` that a model depends on, with its defaults."""

    model_config = ConfigDict(extra="ignore")

    crop_size: PositiveInt = SIZE[1]
    frames_per_clip: PositiveInt = SIZE[0]
    num_attention_heads: PositiveInt = 16
    pred_num_attention_heads: PositiveInt = 12
    layer_norm_eps: PositiveFloat = 1e-6
    hidden_act: str = "gelu"


def convert_official(source: Source, heads: int | None = None) -> Converted:
    """Convert the teacher, student and predictor of a checkpoint. heads: of the encoder, for unpublished widths."""
    where, checkpoint = source.where, source.content
    parts = {
        part: {
            name: tensor
            for name, tensor in renamed(where, checkpoint[part], meta_jepa.NAMES).items()
            if not name.endswith("pos_embed")  # of models before rotary positions; the official code ignores it, too
        }
        for part in PARTS
    }
    encoder = parts["target_encoder"].get("project.weight", torch.empty(0))
    mask = next((tensor for name, tensor in parts["predictor"].items() if name.startswith("mask_token")), encoder)
    own = heads or published_heads(where, len(encoder), HEADS)
    theirs = PREDICTOR_HEADS.get(mask.numel(), own)
    return _converted(where, f"official checkpoint {source.name}", parts, (own, theirs), SIZE)


def convert_transformers(source: Source) -> Converted:
    """Convert the encoder, which is the teacher, and the predictor. The head of a classifier is left out."""
    where = source.where
    config = validated(TransformersConfig, dict(source.config), f"{where}/config.json")
    if config.hidden_act != "gelu":
        raise InputError(f"{where}/config.json: hidden_act is '{config.hidden_act}'; 'gelu' is supported")
    ours = {n: t for n, t in renamed(where, source.content, NAMES).items() if not n.startswith(CLASSIFIER)}
    parts: dict[str, dict[str, Tensor]] = {"encoder": {}, "predictor": {}}
    for name, tensor in joined(where, ours).items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise InputError(f"{where}: tensor '{name}' does not belong to V-JEPA 2")
        parts[part][rest] = tensor
    size = (config.frames_per_clip, config.crop_size, config.crop_size)
    named = {"target_encoder": parts["encoder"], "predictor": parts["predictor"]}
    heads = (config.num_attention_heads, config.pred_num_attention_heads)
    return _converted(where, f"folder {source.name}", named, heads, size, config.layer_norm_eps)


def _converted(
    where: str,
    origin: str,
    raw: Mapping[str, Mapping[str, Tensor]],
    heads: tuple[int, int],
    size: tuple[int, int, int],
    eps: float = 1e-6,
) -> Converted:
    """raw: tensors of `PARTS`, all or without the student. heads: of the encoder and of the predictor."""
    parts = {part: single_precision(from_official(tensors)) for part, tensors in raw.items()}
    encoder, predictor = parts["target_encoder"], parts["predictor"]
    own = network(encoder, len(encoder["project.weight"]), heads[0], AxialRotaryConfig())
    theirs = network(predictor, predictor["mask_tokens"].shape[1], heads[1], AxialRotaryConfig())
    for settings in (own, theirs):
        settings["block"]["norm_eps"] = eps  # type: ignore[index]
    patch = tuple(raw["target_encoder"]["project.weight"].shape[1:])
    return assembled(where, f"V-JEPA 2, {origin}", parts, (own, theirs), patch, size)


def assembled(
    where: str,
    origin: str,
    parts: dict[str, dict[str, Tensor]],
    settings: tuple[Mapping[str, object], Mapping[str, object]],
    patch: tuple[int, ...],
    size: tuple[int, ...],
) -> Converted:
    """A model of videos, or with a `size` of two axes of images, from tensors with the names and shapes used here.

    parts: `PARTS`, all or without the student; settings: of the encoder and the predictor; patch: channels, then
    samples along each axis.
    """
    channels, dim, video = patch[0], len(parts["target_encoder"]["project.weight"]), len(size) == 3
    if channels != len(MEAN):
        raise InputError(f"{where}: its patches have {channels} channels; only RGB with 3 is supported")
    raw_objective = {
        "encoder": {"patch": patch[1:], "init": "plain", **settings[0]},
        "predictor": {"mask_tokens": len(parts["predictor"]["mask_tokens"]), "mask_init": "zeros", **settings[1]},
        "masks": TubesConfig(mode="reference") if video else BlocksConfig(),
        "target": {"momentum": (0.99925, 0.99925), "update": "after", "normalise": True},
        "distance": {"kind": "l1"},
    }
    objective = validated(MaskedPredictionConfig, raw_objective, where)
    for part, tensors in parts.items():
        heads = objective.predictor.heads if part == "predictor" else objective.encoder.heads
        parts[part] = _paired(tensors, heads) | ({} if part == "predictor" else {"prefix": torch.empty(0, dim)})
    about = Provenance(data="unknown (not in the file)", origin=one_line(origin))
    config = {"objective": objective, "channels": channels, "size": size, "weights": "teacher", "provenance": about}
    colours = {"mean": list(MEAN), "std": list(STD), "colours": "rgb"}
    preprocessing = (
        {"kind": "video", "frames": size[0], "stride": STRIDE, "side": size[1], **colours}
        if video
        else {"kind": "images", "side": size[0], "centre": CENTRE, **colours}
    )
    tensors = under("encoder", parts["target_encoder"]) | under("predictor", parts["predictor"])
    student = under("encoder", parts["encoder"]) if "encoder" in parts else None
    return Converted(validated(ModelConfig, config, where), tensors, preprocessing, student)


def _paired(tensors: Mapping[str, Tensor], heads: int) -> dict[str, Tensor]:
    """Reorder queries and keys: the official code rotates features 2 i and 2 i + 1 of a head, `rotate` i and i + half.

    Their products stay the same, because both are reordered in the same way.
    """
    ours = dict(tensors)
    for name, tensor in tensors.items():
        if ".qkv." in name:
            *rotated, values = tensor.chunk(3)
            pairs = [part.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2) for part in rotated]
            ours[name] = torch.cat([*pairs, values])
    return ours
