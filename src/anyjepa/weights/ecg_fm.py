"""Import ECG encoders of fairseq-signals (github.com/Jwoo5/fairseq-signals), such as ECG-FM (McKeen et al. 2024).

Reads checkpoints of pretraining (wav2vec 2.0, with or without CMSC) and of classifiers. The parts for pretraining and
the head of a classifier are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, Field, PositiveInt
from torch import Tensor

from anyjepa.config import Config, validated
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.errors import InputError
from anyjepa.objectives.paired import PairedPredictionConfig
from anyjepa.weights.foreign import Converted, joined, renamed
from anyjepa.weights.meta_jepa import under
from anyjepa.weights.model import ModelConfig, Provenance
from anyjepa.weights.tensors import single_precision

FS, SECONDS = 500.0, 5  # of the published models
EPS = 1e-5
FIRST = r"^(encoder\.)?feature_extractor\.conv_layers\.0\.0\.weight$"
UNUSED = re.compile(r"(mask_emb$|quantizer\.|project_q\.|final_proj\.|target_glu\.)")  # used only in pretraining
CLASSIFIER = re.compile(r"proj\.(weight|bias)$")  # of a classifier, whose encoder has names of its own
NAMES = (
    (r"^feature_extractor\.conv_layers\.(\d+)\.0\.", r"convolutions.\1."),
    (r"^feature_extractor\.conv_layers\.0\.2\.", "over_time."),
    (r"^layer_norm\.", "token_norm."),
    (r"^post_extract_proj\.", "project."),
    (r"^conv_pos\.pos_conv\.0\.parametrizations\.weight\.original0$", "positions.size"),
    (r"^conv_pos\.pos_conv\.0\.parametrizations\.weight\.original1$", "positions.direction"),
    (r"^conv_pos\.pos_conv\.0\.weight_g$", "positions.size"),  # of PyTorch before 2.1
    (r"^conv_pos\.pos_conv\.0\.weight_v$", "positions.direction"),
    (r"^conv_pos\.pos_conv\.0\.bias$", "positions.bias"),
    (r"^encoder\.layer_norm\.", "norm."),
    (r"^encoder\.layers\.(\d+)\.", r"transformer.blocks.\1."),
    (r"\.self_attn\.q_proj\.", ".attn.query."),
    (r"\.self_attn\.k_proj\.", ".attn.key."),
    (r"\.self_attn\.v_proj\.", ".attn.value."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.self_attn_layer_norm\.", ".norm1."),
    (r"\.final_layer_norm\.", ".norm2."),
    (r"\.(fc[12])\.", r".mlp.\1."),
)
LAYER = r"\(\d{1,6},\d{1,6},\d{1,6}\)"  # width, kernel and stride of a convolution
LAYERS = rf"\[({LAYER}(?:,{LAYER})*),?\](?:\*(\d{{1,2}}))?"


class OfficialConfig(Config):
    """Keys of the model's config that the encoder depends on, with the defaults of fairseq-signals."""

    model_config = ConfigDict(extra="ignore")

    encoder_attention_heads: PositiveInt = 12
    layer_norm_first: bool = False
    extractor_mode: str = "default"
    conv_feature_layers: str = Field(default="[(256, 2, 2)] * 4", max_length=1000)
    quantize_input: bool = False


def is_fairseq(checkpoint: Mapping[str, object]) -> bool:
    """Whether a checkpoint has this layout."""
    model, config = checkpoint.get("model"), checkpoint.get("cfg")
    named = isinstance(model, dict) and any(re.match(FIRST, str(name)) for name in model)
    return named and isinstance(config, dict) and isinstance(config.get("model"), dict)


