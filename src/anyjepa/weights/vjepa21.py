"""Import official checkpoints of V-JEPA 2.1 (Mur-Labadia et al. 2026), for videos or for images.

Its encoder projects images and videos separately, and adds to all tokens a vector that says which they are. A model
here is for one of them, so this vector becomes part of the bias. Objectives see the normalised outputs of four blocks.
A distilled model predicts the last outputs of a larger one.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.nn.positions import AxialRotaryConfig
from anyjepa.weights import meta_jepa
from anyjepa.weights.foreign import Converted, renamed
from anyjepa.weights.meta_jepa import AVERAGE, from_official, network, published_heads
from anyjepa.weights.source import Source
from anyjepa.weights.tensors import single_precision
from anyjepa.weights.vjepa2 import HEADS, PREDICTOR_HEADS, assembled

SIZE = (64, 384, 384)  # frames and pixels of a clip
EARLIER = {12: (2, 5, 8), 24: (5, 11, 17), 40: (9, 19, 29), 48: (11, 23, 37)}  # depth -> blocks that objectives see
POSITIONS = AxialRotaryConfig(frequencies="same", stretch=16, axes=3)
PROJECTIONS = {"img": "patch_embed_img.proj.weight", "video": "project.weight"}  # (D, channels, frames, pixels, pixels)
# A head that predicts the visible tokens, used only in training.
VISIBLE = ("predictor_proj_context.weight", "predictor_proj_context.bias")


def networks(checkpoint: Mapping[str, object]) -> dict[str, object]:
    """The networks of a checkpoint by their names in `PARTS`; some files have no student."""
    teacher = AVERAGE if AVERAGE in checkpoint else "target_encoder"
    names = {"target_encoder": teacher, "encoder": "encoder", "predictor": "predictor"}
    return {part: checkpoint[name] for part, name in names.items() if name in checkpoint}


def convert(source: Source, heads: int | None = None, images: bool = False) -> Converted:
    """Convert the teacher, the predictor and, if it is there, the student.

    heads: see `vjepa2.convert_official`; images: convert the projection of images instead of that of videos. Raises
    InputError, or another error that `Importer.convert` explains, if the tensors do not fit the layout.
    """
    where, kind = source.where, "img" if images else "video"
    raw = {part: renamed(where, tensors, meta_jepa.NAMES) for part, tensors in networks(source.content).items()}
    levels = "embed.0.weight" in raw["predictor"]
    parts = {"predictor": _predictor(single_precision(raw["predictor"]), kind)}
    for part in raw.keys() - parts.keys():
        parts[part] = _encoder(where, single_precision(raw[part]), kind, levels)
    encoder, predictor = parts["target_encoder"], parts["predictor"]
    dim, width = len(encoder["project.weight"]), predictor["mask_tokens"].shape[1]
    own = heads or published_heads(where, dim, HEADS)
    settings = network(encoder, dim, own, POSITIONS)
    theirs = network(predictor, width, PREDICTOR_HEADS.get(width, own), POSITIONS)
    if levels:
        settings["levels"] = _earlier(where, encoder)
        theirs["hidden"] = len(predictor["embed.0.weight"])
    elif len(predictor["proj.bias"]) != dim:
        theirs["out"] = len(predictor["proj.bias"])
    channels, frames, *sides = raw["target_encoder"][PROJECTIONS[kind]].shape[1:]
    patch, size = ((channels, *sides), SIZE[1:]) if images else ((channels, frames, *sides), SIZE)
    return assembled(where, f"V-JEPA 2.1, official checkpoint {source.name}", parts, (settings, theirs), patch, size)


def _encoder(where: str, raw: dict[str, Tensor], kind: str, levels: bool) -> dict[str, Tensor]:
    """Tensors of an encoder for one kind of input, 'img' or 'video'. levels: keep the norms of earlier blocks."""
    tensors = dict(raw)
    shared = {name: tensors.pop(f"{name}_mod_embed") for name in ("img", "video")}
    for suffix in ("weight", "bias"):
        image = tensors.pop(f"patch_embed_img.proj.{suffix}")
        tensors[f"project.{suffix}"] = image if kind == "img" else tensors[f"project.{suffix}"]
    tensors["project.bias"] = tensors["project.bias"] + shared[kind].view_as(tensors["project.bias"])
    earlier = len(_earlier(where, tensors))
    for suffix in ("weight", "bias"):
        tensors[f"norm.{suffix}"] = tensors.pop(f"norms_block.{earlier}.{suffix}")
        for number in range(earlier):
            norm = tensors.pop(f"norms_block.{number}.{suffix}")
            if levels:
                tensors[f"level_norms.{number}.{suffix}"] = norm
    return from_official(tensors)


def _predictor(raw: dict[str, Tensor], kind: str) -> dict[str, Tensor]:
    """Tensors of a predictor for one kind of input; its vector becomes part of the mask tokens and of the bias."""
    tensors = from_official(raw)
    for name in VISIBLE:
        del tensors[name]
    shared = {name: tensors.pop(f"{name}_mod_embed") for name in ("img", "video")}
    last = "embed.2.bias" if "embed.0.weight" in tensors else "embed.bias"
    vector = shared[kind].view_as(tensors[last])
    tokens = tensors["mask_tokens"]
    return tensors | {"mask_tokens": tokens + vector.expand_as(tokens), last: tensors[last] + vector}


def _earlier(where: str, encoder: Mapping[str, Tensor]) -> tuple[int, ...]:
    """The blocks before the last whose outputs objectives see. Raises InputError for an unpublished depth."""
    depth = sum(name.endswith(".norm1.weight") for name in encoder)
    if depth not in EARLIER:
        raise InputError(
            f"{where}: its encoder has {depth} blocks; published encoders have {', '.join(map(str, EARLIER))}"
        )
    return EARLIER[depth]
