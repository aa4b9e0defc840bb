"""Small models that come with the package and are loaded by name, offline.

Each is a model folder in `models/` with an encoder in half precision, a card, and `about.json` for the list.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from anyjepa.config import Config, validated
from anyjepa.data.files import read_json
from anyjepa.errors import InputError, did_you_mean

ABOUT = "about.json"


class About(Config):
    """Entry of a model in the list of models."""

    data: str  # the modality
    parameters: str
    trained_on: str
    score: str  # one number with its control


def shipped_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(folder.name for folder in _models().iterdir() if (folder / ABOUT).is_file())


def shipped_folder(name: str) -> Path:
    """Folder of a model that comes with the package. Raises InputError for an unknown name."""
    if name not in shipped_names():
        raise InputError(f"there is no model '{name}'{did_you_mean(name, shipped_names())}")
    return _models() / name


def about(name: str) -> About:
    """Read the entry of a model in the list of models."""
    path = shipped_folder(name) / ABOUT
    return validated(About, read_json(path), str(path))


def _models() -> Path:
    return Path(str(resources.files("anyjepa.weights"))) / "models"