def convert(where: str, checkpoint: Mapping[str, Any]) -> Converted:
    """Convert the encoder of a checkpoint.

    Raises InputError, or another error that `Importer.convert` explains, if the tensors or settings do not fit.
    """
    official = validated(OfficialConfig, checkpoint["cfg"]["model"], f"{where}: cfg.model")
    for key, usual in (("extractor_mode", "default"), ("quantize_input", False)):
        if (value := getattr(official, key)) != usual:
            raise InputError(f"{where}: cfg.model: {key} {value!r} is not supported")
    tensors, classifier = _encoder(where, checkpoint["model"])
    shapes = [tensors[f"convolutions.{n}.weight"].shape for n in range(_count(tensors, "convolutions"))]
    channels = shapes[0][1]
    if channels != len(LEADS):
        raise InputError(f"{where}: reads {channels} leads; its config does not name them, so only {len(LEADS)} can be")
    dim, per_group, kernel = tensors["positions.weight"].shape
    encoder = {
        "kind": "wav2vec2",
        "widths": [shape[0] for shape in shapes],
        "strides": _strides(where, official.conv_feature_layers, shapes),
        "convolution_bias": "convolutions.0.bias" in tensors,
        "dim": dim,
        "depth": _count(tensors, r"transformer\.blocks"),
        "heads": official.encoder_attention_heads,
        "position_kernel": kernel,
        "position_groups": dim // per_group,
        "block": {
            "mlp_ratio": len(tensors["transformer.blocks.0.mlp.fc1.weight"]) / dim,
            "bias": True,
            "qkv_bias": True,
            "norm_eps": EPS,
            "norm_first": official.layer_norm_first,
        },
    }
    notes = ["Each lead is standardised over its record. Published inference resamples linearly, this one polyphase."]
    if classifier:
        notes.append(
            "Its classifier was left out: the file does not name its classes, and each is averaged its own way."
        )
    samples = round(SECONDS * FS)
    config = validated(
        ModelConfig,
        {
            # A config needs an objective; this one did not train the encoder, and no objective that hides tokens could.
            "objective": validated(PairedPredictionConfig, {"encoder": encoder}, where),
            "channels": channels,
            "size": (samples,),
            "weights": "published",
            "predictor": False,
            "provenance": Provenance(
                data="unknown (not in the checkpoint)",
                origin=f"fairseq-signals checkpoint {Path(where).name}",
                notes=tuple(notes),
            ),
        },
        where,
    )
    raw = {"fs": FS, "leads": LEADS, "samples": samples, "mean": [0.0] * channels, "std": [1.0] * channels}
    preprocessing = validated(EcgPreprocessing, raw | {"clip": None, "by_record": True}, where)
    return Converted(config, under("encoder", tensors), preprocessing.model_dump(mode="json"))


def _encoder(where: str, model: Mapping[str, object]) -> tuple[dict[str, Tensor], bool]:
    """Tensors of the encoder with our names, and whether the checkpoint is a classifier."""
    classifier = any(str(name).startswith("encoder.feature_extractor.") for name in model)
    used = {}
    for name, tensor in model.items():
        inner = str(name).removeprefix("encoder.") if classifier else str(name)
        if UNUSED.match(inner) or (classifier and CLASSIFIER.match(str(name))):
            continue
        if classifier and inner == name:
            raise InputError(f"{where}: tensor '{name}' does not belong to this model")
        used[inner] = tensor
    tensors = single_precision(joined(where, renamed(where, used, NAMES)))
    size, direction = tensors.pop("positions.size"), tensors.pop("positions.direction")
    if direction.ndim != 3 or size.shape != (1, 1, direction.shape[2]):
        shapes = f"{tuple(size.shape)} and {tuple(direction.shape)}"
        raise InputError(
            f"{where}: the sizes and directions of conv_pos have shapes {shapes}, expected (1, 1, K) and (D, D / G, K)"
        )
    tensors["positions.weight"] = size * direction / direction.norm(dim=(0, 1), keepdim=True)
    return tensors, classifier


def _strides(where: str, written: str, shapes: Sequence[Sequence[int]]) -> list[int]:
    """Strides of the convolutions from a list in Python's notation, such as [(256, 2, 2)] * 4, which is not run.

    shapes: of the weights, (width, width before, kernel) each. Raises InputError for a list that does not fit them.
    """
    layers: list[tuple[int, ...]] = []
    compact = "".join(written.split())
    if re.fullmatch(rf"{LAYERS}(?:\+{LAYERS})*", compact):
        for term in re.finditer(LAYERS, compact):
            numbers = [int(number) for number in re.findall(r"\d+", term[1])]
            layers += list(zip(*[iter(numbers)] * 3, strict=True)) * int(term[2] or 1)
    if [(width, kernel) for width, kernel, _ in layers] != [(shape[0], shape[2]) for shape in shapes]:
        raise InputError(f"{where}: cfg.model: conv_feature_layers {written[:80]!r} does not describe its tensors")
    if other := next((layer for layer in layers if layer[1] != layer[2]), None):
        raise InputError(
            f"{where}: cfg.model: a convolution of kernel {other[1]} and stride {other[2]} is not supported"
        )
    return [stride for _, _, stride in layers]


def _count(tensors: Mapping[str, Tensor], parts: str) -> int:
    return len({match[1] for name in tensors if (match := re.match(rf"{parts}\.(\d+)\.", name))})
