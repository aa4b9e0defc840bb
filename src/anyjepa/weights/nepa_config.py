"""The JSON files of an official NEPA folder: config.json, and the constants of its preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from anyjepa.config import Config, Share, validated
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.preprocessing import EcgPreprocessing
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.data.files import read_json
from anyjepa.data.images.preprocessing import CHANNELS, ImagePreprocessing
from anyjepa.errors import InputError, did_you_mean
from anyjepa.weights.source import PROCESSOR

FS = 500.0  # Hz, as in the ECG port; it is not in the folder
CENTRE = 0.875  # share of the shorter side that evaluation crops: 224 of 256 pixels
# Official (hidden_act, use_gated_mlp) -> our name of the MLP.
MLPS = {
    ("gelu", False): "gelu",
    ("relu", False): "relu",
    ("silu", False): "silu",
    ("gelu", True): "geglu",
    ("silu", True): "swiglu",
}


class OfficialConfig(Config):
    """The keys of the official config.json that a model depends on, with the official defaults.

    Settings that matter only in training are ignored. An ECG model (`vit_nepa_ecg`) has a signal_length.
    """

    model_config = ConfigDict(extra="ignore")

    model_type: Literal["vit_nepa", "vit_nepa_ecg"]
    hidden_size: PositiveInt = 768
    num_hidden_layers: PositiveInt = 12
    num_attention_heads: PositiveInt = 12
    intermediate_size: PositiveInt = 3072
    image_size: PositiveInt = 224
    signal_length: PositiveInt = 5000
    patch_size: PositiveInt = 16
    num_channels: PositiveInt = 3
    hidden_act: str = "gelu"
    hidden_dropout_prob: Share = 0.0
    attention_probs_dropout_prob: Share = 0.0
    drop_path_prob: Share = 0.0
    layer_norm_eps: PositiveFloat = 1e-12
    layerscale_value: float | None = 1e-5
    qkv_bias: bool = True
    qk_norm: bool = False
    qk_norm_affine: bool = False
    qk_norm_bias: bool = False
    rope_theta: PositiveFloat = 100.0
    pos_embed_rescale: float | None = 2.0
    pos_embed_shift: float | None = None
    pos_embed_jitter: float | None = None
    num_prompt_token: int = 0
    use_gated_mlp: bool = False
    is_causal: bool = True
    add_pooling_layer: bool = False
    problem_type: str | None = None
    id2label: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _of_ecgs(cls, plain: Any) -> Any:
        if isinstance(plain, dict) and plain.get("model_type") == "vit_nepa_ecg":
            return {"patch_size": 25, "num_channels": 12, **plain}
        return plain

    @property
    def ecg(self) -> bool:
        return self.model_type == "vit_nepa_ecg"

    @property
    def length(self) -> int:
        """Input samples along each axis."""
        return self.signal_length if self.ecg else self.image_size


def read_official(path: Path) -> OfficialConfig:
    """Read config.json of an official folder. Raises InputError for unsupported settings."""
    where = f"{path}/config.json"
    official = validated(OfficialConfig, read_json(path / "config.json"), where)
    scale, rescale = official.layerscale_value, official.pos_embed_rescale
    for fits, key, why in (
        (MLPS.get((official.hidden_act, official.use_gated_mlp)), "hidden_act", f"supported are {_supported_mlps()}"),
        (official.num_prompt_token == 0, "num_prompt_token", "prompt tokens are not supported"),
        (official.pos_embed_shift is None, "pos_embed_shift", "shifts of positions in training are not supported"),
        (official.pos_embed_jitter is None, "pos_embed_jitter", "jitter of positions in training is not supported"),
        (rescale is None or rescale >= 1, "pos_embed_rescale", "it must be 1 or more, or null"),
        (scale is None or scale > 0, "layerscale_value", "it must be positive, or null for no LayerScale"),
        (official.length % official.patch_size == 0, "patch_size", f"{official.length} samples are not a multiple"),
        (official.problem_type != "regression", "problem_type", "only classification is supported"),
    ):
        if not fits:
            raise InputError(f"{where}: {key} is {getattr(official, key)!r}; {why}")
    return official


def _supported_mlps() -> str:
    return ", ".join(f"'{act}' {'with' if gated else 'without'} use_gated_mlp" for act, gated in MLPS)


class Processor(Config):
    """Keys of preprocessor_config.json that determine the constants of an image model."""

    model_config = ConfigDict(extra="ignore")

    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, ...]
    image_std: tuple[PositiveFloat, ...]
    resample: int = 2
    size: dict[str, int] = Field(default_factory=dict)


def preprocessing_of(path: Path, official: OfficialConfig, axes: int, statistics: str | None) -> dict[str, object]:
    """Make `preprocessing.json` for a folder. statistics: the data set whose constants an ECG model uses.

    Raises InputError for channels without constants, and for unsupported image processing.
    """
    channels = official.num_channels
    if axes == 1:
        if channels != len(LEADS):
            raise InputError(f"{path}: num_channels is {channels}; an ECG model has the {len(LEADS)} leads")
        if statistics is None:
            raise InputError(
                f"{path}: is an ECG model without preprocessing constants; name a data set with --statistics: "
                f"{', '.join(CATALOGUE)}"
            )
        if statistics not in CATALOGUE:
            hint = did_you_mean(statistics, CATALOGUE)
            raise InputError(f"{path}: there are no constants for data set '{statistics}'{hint}")
        mean, std = CATALOGUE[statistics].constants()
        raw = {"fs": FS, "samples": official.length, "mean": mean, "std": std}
        return validated(EcgPreprocessing, raw, str(path)).model_dump(mode="json")
    if statistics is not None:
        raise InputError(f"{path}: is an image model, which has its own constants; omit '{statistics}'")
    colours = next((name for name, number in CHANNELS.items() if number == channels), None)
    if colours is None:
        raise InputError(f"{path}: num_channels is {channels}; images have 3 channels (RGB) or 1 (grey)")
    mean, std = _constants(path, official)
    raw = {"side": official.length, "colours": colours, "centre": CENTRE, "mean": mean, "std": std}
    return validated(ImagePreprocessing, raw, str(path)).model_dump(mode="json")


def _constants(path: Path, official: OfficialConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation from preprocessor_config.json, or 0.5 and 0.5 without it, as published."""
    channels = official.num_channels
    if not (path / PROCESSOR).exists():
        return (0.5,) * channels, (0.5,) * channels
    processor = validated(Processor, read_json(path / PROCESSOR), f"{path}/{PROCESSOR}")
    for fits, key, why in (
        (processor.do_rescale, "do_rescale", "pixels from 0 to 1 are supported"),
        (abs(255 * processor.rescale_factor - 1) < 1e-6, "rescale_factor", "pixels from 0 to 1 are supported"),
        (processor.resample == 2, "resample", "2 (bilinear) is supported"),
        (set(processor.size.values()) <= {official.length}, "size", f"image_size is {official.length}"),
    ):
        if not fits:
            raise InputError(f"{path}/{PROCESSOR}: {key} is {getattr(processor, key)}; {why}")
    return (
        (processor.image_mean, processor.image_std)
        if processor.do_normalize
        else ((0.0,) * channels, (1.0,) * channels)
    )
