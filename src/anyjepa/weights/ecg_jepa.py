"""Import checkpoints of the official ECG-JEPA code (Weimann & Conrad 2024, github.com/kweimann/ECG-JEPA)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from anyjepa.config import Config, validated
from anyjepa.data.ecg.leads import LEADS, canonical_lead
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.errors import InputError, did_you_mean
from anyjepa.nn.pooling import HeadConfig
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.weights.foreign import Converted, renamed
from anyjepa.weights.model import ClassifierConfig, ModelConfig, Provenance

# Official names -> ours. A Linear projects patches here, so the weight of the convolution is flattened.
NAMES = (
    (r"^(encoder|target_encoder)\.patch_embed\.proj\.", r"\1.project."),
    (r"^(encoder|target_encoder)\.registers$", r"\1.prefix"),
    (r"^(\w+)\.blocks\.", r"\1.transformer.blocks."),
    (r"\.attn_ls\.weight$", ".scale1"),
    (r"\.mlp_ls\.weight$", ".scale2"),
    (r"^predictor\.mask_token$", "predictor.mask_tokens"),
    (r"^attn_pool\.query_token$", "head.read.query"),
    (r"^attn_pool\.cross_attention_block\.", "head.read."),
    (r"^fc\.", "head.read."),
)
OLD_NORMS = "the official LayerNorms still had biases when this was written; they are kept, and Linear biases are zero"

_Amount = Annotated[float, Field(gt=0, le=1e6)]  # Hz or s


class OfficialConfig(Config):
    """Keys of the official pretraining config that a model depends on. Training settings are ignored."""

    model_config = ConfigDict(extra="ignore")

    sampling_frequency: _Amount
    channels: tuple[str, ...]
    channel_size: int
    patch_size: int
    min_block_size: int
    min_keep_ratio: float
    max_keep_ratio: float
    datasets: dict[str, float]
    dim: int
    depth: int
    num_heads: int
    pred_dim: int
    pred_depth: int
    pred_num_heads: int
    mlp_ratio: float
    qkv_bias: bool
    bias: bool
    dropout: float
    attn_dropout: float
    num_registers: int
    norm_eps: float
    layer_scale_eps: float
    encoder_momentum: float
    final_encoder_momentum: float


class OfficialClassifier(Config):
    """Keys of the official evaluation config that a classifier depends on."""

    model_config = ConfigDict(extra="ignore")

    num_classes: int
    use_register: bool
    attn_pooling: bool
    crop_duration: _Amount | None
    crop_stride: _Amount | None


def is_ecg_jepa(checkpoint: Mapping[str, object]) -> bool:
    """Whether a checkpoint has the official layout."""
    model, config = checkpoint.get("model"), checkpoint.get("config")
    return isinstance(model, dict) and isinstance(config, dict) and {"channel_size", "pred_dim"} <= config.keys()


def convert_with_constants(where: str, checkpoint: Mapping[str, object], statistics: str | None = None) -> Converted:
    """Convert a checkpoint, also minified or a classifier, with its preprocessing.

    statistics: the data set whose published constants standardise new recordings. Default: the one that pretraining
    used most. Classifiers have their own constants.
    """
    made = convert(where, checkpoint)
    preprocessing = _preprocessing(where, checkpoint, made.config, statistics)
    if "preprocess" not in checkpoint:
        name = _data_set(where, _official(where, checkpoint), statistics)
        note = f"New recordings are standardised with the constants of {name}; pretraining used those of each data set."
        provenance = made.config.provenance
        provenance = provenance.model_copy(update={"notes": (*provenance.notes, note)})
        made = replace(made, config=made.config.model_copy(update={"provenance": provenance}))
    return replace(made, preprocessing=preprocessing)


def convert(where: str, checkpoint: Mapping[str, object]) -> Converted:
    """Convert the teacher (and student) of a pretraining checkpoint, or the encoder and head of a classifier."""
    official = _official(where, checkpoint)
    tensors = from_official(where, checkpoint["model"])  # type: ignore[arg-type]
    classifier = _classifier(where, checkpoint, official) if "eval_config" in checkpoint else None
    if classifier is not None:
        main, student = _parts(tensors, "encoder", "head"), None
    elif any(name.startswith("target_encoder.") for name in tensors):
        teacher = _parts(tensors, "target_encoder", "predictor")
        main = {name.removeprefix("target_"): tensor for name, tensor in teacher.items()}
        student = _parts(tensors, "encoder") or None
    else:
        raise InputError(f"{where}: has no 'target_encoder', the teacher")
    others = tensors.keys() - _parts(tensors, "encoder", "target_encoder", "predictor", "head").keys()
    if others:
        raise InputError(f"{where}: tensor '{min(others)}' does not belong to ECG-JEPA")
    old = not official.bias and any(re.search(r"norm\d?\.bias$", name) for name in main)
    step = checkpoint.get("step")
    config = validated(
        ModelConfig,
        {
            "objective": _objective(where, official, official.bias or old, main),
            "channels": len(official.channels),
            "size": (official.channel_size,),
            "weights": "teacher" if classifier is None else "fine-tuned",
            "predictor": any(name.startswith("predictor.") for name in main),
            "classifier": classifier,
            "provenance": Provenance(
                steps=step if isinstance(step, int) else None,
                data=", ".join(f"{name} (share {share:.3g})" for name, share in official.datasets.items()),
                origin=f"official ECG-JEPA checkpoint {Path(where).name}",
                notes=(OLD_NORMS,) if old else (),
            ),
        },
        where,
    )
    if official.num_registers == 0:
        none = {"encoder.prefix": torch.empty(0, official.dim)}
        main, student = main | none, student and student | none
    if old:
        main, student = _with_zero_biases(main), student and _with_zero_biases(student)
    return Converted(config, main, {}, student)


def _official(where: str, checkpoint: Mapping[str, object]) -> OfficialConfig:
    return validated(OfficialConfig, checkpoint["config"], f"{where}: config")


def from_official(where: str, tensors: Mapping[str, object]) -> dict[str, Tensor]:
    """Official tensors (or their gradients) with our names and shapes. Unknown names are kept."""
    ours = renamed(where, tensors, NAMES)
    for name, tensor in ours.items():
        if tensor.ndim == 3:  # convolution (D, C, p), registers (1, R, D), mask token and query (1, 1, D)
            tensor = tensor.flatten(1) if name.endswith("project.weight") else tensor.flatten(0, 1)
        ours[name] = tensor[0] if name == "head.read.query" and len(tensor) == 1 else tensor
    return ours


def _objective(
    where: str, official: OfficialConfig, bias: bool, tensors: Mapping[str, Tensor]
) -> MaskedPredictionConfig:
    def ratio(part: str, width: int) -> float:
        hidden = tensors.get(f"{part}.transformer.blocks.0.mlp.fc1.weight")
        return official.mlp_ratio if hidden is None else len(hidden) / width  # the official code rounds down

    block = {
        "bias": bias,
        "qkv_bias": official.qkv_bias,
        "norm_eps": official.norm_eps,
        "dropout": official.dropout,
        "attention_dropout": official.attn_dropout,
    }
    encoder = {
        "patch": (official.patch_size,),
        "dim": official.dim,
        "depth": official.depth,
        "heads": official.num_heads,
        "registers": official.num_registers,
        "block": block | {"mlp_ratio": ratio("encoder", official.dim), "layer_scale": official.layer_scale_eps or None},
    }
    predictor = {
        "dim": official.pred_dim,
        "depth": official.pred_depth,
        "heads": official.pred_num_heads,
        "block": block | {"mlp_ratio": ratio("predictor", official.pred_dim)},
    }
    masks = {"keep": (official.min_keep_ratio, official.max_keep_ratio), "min_span": official.min_block_size}
    target = {"momentum": (official.encoder_momentum, official.final_encoder_momentum)}
    raw = {"encoder": encoder, "predictor": predictor, "masks": masks, "target": target}
    return validated(MaskedPredictionConfig, raw, f"{where}: config")


def _classifier(where: str, checkpoint: Mapping[str, object], official: OfficialConfig) -> ClassifierConfig:
    head = validated(OfficialClassifier, checkpoint["eval_config"], f"{where}: eval_config")
    if head.attn_pooling and not head.use_register and official.num_registers:
        raise InputError(f"{where}: an attentive head that does not see the registers is not supported")
    kind = "attentive" if head.attn_pooling else "register" if head.use_register else "mean"
    window = stride = None
    if head.crop_duration is not None:  # the official code truncates
        window = int(head.crop_duration * official.sampling_frequency)
        stride = window if head.crop_stride is None else int(head.crop_stride * official.sampling_frequency)
    biased = any(re.match(r"(attn_pool|fc)\..*\bbias$", str(name)) for name in checkpoint["model"])  # type: ignore[attr-defined]
    return validated(
        ClassifierConfig,
        {
            "head": HeadConfig(kind=kind, bias=biased),
            "classes": tuple(f"class {number}" for number in range(head.num_classes)),  # the file has no names
            "exclusive": Path(where).name.startswith(
                "ST-MEM"
            ),  # the only task with one class per record; not in the file
            "window": window,
            "stride": stride,
            "tail": "drop",
        },
        f"{where}: eval_config",
    )


def _preprocessing(
    where: str, checkpoint: Mapping[str, object], config: ModelConfig, statistics: str | None
) -> dict[str, object]:
    official, classifier = _official(where, checkpoint), config.classifier
    leads = tuple(map(canonical_lead, official.channels))
    if "preprocess" in checkpoint:
        if statistics is not None:
            raise InputError(f"{where}: a classifier has its own constants; omit the data set '{statistics}'")
        constants = checkpoint["preprocess"]
        if not isinstance(constants, dict) or not all(
            isinstance(constants.get(key), Tensor) and constants[key].shape == (len(LEADS),) for key in ("mean", "std")
        ):
            raise InputError(f"{where}: 'preprocess' must contain 'mean' and 'std' of {len(LEADS)} leads")
        mean, std = constants["mean"].tolist(), constants["std"].tolist()  # in the lead order of PTB-XL
    else:
        mean, std = CATALOGUE[_data_set(where, official, statistics)].constants()
    unknown = [lead for lead in leads if lead not in LEADS]
    if unknown:
        raise InputError(f"{where}: config: lead '{unknown[0]}' is unknown{did_you_mean(unknown[0], LEADS)}")
    raw = {
        "fs": official.sampling_frequency,
        "leads": leads,
        "samples": official.channel_size if classifier is None or classifier.window is None else classifier.window,
        "mean": [mean[LEADS.index(lead)] for lead in leads],
        "std": [std[LEADS.index(lead)] for lead in leads],
    }
    return validated(EcgPreprocessing, raw, where).model_dump(mode="json")


def _data_set(where: str, official: OfficialConfig, statistics: str | None) -> str:
    name = statistics or max(official.datasets, key=lambda name: official.datasets[name], default="none")
    if name not in CATALOGUE:
        raise InputError(f"{where}: there are no constants for data set '{name}'{did_you_mean(name, CATALOGUE)}")
    return name


def _parts(tensors: Mapping[str, Tensor], *parts: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.partition(".")[0] in parts}


def _with_zero_biases(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Add zero biases to Linear layers without a bias, because one flag controls all biases here."""
    biases = {
        name.removesuffix("weight") + "bias": torch.zeros(len(tensor))
        for name, tensor in tensors.items()
        if name.endswith(".weight") and tensor.ndim == 2 and ".qkv." not in name
    }
    return biases | dict(tensors)
