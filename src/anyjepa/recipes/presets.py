"""Published evaluation protocols, each with every one of its values."""

from __future__ import annotations

from importlib import resources
from typing import Any

import yaml
from pydantic import PositiveFloat

from anyjepa.config import Config
from anyjepa.errors import InputError
from anyjepa.recipes.plain import merge


class Preset(Config):
    """A protocol by name: settings of `EvaluationConfig`; those of ECGs have windows in seconds, for rates differ."""

    name: str
    description: str
    window_s: PositiveFloat | None = None
    stride_s: PositiveFloat | None = None
    evaluation: dict[str, Any]

    def settings(self, fs: float | None, patch: int) -> dict[str, Any]:
        """For an encoder at `fs` Hz (None: no ECGs) with tokens of `patch` samples.

        InputError where a window is no whole tokens, and where seconds have no meaning.
        """
        if self.window_s is None or self.stride_s is None:
            return merge(self.evaluation, {"preset": self.name})
        if fs is None:
            raise InputError(
                f"protocol {self.name} is for ECGs: its windows are in seconds, and this model's records have no rate"
            )
        length, stride = self.window_s * fs, self.stride_s * fs
        if length % patch or stride % 1:
            raise InputError(
                f"{self.name}: {self.window_s:g} s every {self.stride_s:g} s are {length:g} and {stride:g} samples at "
                f"{fs:g} Hz; windows are whole tokens of {patch} samples, and begin at whole samples"
            )
        windows = {"length": int(length), "stride": int(stride)}
        return merge(self.evaluation, {"preset": self.name, "windows": windows})


def preset_names() -> list[str]:
    """The protocols that come with the package."""
    return sorted(file.name.removesuffix(".yaml") for file in _folder().iterdir())


def load_preset(name: str) -> Preset:
    """A protocol of `preset_names`."""
    return Preset.model_validate(yaml.safe_load(preset_yaml(name)))


def preset_yaml(name: str) -> str:
    """A protocol as it is written down."""
    return _folder().joinpath(f"{name}.yaml").read_text()


def _folder() -> Any:
    return resources.files("anyjepa.recipes") / "protocols"
