"""A run folder: recipe.yaml, environment.json, checkpoints/, metrics.csv, model/, results/*.json, report.html."""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyjepa
from anyjepa.errors import InputError
from anyjepa.recipes.schema import Recipe, load_recipe, to_yaml


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    folder: Path
    recipe: Recipe

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def environment(self) -> dict[str, Any]:
        """`environment.json`: machine, versions, command, and the data that was trained on. Raises InputError."""
        path = self.folder / "environment.json"
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error})") from error

    def start(self, data: dict[str, Any]) -> None:
        """Make the folder and write down what goes in: recipe, environment, a description of the data."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "recipe.yaml").write_text(to_yaml(self.recipe))
            (self.folder / "environment.json").write_text(json.dumps(environment() | {"data": data}, indent=2) + "\n")
        except OSError as error:
            raise InputError(f"{self.folder}: a run cannot be written here ({error.strerror})") from error


def new_run(recipe: Recipe, output: Path | None) -> Run:
    """A run that is to be made in `output`, or in `runs/<recipe>-<time>`. InputError if the folder is in use."""
    folder = output or Path("runs") / f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty; give another --output, or --resume to go on with that run")
    return Run(folder, recipe)


def find_run(folder: Path) -> Run | None:
    """The run in a folder, None if it is no run folder. InputError if its recipe cannot be read."""
    recipe = folder / "recipe.yaml"
    return Run(folder, load_recipe(recipe)[0]) if recipe.is_file() else None


def open_run(folder: Path) -> Run:
    """A run that exists. InputError if the folder is none."""
    if run := find_run(folder):
        return run
    raise InputError(f"{folder}: is no run folder, it has no recipe.yaml")


def environment() -> dict[str, Any]:
    """Where and when something ran."""
    import lightning
    import numpy
    import torch

    cuda = torch.cuda.is_available()
    return {
        "anyjepa": anyjepa.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": lightning.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(Path(a).name if i == 0 else a for i, a in enumerate(sys.argv)),
    }
