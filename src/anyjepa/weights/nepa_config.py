"""Read config.json of an official NEPA folder, and check that its sizes and flags are supported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from anyjepa.config import Config, Share, validated
from anyjepa.data.files import read_json
from anyjepa.errors import InputError

# Our name of the MLP by the official hidden_act and use_gated_mlp.
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
    def _of_ecgs(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("model_type") == "vit_nepa_ecg":
            return {"patch_size": 25, "num_channels": 12, **given}
        return given

    @property
    def ecg(self) -> bool:
        return self.model_type == "vit_nepa_ecg"

    @property
    def length(self) -> int:
        """Samples of an input along each axis."""
        return self.signal_length if self.ecg else self.image_size


def read_official(path: Path) -> OfficialConfig:
    """Read config.json of an official folder. Raises InputError for unsupported settings."""
    where = f"{path}/config.json"
    official = validated(OfficialConfig, read_json(path / "config.json"), where)
    scale, rescale = official.layerscale_value, official.pos_embed_rescale
    for fits, key, why in (
        (MLPS.get((official.hidden_act, official.use_gated_mlp)), "hidden_act", f"known are {_known_mlps()}"),
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


def _known_mlps() -> str:
    return ", ".join(f"'{act}' {'with' if gated else 'without'} use_gated_mlp" for act, gated in MLPS)
