"""Import checkpoints of the official I-JEPA and V-JEPA code (facebookresearch/ijepa and jepa).

The tensors determine everything except the number of heads, which is that of the published model with the same width.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt, prod
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from anyjepa.config import Config, validated
from anyjepa.errors import InputError
from anyjepa.masks.blocks import BlocksConfig
from anyjepa.masks.tubes import TubesConfig
from anyjepa.nn.positions import SinCosConfig, sincos_table
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.weights.foreign import Converted, renamed
from anyjepa.weights.model import ModelConfig, Provenance

Layout = Literal["ijepa", "vjepa", "vjepa2", "vjepa21"]
TITLES: dict[str, str] = {"ijepa": "I-JEPA", "vjepa": "V-JEPA"}
# Official names -> ours. A Linear projects patches here, so the weight of the convolution is flattened.
NAMES = (
    (r"^(module\.)?(backbone\.)?", ""),
    (r"^patch_embed\.proj\.", "project."),
    (r"^(predictor_)?blocks\.", "transformer.blocks."),
    (r"^predictor_(embed|norm|proj)\.", r"\1."),
)
HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16, 1664: 16}  # width -> heads, from tiny to gigantic
PARTS = ("target_encoder", "encoder", "predictor")
AVERAGE = "ema_encoder"  # the teacher of a distilled V-JEPA 2.1, whose target_encoder is another network
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in [0, 1]; used in training by both
CENTRE = 0.875  # share of the shorter side that evaluation crops
STRIDE = 4  # video frames between the frames of a clip, in pretraining


def layout_of(checkpoint: Mapping[str, object]) -> Layout | None:
    """Layout of a checkpoint: images have a 2-D patch convolution, video has a 3-D one.

    V-JEPA 2 has 10 mask tokens, where V-JEPA has 2, and no need for a table of positions, which its files may have.
    V-JEPA 2.1 has several norms after its blocks, and in a distilled model the average of its weights has another name.
    """
    teacher, predictor = checkpoint.get(AVERAGE, checkpoint.get("target_encoder")), checkpoint.get("predictor")
    if isinstance(teacher, dict) and isinstance(predictor, dict) and any("norms_block." in str(n) for n in teacher):
        return "vjepa21"
    if (
        not isinstance(teacher, dict)
        or not isinstance(predictor, dict)
        or not isinstance(checkpoint.get("encoder"), dict)
    ):
        return None
    patches = next((tensor for name, tensor in teacher.items() if str(name).endswith("patch_embed.proj.weight")), None)
    if not isinstance(patches, Tensor) or patches.ndim not in (4, 5):
        return None
    if patches.ndim == 4:
        return "ijepa"
    table = any(str(name).endswith("pos_embed") for name in teacher)
    return "vjepa" if table and sum("mask_token" in str(name) for name in predictor) <= 2 else "vjepa2"


def convert(where: str, checkpoint: Mapping[str, object], heads: int | None = None) -> Converted:
    """Convert the teacher, student and predictor of a checkpoint, with a config from the shapes of the tensors.

    heads: number of attention heads, for widths without a published model.
    """
    layout = layout_of(checkpoint)
    assert layout in ("ijepa", "vjepa"), "the caller has recognised the layout"
    raw: dict[str, dict[str, Tensor]] = {part: renamed(where, checkpoint[part], NAMES) for part in PARTS}
    channels, *patch = raw["target_encoder"]["project.weight"].shape[1:]
    grid, positions = _positions(where, raw["target_encoder"].pop("pos_embed"), len(patch))
    own = _positions(where, raw["predictor"].pop("predictor_pos_embed"), len(patch))
    raw["encoder"].pop("pos_embed")
    parts = {part: from_official(tensors) for part, tensors in raw.items()}
    objective = _objective(where, layout, patch, parts, (positions, own[1]), heads)
    if channels != len(MEAN):
        raise InputError(f"{where}: its patches have {channels} channels; only RGB images with 3 are supported")
    if own[0] != grid:
        raise InputError(f"{where}: its encoder has positions for a grid {grid}, but its predictor for {own[0]}")
    size = tuple(tokens * samples for tokens, samples in zip(grid, patch, strict=True))
    width = objective.encoder.dim
    for part in ("target_encoder", "encoder"):
        parts[part]["prefix"] = torch.empty(0, width)
    epoch = checkpoint.get("epoch")
    config = validated(
        ModelConfig,
        {
            "objective": objective,
            "channels": channels,
            "size": size,
            "weights": "teacher",
            "provenance": Provenance(
                data="unknown (not in the checkpoint)",
                origin=f"official {TITLES[layout]} checkpoint {Path(where).name}",
                notes=(f"Trained for {epoch} epochs.",) if isinstance(epoch, int) else (),
            ),
        },
        where,
    )
    tensors = under("encoder", parts["target_encoder"]) | under("predictor", parts["predictor"])
    return Converted(config, tensors, _preprocessing(layout, size), under("encoder", parts["encoder"]))


def from_official(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Renamed tensors (or their gradients) of one part in our shapes. Mask tokens are concatenated in order."""
    tokens = sorted((name for name in tensors if name.startswith("mask_token")), key=lambda name: (len(name), name))
    ours = {name: tensor for name, tensor in tensors.items() if name not in tokens}
    if tokens:
        ours["mask_tokens"] = torch.cat([tensors[name].flatten(0, -2) for name in tokens])  # (1, 1, d) each
    return {name: tensor.flatten(1) if name == "project.weight" else tensor for name, tensor in ours.items()}


