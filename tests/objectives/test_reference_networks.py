"""With the references' weights our parts compute the references' numbers (to 1e-5 of the largest).

Weights are mapped by name here; what reads a published checkpoint for a user is tested with the importers.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from anyjepa.masks.base import Masks
from anyjepa.nn.encoder import EncoderConfig
from anyjepa.nn.positions import RotaryConfig, SinCosConfig
from anyjepa.nn.predictor import PredictorConfig
from anyjepa.nn.tokens import patchify
from anyjepa.nn.transformer import BlockConfig
from anyjepa.objectives.losses import DistanceConfig
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.objectives.next_embedding import NextEmbeddingConfig, NextEmbeddingPrediction
from anyjepa.objectives.targets import TeacherConfig

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


def load_objective(model: MaskedPrediction, checkpoint: dict, prefix: str) -> None:
    """encoder, target_encoder and predictor of a checkpoint of I-JEPA or V-JEPA."""
    for encoder, part in ((model.student, "encoder"), (model.target.encoder, "target_encoder")):
        weights = renamed(checkpoint[part], prefix, ENCODER_NAMES)
        load(encoder, {**weights, "prefix": torch.empty(0, encoder.dim)})
    weights = renamed(checkpoint["predictor"], prefix, PREDICTOR_NAMES)
    tokens = [weights.pop(name) for name in sorted(weights) if name.startswith("mask_token")]
    load(model.predictor, {**weights, "mask_tokens": torch.cat(tokens)})


def gradients_match(model: MaskedPrediction, vectors: dict, folder: Path) -> None:
    """Norms of all gradients, in the reference's order of parameters; the whole of those that are stored."""
    own = dict(model.named_parameters())
    names = json.loads((folder / "config.json").read_text())["trainable_parameter_names"]
    for number, name in enumerate(names):
        part, rest = name.replace(".backbone", "").split(".", 1)
        if rest.startswith("mask_token"):  # ours is one (groups, d) parameter
            grad = own["predictor.mask_tokens"].grad[int(rest.rpartition(".")[2]) if "." in rest else 0]
        else:
            side, table = ("student.", ENCODER_NAMES) if part == "encoder" else ("predictor.", PREDICTOR_NAMES)
            (ours,) = renamed({rest: torch.empty(0)}, "", table)
            grad = own[side + ours].grad
        if not name.endswith("qkv.bias"):  # the keys' part is rounding noise
            assert grad.norm().item() == pytest.approx(vectors["grad_norms"][number], rel=2e-5)
        if f"grad/{name}" in vectors:
            expected = vectors[f"grad/{name}"]
            assert matches(grad.reshape(expected.shape), expected)


def test_ijepa(golden: Path) -> None:
    checkpoint = torch.load(golden / "ijepa" / "jepa-latest.pth.tar", weights_only=True)
    vectors = dict(np.load(golden / "ijepa" / "vectors.npz"))
    config = MaskedPredictionConfig(
        encoder=EncoderConfig(patch=(4, 4), dim=48, depth=2, heads=4, positions=IJEPA, block=BIASED),
        predictor=PredictorConfig(dim=24, depth=2, heads=4, positions=IJEPA, block=BIASED),
        target=TeacherConfig(normalise=True),
        distance=DistanceConfig(kind="smooth_l1"),
    )
    model = MaskedPrediction(config, 3, (32, 32))
    load_objective(model, checkpoint, "module.")
    x, student = torch.from_numpy(vectors["x"]), model.student
    assert matches(student.project(patchify(x, (4, 4))), vectors["static/patch_embed"])
    assert matches(student(x).padded(), vectors["static/encoder_full"])
    assert matches(model.target.encoder(x).padded(), vectors["static/target_out"])
    assert matches(model.target(x), vectors["static/target_ln"])

    seen = torch.from_numpy(vectors["masks_enc"][0])
    masks = Masks(seen, torch.from_numpy(vectors["masks_pred"]).transpose(0, 1))  # (B, M, T)
    context = student(x, seen)
    assert matches(context.padded(), vectors["static/encoder_context"])
    predicted = model.predictor(context, seen, masks.targets, None, student.grid).view(3, 4, 12, 48)
    assert matches(predicted.transpose(0, 1).flatten(0, 1), vectors["static/predictor_out"])
    targets = masks.of(model.target(x)).view(3, 4, 12, 48)
    assert matches(targets.transpose(0, 1).flatten(0, 1), vectors["static/target_masked"])
    loss = model(x, [masks]).total()
    assert loss.item() == pytest.approx(vectors["static/loss"], rel=1e-5)
    loss.backward()
    gradients_match(model, vectors, golden / "ijepa")


def test_vjepa(golden: Path) -> None:
    checkpoint = torch.load(golden / "vjepa" / "jepa-latest.pth.tar", weights_only=True)
    vectors = dict(np.load(golden / "vjepa" / "vectors.npz"))
    config = MaskedPredictionConfig(
        encoder=EncoderConfig(patch=(2, 8, 8), dim=40, depth=2, heads=4, positions=VJEPA, block=BIASED),
        predictor=PredictorConfig(dim=20, depth=2, heads=4, positions=VJEPA, block=BIASED, mask_tokens=2),
        target=TeacherConfig(normalise=True),
    )
    model = MaskedPrediction(config, 3, (8, 32, 32))
    load_objective(model, checkpoint, "module.backbone.")
    x, student = torch.from_numpy(vectors["x"]), model.student
    assert matches(student(x).padded(), vectors["static/encoder_full"])
    assert matches(model.target(x), vectors["static/target_ln"])
    masks = []
    for group in range(2):
        seen = torch.from_numpy(vectors[f"masks_enc/{group}"])
        masks.append(Masks(seen, torch.from_numpy(vectors[f"masks_pred/{group}"])[:, None]))
        context = student(x, seen)
        assert matches(context.padded(), vectors[f"static/encoder_context/{group}"])
        predicted = model.predictor(context, seen, masks[group].targets, None, student.grid, group=group)
        assert matches(predicted.view(2, -1, 40), vectors[f"static/predictor_out/{group}"])
    loss = model(x, masks).total()
    assert loss.item() == pytest.approx(vectors["static/loss"], rel=1e-5)
    loss.backward()
    gradients_match(model, vectors, golden / "vjepa")


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
