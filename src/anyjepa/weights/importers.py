"""The layouts of published weights that can be imported, and how each is recognised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from anyjepa.errors import InputError, reason
from anyjepa.weights import ecg_fm, ecg_jepa, ecg_jepa_kim, image_vits, meta_jepa, nepa, vjepa2, vjepa21
from anyjepa.weights.folder import PREPROCESSING
from anyjepa.weights.foreign import Converted
from anyjepa.weights.source import Source, find_source

Option = Literal["statistics", "heads", "images"]


@dataclass(frozen=True)
class Options:
    """What the files do not say, see `import_weights`. constants: whether to make the preprocessing, too."""

    statistics: str | None = None
    heads: int | None = None
    images: bool = False
    constants: bool = True


@dataclass(frozen=True)
class Importer:
    """A layout of published weights.

    sign: how it is recognised, in words. takes: the options that apply to it. networks: the part of a source's content
    that holds weights.
    """

    name: str
    sign: str
    fits: Callable[[Source], bool]
    conversion: Callable[[Source, Options], Converted]
    takes: tuple[Option, ...] = ()
    networks: Callable[[Source], object] = lambda source: source.content

    def convert(self, source: Source, options: Options) -> Converted:
        """Convert the weights. Raises InputError for tensors that are missing or have other shapes."""
        try:
            return self.conversion(source, options)
        except InputError:
            raise
        except KeyError as error:
            raise InputError(f"{source.where}: tensor '{error.args[0]}' is missing") from error
        except (IndexError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
            raise InputError(
                f"{source.where}: its tensors do not have the shapes of {self.name} ({reason(error)})"
            ) from error


def _meta_networks(source: Source) -> object:
    return {part: source.content[part] for part in meta_jepa.PARTS}


IMPORTERS = (
    Importer(
        "NEPA",
        "model_type vit_nepa",
        lambda source: source.model_type in nepa.MODEL_TYPES,
        lambda source, options: nepa.convert(source.folder, options.statistics, options.constants),
        ("statistics",),
    ),
    Importer(
        "ECG-JEPA",
        "keys model and config with channel_size",
        lambda source: ecg_jepa.is_ecg_jepa(source.content),
        lambda source, options: (
            ecg_jepa.convert_with_constants(source.where, source.content, options.statistics)
            if options.constants
            else ecg_jepa.convert(source.where, source.content)
        ),
        ("statistics",),
        lambda source: source.content["model"],
    ),
    Importer(
        "ECG-JEPA of Kim",
        "key encoder with W_P.weight and pos_embed",
        lambda source: ecg_jepa_kim.is_kim(source.content),
        lambda source, options: ecg_jepa_kim.convert(source.where, source.content, options.heads),
        ("heads",),
        lambda source: source.content["encoder"],
    ),
    Importer(
        "ECG-FM and others of fairseq-signals",
        "keys model with feature_extractor.conv_layers and cfg with model",
        lambda source: ecg_fm.is_fairseq(source.content),
        lambda source, options: ecg_fm.convert(source.where, source.content),
        networks=lambda source: source.content["model"],
    ),
    Importer(
        "I-JEPA",
        "keys encoder, predictor and target_encoder, 2-D patches",
        lambda source: meta_jepa.layout_of(source.content) == "ijepa",
        lambda source, options: meta_jepa.convert(source.where, source.content, options.heads),
        ("heads",),
        _meta_networks,
    ),
    Importer(
        "V-JEPA",
        "the same with 3-D patches and 2 mask tokens",
        lambda source: meta_jepa.layout_of(source.content) == "vjepa",
        lambda source, options: meta_jepa.convert(source.where, source.content, options.heads),
        ("heads",),
        _meta_networks,
    ),
    Importer(
        "V-JEPA 2",
        "the same with 10 mask tokens",
        lambda source: meta_jepa.layout_of(source.content) == "vjepa2",
        lambda source, options: vjepa2.convert_official(source, options.heads),
        ("heads",),
        _meta_networks,
    ),
    Importer(
        "V-JEPA 2.1",
        "keys predictor and target_encoder or ema_encoder, with norms_block",
        lambda source: meta_jepa.layout_of(source.content) == "vjepa21",
        lambda source, options: vjepa21.convert(source, options.heads, options.images),
        ("heads", "images"),
        lambda source: vjepa21.networks(source.content),
    ),
    Importer(
        "V-JEPA 2 of transformers",
        "model_type vjepa2",
        lambda source: source.model_type == "vjepa2",
        lambda source, options: vjepa2.convert_transformers(source),
    ),
    Importer(
        "ViT, I-JEPA, DINOv2 and DINOv3 of transformers",
        f"model_type {', '.join(image_vits.TITLES)}",
        lambda source: source.model_type in image_vits.TITLES,
        lambda source, options: image_vits.convert_transformers(source),
    ),
    Importer(
        "timm, DINO, DINOv2 and DINOv3",
        "blocks.0.attn.qkv and a 2-D patch_embed.proj",
        lambda source: not source.model_type and image_vits.is_timm(source.content),
        lambda source, options: image_vits.convert_timm(source, options.heads),
        ("heads",),
    ),
)


def import_weights(
    path: Path | str,
    folder: Path | str,
    statistics: str | None = None,
    heads: int | None = None,
    images: bool = False,
) -> Path:
    """Convert published weights to a model folder: a file, a Hugging Face folder or an id. The layout is recognised.

    statistics: for ECG models, the data set whose published constants standardise new recordings; by default, and if
    the weights do not have their own, the one that pretraining used most. heads: number of attention heads, for layouts
    whose file does not say and widths without a published model. images: convert a model that projects images and
    videos separately (V-JEPA 2.1) for images. Raises InputError if no layout fits, if the tensors do not fit the
    layout, or for an option that does not belong to it.
    """
    source = find_source(path)
    importer = recognised(source)
    options = Options(statistics, heads, images)
    for option in get_args(Option):
        if getattr(options, option) not in (None, False) and option not in importer.takes:
            raise InputError(f"{path}: is in the layout of {importer.name}, which does not need --{option}; omit it")
    return importer.convert(source, options).save(folder)


def recognised(source: Source) -> Importer:
    """Recognise the layout of published weights. Raises InputError, which lists what was looked for."""
    for importer in IMPORTERS:
        if importer.fits(source):
            return importer
    if source.config and (source.folder / PREPROCESSING).is_file():
        raise InputError(f"{source.where}: is already a model folder of anyjepa; use it as it is")
    keys = ", ".join(map(str, source.content))
    about = f"Its model_type: {source.model_type}" if source.model_type else f"Its keys: {keys[:120]}"
    looked = "; ".join(f"{importer.name} ({importer.sign})" for importer in IMPORTERS)
    raise InputError(f"{source.where}: is in none of the known layouts. Looked for: {looked}. {about}")