def _positions(where: str, table: Tensor, axes: int) -> tuple[tuple[int, ...], SinCosConfig]:
    """Grid of a stored table (1, N, D), and the layout of sines and cosines that it matches.

    With three axes, the first feature is the sine of time, which is 0 only in the first frame.
    """
    rows, (count, dim) = table.flatten(0, -2), table.shape[-2:]
    frame = count if axes == 2 else int((rows[:, 0] == 0).sum())
    grid = (count // max(frame, 1),) * (axes - 2) + (isqrt(frame),) * 2
    rules = ("last_first",) if axes == 2 else ("even", "time_half") if dim % 8 == 0 else ("even",)
    for config in (SinCosConfig(layout="halves", axes=rule) for rule in rules):
        if prod(grid) == count and torch.allclose(sincos_table(config, dim, grid), rows, atol=1e-5):
            return grid, config
    raise InputError(f"{where}: its {count} positions are not the sines and cosines of a square grid")


def _objective(
    where: str,
    layout: Layout,
    patch: list[int],
    parts: Mapping[str, Mapping[str, Tensor]],
    positions: tuple[SinCosConfig, SinCosConfig],
    heads: int | None,
) -> MaskedPredictionConfig:
    """Config with sizes from the tensors, and with the published masks, target and distance."""
    encoder, predictor = parts["target_encoder"], parts["predictor"]
    dim = len(encoder["project.weight"])
    heads = heads or published_heads(where, dim, HEADS)
    tokens, width = predictor["mask_tokens"].shape
    raw = {
        "encoder": {"patch": tuple(patch), "init": "plain", **network(encoder, dim, heads, positions[0])},
        "predictor": {"mask_tokens": tokens, **network(predictor, width, heads, positions[1])},
        "masks": BlocksConfig(mode="reference") if layout == "ijepa" else TubesConfig(mode="reference"),
        "target": {
            "momentum": (0.996, 1.0) if layout == "ijepa" else (0.998, 1.0),
            "update": "after",
            "normalise": True,
        },
        "distance": {"kind": "smooth_l1" if layout == "ijepa" else "l1"},
    }
    return validated(MaskedPredictionConfig, raw, where)


def published_heads(where: str, width: int, published: Mapping[int, int]) -> int:
    """Number of heads of the published model with this width. Raises InputError if there is none."""
    if width not in published:
        raise InputError(f"{where}: no published model has the width {width}; pass the number of heads with --heads")
    return published[width]


def network(tensors: Mapping[str, Tensor], width: int, heads: int, positions: Config) -> dict[str, object]:
    """Settings of an encoder or predictor whose sizes are those of its tensors."""
    block = {
        "mlp_ratio": len(tensors["transformer.blocks.0.mlp.fc1.bias"]) / width,
        "bias": True,
        "qkv_bias": "transformer.blocks.0.attn.qkv.bias" in tensors,
    }
    depth = sum(name.endswith(".norm1.weight") for name in tensors)
    return {"dim": width, "depth": depth, "heads": heads, "positions": positions, "block": block}


def _preprocessing(layout: Layout, size: tuple[int, ...]) -> dict[str, object]:
    colours = {"mean": list(MEAN), "std": list(STD)}
    if layout == "ijepa":
        return {"kind": "images", "side": size[0], "colours": "rgb", "centre": CENTRE, **colours}
    return {"kind": "video", "frames": size[0], "stride": STRIDE, "side": size[1], "colours": "rgb", **colours}


def under(part: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{part}.{name}": tensor for name, tensor in tensors.items()}
