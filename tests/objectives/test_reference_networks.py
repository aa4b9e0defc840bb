"""With the references' weights our parts compute the references' numbers (to 1e-5 of the largest).

Weights are mapped by name here; what reads a published checkpoint for a user is tested with the importers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anyjepa.nn.encoder import EncoderConfig
from anyjepa.nn.positions import RotaryConfig
from anyjepa.nn.transformer import BlockConfig
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction

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
    objective = NextEmbeddingPrediction(NextEmbeddingConfig(encoder=config), channels, size)
    load(objective.student, renamed(weights, "vit_nepa.", NEPA_NAMES))
    x = torch.from_numpy(vectors["x"])
    prefix, patches = objective.student.features(x)
    assert matches(torch.cat([prefix, patches], 1), vectors["static/encoder_out"])
    assert matches(objective.student.embed(x), vectors["static/embeddings"][:, 1:])
    loss = objective(x).total()
    assert loss.item() == pytest.approx(vectors["static/loss"], rel=1e-5)
    loss.backward()
    own = dict(objective.student.named_parameters())
    for key in (key for key in vectors.files if key.startswith("grad/")):
        (name,) = renamed({key: torch.empty(0)}, "grad/vit_nepa.", NEPA_NAMES)
        if ".attention.attention." in name:
            layer, _, rest = name.partition(".attention.attention.")
            part, kind = rest.split(".")
            place = ("query", "key", "value").index(part)
            grad = own[f"{layer}.attn.qkv.{kind}"].grad.chunk(3)[place]
        else:
            grad = own[name].grad
        expected = vectors[key]
        if not name.endswith("key.bias"):  # rounding noise
            assert matches(grad.reshape(expected.shape), expected), name
