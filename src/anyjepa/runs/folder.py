"""A run folder: `recipe.yaml`, `environment.json`, `checkpoints/`, `metrics.csv`, `model/`, `results/*.json`, `report.html`."""

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
        """What `environment.json` holds: machine, versions, command, and the data that was trained on."""
        return json.loads((self.folder / "environment.json").read_text())

    def write_environment(self, data: dict[str, Any]) -> None:
        (self.folder / "environment.json").write_text(json.dumps(environment() | {"data": data}, indent=2) + "\n")


def create_run(recipe: Recipe, output: Path | None) -> Run:
    """A new run folder, `runs/<recipe>-<time>` unless `output` says otherwise. InputError if it holds something already."""
    folder = output or Path("runs") / f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder}: is not empty; give another --output, or --resume to go on with that run")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.yaml").write_text(to_yaml(recipe))
    except OSError as error:
        raise InputError(f"{folder}: a run cannot be written here ({error.strerror})") from error
    return Run(folder, recipe)


def open_run(folder: Path) -> Run:
    """A run that exists. InputError if the folder is none."""
    if not (folder / "recipe.yaml").is_file():
        raise InputError(f"{folder}: is no run folder, it has no recipe.yaml")
    return Run(folder, load_recipe(folder / "recipe.yaml")[0])


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
