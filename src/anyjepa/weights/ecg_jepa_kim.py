"""Import checkpoints of the other official ECG-JEPA (Kim 2024, github.com/sehunfromdaegu/ECG_JEPA).

They hold the encoder that saw masked inputs, without teacher and predictor. The tensors determine everything except the
number of heads, which is that of the published model with the same width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from anyjepa.config import validated
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.errors import InputError
from anyjepa.masks.spans import SpanConfig
from anyjepa.nn.positions import LearnedConfig, SinCosConfig, sincos_table
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.weights.foreign import Converted, renamed
from anyjepa.weights.meta_jepa import network, published_heads, under
from anyjepa.weights.model import ModelConfig, Provenance
from anyjepa.weights.tensors import single_precision

LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
FS = 250.0  # Hz
HEADS = {384: 6, 768: 16}  # width -> heads; 768 is the published model
EPS = 1e-5
NAMES = (
    (r"^W_P\.", "project."),
    (r"^encoder_blocks\.blocks\.", "transformer.blocks."),
)
NOTES = (
    "The weights are those of the encoder that saw masked inputs; the file has no teacher and no predictor.",
    "ECGs are neither standardised nor clipped. The official code resamples them by Fourier transform, this one with a "
    "polyphase filter.",
)


def is_kim(checkpoint: Mapping[str, object]) -> bool:
    """Whether a checkpoint has this layout."""
    encoder = checkpoint.get("encoder")
    return isinstance(encoder, dict) and {"W_P.weight", "pos_embed"} <= encoder.keys()


def convert(where: str, checkpoint: Mapping[str, object], heads: int | None = None) -> Converted:
    """Convert the encoder of a checkpoint. heads: number of attention heads, for widths without a published model."""
    tensors = single_precision(renamed(where, checkpoint["encoder"], NAMES))
    width, patch = tensors["project.weight"].shape
    positions, table = _positions(where, tensors.pop("pos_embed"))
    if isinstance(positions, LearnedConfig):
        tensors["positions.learned"] = table
    tensors["prefix"] = torch.empty(0, width)
    heads = heads or published_heads(where, width, HEADS)
    made = network(tensors, width, heads, positions)
    samples = patch * (len(table) // len(LEADS))
    encoder = {
        **made,
        "block": {**made["block"], "norm_eps": EPS},  # type: ignore[dict-item]
        "patch": (patch,),
        "separate": True,
        "cross": True,
        "positions_again": True,
        "init": "plain",
    }
    objective = {
        "encoder": encoder,
        "predictor": {"dim": "x0.5", "depth": "x0.5", "heads": heads, "block": {"bias": True, "norm_eps": EPS}},
        "masks": SpanConfig(),
        "target": {"momentum": (0.996, 1.0), "update": "after", "normalise": True},
        "distance": {"kind": "smooth_l1"},
    }
    epoch = checkpoint.get("epoch")
    config = validated(
        ModelConfig,
        {
            "objective": validated(MaskedPredictionConfig, objective, where),
            "channels": len(LEADS),
            "size": (samples,),
            "weights": "published",
            "predictor": False,
            "provenance": Provenance(
                data="unknown (not in the checkpoint)",
                origin=f"official ECG-JEPA checkpoint (Kim) {Path(where).name}",
                notes=(*NOTES, *([f"Trained for {epoch + 1} epochs."] if isinstance(epoch, int) else [])),
            ),
        },
        where,
    )
    return Converted(config, under("encoder", tensors), _preprocessing(where, samples))


def _positions(where: str, table: Tensor) -> tuple[SinCosConfig | LearnedConfig, Tensor]:
    """The kind of positions, and their table (times * leads, D) in our order, from (leads * times, D) in theirs."""
    times, rest = divmod(len(table), len(LEADS))
    if rest or not times or table.ndim != 2:
        raise InputError(f"{where}: tensor 'pos_embed' has shape {tuple(table.shape)}, not rows for {len(LEADS)} leads")
    rows = table.unflatten(0, (len(LEADS), times)).transpose(0, 1).flatten(0, 1)
    fixed = SinCosConfig(layout="halves")
    same = torch.allclose(sincos_table(fixed, rows.shape[1], (times, len(LEADS))), rows, atol=1e-5)
    return fixed if same else LearnedConfig(), rows


def _preprocessing(where: str, samples: int) -> dict[str, object]:
    raw = {
        "fs": FS,
        "leads": LEADS,
        "samples": samples,
        "mean": [0.0] * len(LEADS),
        "std": [1.0] * len(LEADS),
        "clip": None,
    }
    return validated(EcgPreprocessing, raw, where).model_dump(mode="json")
