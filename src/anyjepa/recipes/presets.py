"""Published evaluation protocols with all of their settings."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml
from pydantic import PositiveFloat

from anyjepa.config import Config
from anyjepa.errors import InputError
from anyjepa.recipes.plain import merge


class Preset(Config):
    """A published protocol: settings of `EvaluationConfig`. Protocols for ECGs have windows in seconds."""

    name: str
    description: str
    window_s: PositiveFloat | None = None
    stride_s: PositiveFloat | None = None
    evaluation: dict[str, Any]

    def settings(self, fs: float | None, patch: int) -> dict[str, Any]:
        """Settings for an encoder at `fs` Hz (None: not for ECGs) with tokens of `patch` samples.

        Raises InputError if a window is not a whole number of tokens, and for windows in seconds without a rate.
        """
        if self.window_s is None or self.stride_s is None:
            return merge(self.evaluation, {"preset": self.name})
        if fs is None:
            raise InputError(
                f"protocol {self.name} is for ECGs: its windows are in seconds, but records of this model have no rate"
            )
        length, stride = self.window_s * fs, self.stride_s * fs
        if length % patch or stride % 1:
            raise InputError(
                f"{self.name}: windows of {self.window_s:g} s every {self.stride_s:g} s are {length:g} and {stride:g} "
                f"samples at {fs:g} Hz; windows must be whole tokens of {patch} samples and start at whole samples"
            )
        windows = {"length": int(length), "stride": int(stride)}
        return merge(self.evaluation, {"preset": self.name, "windows": windows})


def preset_names() -> list[str]:
    """Names of the protocols in this package."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir())


def load_preset(name: str) -> Preset:
    """Load a protocol of `preset_names`."""
    return Preset.model_validate(yaml.safe_load(preset_yaml(name)))


def preset_yaml(name: str) -> str:
    """The YAML text of a protocol."""
    return _folder().joinpath(f"{name}.yaml").read_text()


def _folder() -> Any:
    return resources.files("anyjepa.recipes") / "protocols"
