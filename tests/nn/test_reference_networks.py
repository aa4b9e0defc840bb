"""Our parts with the references' weights compute the references' numbers (golden vectors, tolerance 1e-5 of the maximum).

Weights are mapped by name here; what reads a published checkpoint for a user is tested with the importers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anyjepa.nn.encoder import Encoder, EncoderConfig
from anyjepa.nn.positions import RotaryConfig, SinCosConfig
from anyjepa.nn.predictor import MaskedPredictor, PredictorConfig
from anyjepa.nn.tokens import patchify
from anyjepa.nn.transformer import BlockConfig

BIASED = BlockConfig(bias=True, qkv_bias=True)
IJEPA = SinCosConfig(layout="halves", axes="last_first")
VJEPA = SinCosConfig(layout="halves")
NEPA = BlockConfig(bias=True, qkv_bias=True, qk_norm="plain", layer_scale=1e-5, norm_eps=1e-12)


def matches(actual: Tensor, expected: np.ndarray) -> bool:
    return bool((actual.detach() - torch.from_numpy(expected)).abs().max() <= 1e-5 * np.abs(expected).max())


def load(module: nn.Module, weights: dict[str, Tensor]) -> None:
    own = module.state_dict()
    assert set(own) == set(weights)
    module.load_state_dict({name: value.reshape(own[name].shape) for name, value in weights.items()})


def renamed(weights: dict[str, Tensor], prefix: str, names: dict[str, str]) -> dict[str, Tensor]:
    """Without the prefix, tables dropped, names replaced in order."""
    out = {}
    for name, value in weights.items():
        if "pos_embed" not in name:
            new = name.removeprefix(prefix)
            for old, ours in names.items():
                new = new.replace(old, ours)
            out[new] = value
    return out


ENCODER_NAMES = {"patch_embed.proj": "project", "blocks": "transformer.blocks"}
PREDICTOR_NAMES = {
    "predictor_embed": "embed",
    "predictor_blocks": "transformer.blocks",
    "predictor_norm": "norm",
    "predictor_proj": "proj",
}


def meta_encoder(encoder: Encoder, checkpoint: dict, prefix: str, part: str = "encoder") -> Encoder:
    weights = renamed(checkpoint[part], prefix, ENCODER_NAMES)
    load(encoder, {**weights, "prefix": torch.empty(0, encoder.dim)})
    return encoder


@pytest.fixture(scope="module")
def ijepa(golden: Path) -> tuple[dict, dict]:
    checkpoint = torch.load(golden / "ijepa" / "jepa-latest.pth.tar", weights_only=True)
    return checkpoint, dict(np.load(golden / "ijepa" / "vectors.npz"))


@pytest.fixture(scope="module")
def vjepa(golden: Path) -> tuple[dict, dict]:
    checkpoint = torch.load(golden / "vjepa" / "jepa-latest.pth.tar", weights_only=True)
    return checkpoint, dict(np.load(golden / "vjepa" / "vectors.npz"))


def test_ijepa(ijepa: tuple[dict, dict]) -> None:
    checkpoint, vectors = ijepa
    x = torch.from_numpy(vectors["x"])
    config = EncoderConfig(patch=(4, 4), dim=48, depth=2, heads=4, positions=IJEPA, block=BIASED)
    encoder = meta_encoder(Encoder(config, 3, (32, 32)), checkpoint, "module.")
    assert matches(encoder.project(patchify(x, (4, 4))), vectors["static/patch_embed"])
    assert matches(encoder(x).padded(), vectors["static/encoder_full"])
    teacher = meta_encoder(Encoder(config, 3, (32, 32)), checkpoint, "module.", "target_encoder")
    assert matches(teacher(x).padded(), vectors["static/target_out"])

    seen = torch.from_numpy(vectors["masks_enc"][0])
    context = encoder(x, seen)
    assert matches(context.padded(), vectors["static/encoder_context"])
    predictor = MaskedPredictor(
        PredictorConfig(dim=24, depth=2, heads=4, positions=IJEPA, block=BIASED), 48, encoder.grid
    )
    weights = renamed(checkpoint["predictor"], "module.", PREDICTOR_NAMES)
    weights["mask_tokens"] = weights.pop("mask_token")
    load(predictor, weights)
    targets = torch.from_numpy(vectors["masks_pred"]).transpose(0, 1)  # (B, M, T)
    predicted = predictor(context, seen, targets, None, encoder.grid).view(3, 4, 12, 48)
    assert matches(predicted.transpose(0, 1).flatten(0, 1), vectors["static/predictor_out"])


def test_vjepa(vjepa: tuple[dict, dict]) -> None:
    checkpoint, vectors = vjepa
    prefix, x = "module.backbone.", torch.from_numpy(vectors["x"])
    config = EncoderConfig(patch=(2, 8, 8), dim=40, depth=2, heads=4, positions=VJEPA, block=BIASED)
    encoder = meta_encoder(Encoder(config, 3, (8, 32, 32)), checkpoint, prefix)
    assert matches(encoder(x).padded(), vectors["static/encoder_full"])
    predictor = MaskedPredictor(
        PredictorConfig(dim=20, depth=2, heads=4, positions=VJEPA, block=BIASED, mask_tokens=2), 40, encoder.grid
    )
    weights = renamed(checkpoint["predictor"], prefix, PREDICTOR_NAMES)
    weights["mask_tokens"] = torch.cat([weights.pop(f"mask_tokens.{group}") for group in range(2)])
    load(predictor, weights)
    for group in range(2):
        seen = torch.from_numpy(vectors[f"masks_enc/{group}"])
        hidden = torch.from_numpy(vectors[f"masks_pred/{group}"])
        context = encoder(x, seen)
        assert matches(context.padded(), vectors[f"static/encoder_context/{group}"])
        predicted = predictor(context, seen, hidden[:, None], None, encoder.grid, group=group)
        assert matches(predicted.view(2, -1, 40), vectors[f"static/predictor_out/{group}"])


NEPA_NAMES = {
    "vit_nepa.": "",
    "embeddings.cls_token": "prefix",
    "embeddings.patch_embeddings.projection": "project",
    "encoder.layer": "transformer.blocks",
    "attention.output.dense": "attn.proj",
    "intermediate.up_proj": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "output.layer_scale.lambda1": "scale2",
    "layer_scale.lambda1": "scale1",
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "layernorm": "norm",
}


@pytest.mark.parametrize(
    ("model", "patch", "channels", "size"), [("nepa_image", (7, 7), 3, (28, 28)), ("nepa_ecg", (25,), 12, (500,))]
)
def test_nepa(golden: Path, model: str, patch: tuple, channels: int, size: tuple) -> None:
    vectors = np.load(golden / model / "vectors.npz")
    weights = load_file(golden / model / "model.safetensors")
    for layer in range(2):
        for kind in ("weight", "bias"):
            parts = [
                weights.pop(f"vit_nepa.encoder.layer.{layer}.attention.attention.{part}.{kind}")
                for part in ("query", "key", "value")
            ]
            weights[f"vit_nepa.encoder.layer.{layer}.attn.qkv.{kind}"] = torch.cat(parts)
    config = EncoderConfig(
        patch=patch, dim=48, depth=2, heads=4, positions=RotaryConfig(), block=NEPA, cls=True, causal=True
    )
    encoder = Encoder(config, channels, size)
    load(encoder, renamed(weights, "vit_nepa.", NEPA_NAMES))
    prefix, patches = encoder.features(torch.from_numpy(vectors["x"]))
    assert matches(torch.cat([prefix, patches], 1), vectors["static/encoder_out"])
