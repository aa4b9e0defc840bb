"""Import encoders of images: ViT, I-JEPA, DINOv2 and DINOv3 of `transformers`, and weights named as in timm.

Sizes are those of the tensors. The weights of DINO, DINOv2, DINOv3, DeiT and MAE in their own repositories are named
nearly as in timm. A pooling layer and a mask token, which no embedding needs, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from anyjepa.config import Config, validated
from anyjepa.errors import InputError, one_line
from anyjepa.masks.blocks import BlocksConfig
from anyjepa.nn.positions import AnyPositions, LearnedConfig, RotaryConfig, SinCosConfig, sincos_table
from anyjepa.objectives.masked import MaskedPredictionConfig
from anyjepa.weights.foreign import Converted, joined, renamed
from anyjepa.weights.image_looks import Look, look_of_folder, look_of_timm, preprocessing_of
from anyjepa.weights.meta_jepa import HEADS, published_heads
from anyjepa.weights.model import ClassifierConfig, ModelConfig, Provenance
from anyjepa.weights.nepa_config import MLPS
from anyjepa.weights.source import Source
from anyjepa.weights.tensors import single_precision

TITLES = {
    "vit": "ViT of transformers",
    "ijepa": "I-JEPA of transformers",
    "dinov2": "DINOv2 of transformers",
    "dinov2_with_registers": "DINOv2 of transformers",
    "dinov3_vit": "DINOv3 ViT of transformers",
}  # by model_type
# Names of `transformers` -> ours; queries, keys and values are joined, and so are the two inputs of a gated MLP.
TRANSFORMERS = (
    (r"^(vit|ijepa|dinov2|dinov2_with_registers|dinov3_vit)\.", ""),
    (r"^embeddings\.cls_token$", "cls"),
    (r"^embeddings\.register_tokens$", "registers"),
    (r"^embeddings\.position_embeddings$", "table"),
    (r"^embeddings\.patch_embeddings\.(projection\.)?", "project."),
    (r"^((encoder|model)\.)?layer\.", "transformer.blocks."),
    (r"\.attention\.attention\.", ".attn."),
    (r"\.attention\.q_proj\.", ".attn.query."),
    (r"\.attention\.k_proj\.", ".attn.key."),
    (r"\.attention\.v_proj\.", ".attn.value."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.(weights_out|down_proj)\.", ".mlp.fc2."),
    (r"\.layer_scale(\d)\.lambda1$", r".scale\1"),
    (r"^layernorm\.", "norm."),
    (r"^classifier\.", "head.read."),
)
PREFIX = r"(module\.)?(backbone\.)?"
TIMM = (
    (rf"^{PREFIX}", ""),
    (r"^cls_token$", "cls"),
    (r"^(reg_token|register_tokens|storage_tokens)$", "registers"),
    (r"^pos_embed$", "table"),
    (r"^patch_embed\.proj\.", "project."),
    (r"^blocks\.", "transformer.blocks."),
    (r"\.ls(\d)\.gamma$", r".scale\1"),
    (r"\.mlp\.w12\.", ".mlp.fc1."),
    (r"\.mlp\.w1\.", ".mlp.gate_proj."),
    (r"\.mlp\.w2\.", ".mlp.up_proj."),
    (r"\.mlp\.w3\.", ".mlp.fc2."),
    (r"^head\.", "head.read."),
)
UNUSED = ("mask_token", "embeddings.mask_token", "pooler.dense.weight", "pooler.dense.bias")
TIMM_HEADS = HEADS | {1536: 24}  # width -> heads; DINOv2 has another giant model
TIMM_EPS = 1e-6
PERIODS = "rope_embed.periods"  # of the rotary positions of DINOv3
DINOV3_SIDE, DINOV3_THETA, DINOV3_RESCALE, DINOV3_EPS = 224, 100.0, 2.0, 1e-5  # of all published sizes
HALF = (0.5, 0.5, 0.5)  # mean and standard deviation of ViT


class TransformersConfig(Config):
    """Keys of config.json of `transformers` that a model depends on."""

    model_config = ConfigDict(extra="ignore")

    model_type: str
    num_attention_heads: PositiveInt
    layer_norm_eps: PositiveFloat
    image_size: PositiveInt
    hidden_act: str = "gelu"
    use_swiglu_ffn: bool = False
    num_register_tokens: NonNegativeInt = 0
    rope_theta: PositiveFloat = 100.0
    pos_embed_rescale: float | None = None
    id2label: dict[str, str] = Field(default_factory=dict)
    problem_type: str | None = None


@dataclass(frozen=True)
class Settings:
    """Settings that the tensors do not determine.

    activation, gated: activations of a plain and of a gated MLP. classes: names of outputs, if known.
    """

    origin: str
    heads: int
    eps: float
    activation: str
    gated: str
    weights: str
    look: Look
    rotary: RotaryConfig | None = None
    side: int | None = None
    classes: Mapping[str, str] | None = None
    exclusive: bool = True


def convert_transformers(source: Source) -> Converted:
    """Convert a folder of `transformers`: the encoder, and the classifier of a ViT, which reads the CLS token."""
    where = source.where
    config = validated(TransformersConfig, dict(source.config), f"{where}/config.json")
    tensors = {
        name: tensor for name, tensor in renamed(where, source.content, TRANSFORMERS).items() if name not in UNUSED
    }
    for name, theirs, expected in (
        ("cls", "cls_token", config.model_type != "ijepa"),
        ("registers", "register_tokens", config.num_register_tokens > 0),
    ):
        if expected and name not in tensors:
            raise InputError(f"{where}: tensor 'embeddings.{theirs}' is missing")
    activation, rotary = config.hidden_act, None
    if config.model_type == "dinov3_vit":
        tensors = _without_key_bias(tensors)
        rescale = config.pos_embed_rescale if config.pos_embed_rescale != 1 else None
        raw = {"kind": "rotary", "theta": config.rope_theta, "rescale": rescale, "span": "input"}
        rotary = validated(RotaryConfig, raw, f"{where}/config.json: pos_embed_rescale")
    made = Settings(
        origin=f"{TITLES[config.model_type]}, {source.name}",
        heads=config.num_attention_heads,
        eps=config.layer_norm_eps,
        activation=activation,
        gated="silu" if config.use_swiglu_ffn else activation,
        weights="published" if config.model_type == "vit" else "teacher",
        look=look_of_folder(source.folder, HALF if config.model_type == "vit" else None),
        rotary=rotary,
        side=config.image_size,
        classes=config.id2label,
        exclusive=config.problem_type != "multi_label_classification",
    )
    return _converted(where, made, joined(where, tensors))


def is_timm(content: Mapping[str, object]) -> bool:
    """Whether a checkpoint has a vision transformer of images named as in timm."""
    tensors = timm_tensors(content)
    patches = next(
        (t for name, t in tensors.items() if re.fullmatch(rf"{PREFIX}patch_embed\.proj\.weight", name)), None
    )
    blocks = any(re.fullmatch(rf"{PREFIX}blocks\.0\.attn\.qkv\.weight", name) for name in tensors)
    return isinstance(patches, Tensor) and patches.ndim == 4 and blocks


def timm_tensors(content: Mapping[str, object]) -> dict[str, object]:
    """The weights of a checkpoint, which may be nested under a key."""
    inner = next((content[key] for key in ("model", "state_dict", "teacher") if isinstance(content.get(key), dict)), {})
    named = inner if isinstance(inner, dict) and inner else content
    return {str(name): tensor for name, tensor in named.items()}


def convert_timm(source: Source, heads: int | None = None) -> Converted:
    """Convert weights named as in timm, and their classifier if it reads the CLS token. heads: default as published."""
    where = source.where
    tensors = {name: t for name, t in renamed(where, timm_tensors(source.content), TIMM).items() if name not in UNUSED}
    if any(name.startswith("fc_norm.") for name in tensors):
        raise InputError(f"{where}: its norm (fc_norm) comes after an average over tokens, which is not supported")
    width, look = len(tensors["project.weight"]), look_of_timm(source)
    if PERIODS in tensors:
        return _converted(where, _dinov3(source, tensors, width, look), tensors)
    made = Settings(
        origin=f"timm, {source.name}",
        heads=heads or published_heads(where, width, TIMM_HEADS),
        eps=TIMM_EPS,
        activation="gelu",
        gated="silu",
        weights="published",
        look=look,
        classes={},
    )
    return _converted(where, made, tensors)


def _dinov3(source: Source, tensors: dict[str, Tensor], width: int, look: Look) -> Settings:
    """Convert an official checkpoint without unused tensors: masks, biases of keys, and the norm of local crops."""
    periods = tensors.pop(PERIODS).float().flatten()
    expected = DINOV3_THETA ** (torch.arange(len(periods)) / max(len(periods), 1))
    if not len(periods) or not torch.allclose(periods, expected, rtol=1e-2):
        raise InputError(f"{source.where}: tensor '{PERIODS}' does not have the published periods")
    for name in list(tensors):
        if name.endswith(".bias_mask") or name.startswith("local_cls_norm."):
            del tensors[name]
        elif name.endswith(".qkv.bias") and tensors[name].ndim:
            tensors[name] = tensors[name].clone()
            tensors[name][width : 2 * width] = 0
    return Settings(
        origin=f"DINOv3, {source.name}",
        heads=width // (4 * len(periods)),
        eps=DINOV3_EPS,
        activation="gelu",
        gated="silu",
        weights="teacher",
        look=look,
        rotary=RotaryConfig(theta=DINOV3_THETA, rescale=DINOV3_RESCALE, span="input"),
        side=DINOV3_SIDE,
    )


def _converted(where: str, made: Settings, named: Mapping[str, Tensor]) -> Converted:
    """Make a model. named: tensors of the encoder and `head.*`, with `cls`, `registers` and a `table` of positions."""
    tensors = single_precision(named)
    head = {name: tensors.pop(name) for name in list(tensors) if name.startswith("head.")}
    for name in [name for name in tensors if name.endswith("mlp.gate_proj.weight")]:
        _join_gate(tensors, name.removesuffix("gate_proj.weight"))
    tensors = {name.replace(".mlp.up_proj.", ".mlp.fc1."): tensor for name, tensor in tensors.items()}
    width, channels, *patch = tensors["project.weight"].shape
    tensors["project.weight"] = tensors["project.weight"].flatten(1)
    cls, registers = (tensors.pop(name, torch.empty(1, 0, width)) for name in ("cls", "registers"))
    prefix = torch.cat([cls, registers], dim=1)[0]
    positions, table, prefix, grid = _place(where, made, tensors.pop("table", None), prefix, cls.shape[1], patch)
    if len(table):
        tensors["positions.learned"] = table
    encoder = {
        "patch": tuple(patch),
        "dim": width,
        "depth": sum(name.endswith(".norm1.weight") for name in tensors),
        "heads": made.heads,
        "positions": positions,
        "block": _block(where, made, tensors, width),
        "cls": cls.shape[1] > 0,
        "registers": registers.shape[1],
        "init": "plain",
    }
    classifier = _classifier(made, head, width) if len(prefix) and head else None
    size = tuple(n * p for n, p in zip(grid, patch, strict=True))
    predictor = {"dim": "x1", "depth": "x0.5", "heads": made.heads}  # there is none, but a config needs its settings
    raw = {"encoder": encoder, "predictor": predictor, "masks": BlocksConfig(mode="reference")}
    notes = (made.look.note, "" if classifier or not head else "Its classifier was left out: it is not a layer on CLS.")
    config = validated(
        ModelConfig,
        {
            "objective": validated(MaskedPredictionConfig, raw, where),
            "channels": channels,
            "size": size,
            "weights": "fine-tuned" if classifier else made.weights,
            "predictor": False,
            "classifier": classifier,
            "provenance": Provenance(
                data="unknown (not in the file)",
                origin=one_line(made.origin),
                notes=tuple(filter(None, notes)),
            ),
        },
        where,
    )
    ours = {f"encoder.{name}": tensor for name, tensor in tensors.items()} | {"encoder.prefix": prefix}
    return Converted(config, ours | (head if classifier else {}), preprocessing_of(where, made.look, channels, size))


def _place(
    where: str, made: Settings, table: Tensor | None, prefix: Tensor, cls: int, patch: Sequence[int]
) -> tuple[AnyPositions, Tensor, Tensor, tuple[int, int]]:
    """Separate positions and their table (N, D), the prefix tokens including their positions, and the grid.

    table: (1, P + N, D), where P is 0, the number of CLS tokens, or of all prefix tokens.
    """
    if table is None:
        if made.rotary is None or made.side is None:
            raise InputError(f"{where}: has no table of positions, and its config has no rotary ones")
        return made.rotary, prefix[:0], prefix, (made.side // patch[0], made.side // patch[1])
    rows = table[0]
    extra = next((p for p in (0, cls, len(prefix)) if isqrt(len(rows) - p) ** 2 == len(rows) - p), None)
    if extra is None or made.rotary is not None:
        raise InputError(f"{where}: its table of {len(rows)} positions does not belong to a square of patches")
    prefix = torch.cat([prefix[:extra] + rows[:extra], prefix[extra:]])
    rows, side = rows[extra:], isqrt(len(rows) - extra)
    fixed = SinCosConfig(layout="halves", axes="last_first")
    if torch.allclose(sincos_table(fixed, rows.shape[1], (side, side)), rows, atol=1e-5):
        return fixed, rows[:0], prefix, (side, side)
    return LearnedConfig(), rows, prefix, (side, side)


def _block(where: str, made: Settings, tensors: Mapping[str, Tensor], width: int) -> dict[str, object]:
    first, second = (tensors[f"transformer.blocks.0.mlp.{name}.weight"] for name in ("fc1", "fc2"))
    gated = len(first) == 2 * second.shape[1]
    activation = made.gated if gated else made.activation
    if (activation, gated) not in MLPS:
        raise InputError(f"{where}: an MLP with '{activation}' is not supported; use gelu, relu or silu")
    norm = "transformer.blocks.0.attn.q_norm."
    return {
        "mlp": MLPS[activation, gated],
        "mlp_ratio": second.shape[1] / width,
        "bias": True,
        "qkv_bias": "transformer.blocks.0.attn.qkv.bias" in tensors,
        "qk_norm": "biased" if f"{norm}bias" in tensors else "affine" if f"{norm}weight" in tensors else "off",
        "norm_eps": made.eps,
        "layer_scale": 1.0 if "transformer.blocks.0.scale1" in tensors else None,
    }


def _classifier(made: Settings, head: Mapping[str, Tensor], width: int) -> ClassifierConfig | None:
    """Settings of a classifier that is one layer on the CLS token; None for another head."""
    if head.keys() != {"head.read.weight", "head.read.bias"} or head["head.read.weight"].shape[1] != width:
        return None
    names = [
        (made.classes or {}).get(str(number), f"class {number}") for number in range(len(head["head.read.weight"]))
    ]
    twice = {name for name in names if names.count(name) > 1}  # ImageNet has two cranes
    classes = [f"{name} ({number})" if name in twice else name for number, name in enumerate(names)]
    raw = {"head": {"kind": "register", "bias": True}, "classes": classes, "exclusive": made.exclusive}
    return validated(ClassifierConfig, raw, "classifier")


def _without_key_bias(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """DINOv3 has biases of queries and values only; a zero one changes nothing."""
    queries = [name for name in tensors if name.endswith(".attn.query.bias")]
    return {name.replace("query", "key"): torch.zeros_like(tensors[name]) for name in queries} | dict(tensors)


def _join_gate(tensors: dict[str, Tensor], mlp: str) -> None:
    for kind in ("weight", "bias"):
        gate, up = (tensors.pop(f"{mlp}{part}.{kind}") for part in ("gate_proj", "up_proj"))
        tensors[f"{mlp}fc1.{kind}"] = torch.cat([gate, up])
