"""A run folder: recipe.yaml, environment.json, checkpoints/, metrics.csv, model/, results/*.json, report.html ..."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyjepa.data.files import read_json
from anyjepa.data.labels import LabelTable
from anyjepa.data.split_files import read_split, write_split
from anyjepa.diagnostics.verdict import verdict_of
from anyjepa.errors import InputError
from anyjepa.evaluation.result import Result
from anyjepa.locking import locked
from anyjepa.recipes.schema import Recipe, load_recipe, to_yaml
from anyjepa.terminal import as_html
from anyjepa.training.metrics_file import read_metrics
from anyjepa.versions import versions
from anyjepa.writing import is_leftover, remove_leftovers, write_text

FIRST = (".lock", "split.csv", "training_records.json")  # a run may have these before its first step


@dataclass(frozen=True)
class Run:
    """A run on disk."""

    folder: Path
    recipe: Recipe

    def __repr__(self) -> str:
        return f"Run('{self.folder}', recipe {self.recipe.name})"

    def _repr_html_(self) -> str:
        """For notebooks: the newest loss, the verdict, and the score of each evaluation."""
        values: dict[str, object] = {"recipe": self.recipe.name, "description": self.recipe.description}
        try:
            rows = read_metrics(self.folder / "metrics.csv")
            if logged := [row for row in rows if "loss" in row]:
                values["trained"] = f"step {logged[-1]['step']:,.0f}, loss {logged[-1]['loss']:.4g}"
            values["verdict"] = verdict_of(rows, self.recipe.model_dump(mode="json"))
            for file in sorted(self.results.glob("*.json")):
                result = Result.from_json(file)
                score = result.metric(result.rows[0], "macro_auroc").mean
                values[file.stem] = "no macro AUROC" if score is None else f"macro AUROC {score:.3f}"
        except InputError as error:
            values["damaged"] = error
        report = self.folder / "report.html"
        return as_html(str(self), values | ({"report": report} if report.exists() else {}))

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def results(self) -> Path:
        return self.folder / "results"

    @property
    def perturbations(self) -> Path:
        """Of predicted perturbations."""
        return self.folder / "perturbations"

    @property
    def proteins(self) -> Path:
        """Results of predicting proteins from expression."""
        return self.folder / "proteins"

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def environment(self) -> dict[str, Any]:
        """`environment.json`: machine, versions, command, and the data that was trained on. Raises InputError."""
        path = self.folder / "environment.json"
        content = read_json(path)
        data = content.get("data") if isinstance(content, dict) else None
        paths = data.get("paths") if isinstance(data, dict) and {"records", "fingerprint"} <= data.keys() else None
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            raise InputError(f"{path}: was not written by a run: it does not say what was trained on")
        return content

    @property
    def split_file(self) -> Path:
        return self.folder / "split.csv"

    def split(self) -> LabelTable | None:
        """The split whose training part was trained on; None if all records were. Raises InputError."""
        return read_split(self.split_file) if self.split_file.exists() else None

    def start(self, data: dict[str, Any], code: dict[str, dict[str, str]], split: LabelTable | None = None) -> None:
        """Write the first files of a new run. The recipe comes last, so a folder with a recipe is complete.

        code: where the user's own parts come from, by module.
        """
        if split is not None:
            write_split(self.split_file, split)
        content = environment() | {"data": data} | ({"parts": code} if code else {})
        write_text(self.folder / "environment.json", json.dumps(content, indent=2) + "\n")
        self.renew()

    def renew(self) -> None:
        """Write the recipe again: a resumed run may have other evaluation or logging settings."""
        write_text(self.folder / "recipe.yaml", to_yaml(self.recipe))

    @property
    def begun(self) -> bool:
        """Whether there is something to resume; False if the process was killed while writing the first files."""
        if not (self.folder / "recipe.yaml").exists():
            return False
        file = self.folder / "environment.json"
        described = file.exists() and (not file.is_file() or file.stat().st_size > 0)
        return described or any((self.folder / "checkpoints").glob("*.ckpt"))

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Create the folder if needed and lock it. Raises InputError if another process trains in it."""
        busy = f"{self.folder}: another process is training here; wait until it finishes"
        with ExitStack() as stack:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self.folder / ".lock", busy))
            except OSError as error:
                raise InputError(f"{self.folder}: a run cannot be written here ({error.strerror})") from error
            for folder in (self.folder, self.folder / "checkpoints"):
                remove_leftovers(folder)
            yield


def new_run(recipe: Recipe, output: Path | None) -> Run:
    """A run that is to be made in `output`, or in `runs/<recipe>-<time>`. InputError if the folder is in use."""
    folder = output or Path("runs") / f"{recipe.name}-{datetime.now():%Y%m%d-%H%M%S}"
    check_unused(folder)
    return Run(folder, recipe)


def check_unused(folder: Path) -> None:
    """Raise InputError if a folder contains more than a run that ended before its first step."""
    if not folder.is_dir() or _never_trained(folder) or all(_of_no_run(entry) for entry in folder.iterdir()):
        return
    begun = (folder / "metrics.csv").exists() and not (folder / "model").exists()
    if begun and not any((folder / "checkpoints").glob("*.ckpt")):
        raise InputError(
            f"{folder}: a run ended here before its first checkpoint; delete the folder, or pass another --output"
        )
    raise InputError(f"{folder}: is not empty; pass another --output, or resume that run with pretrain --resume")


def killed_before_it_began(folder: Path) -> bool:
    """Whether a folder contains only the first files of a run that has no recipe yet."""
    return folder.is_dir() and all(_of_no_run(entry) for entry in folder.iterdir()) and any(folder.iterdir())


def _never_trained(folder: Path) -> bool:
    """Whether a folder contains only what a run writes before its first step."""
    names = {entry.name for entry in folder.iterdir() if not is_leftover(entry)}
    begun = {"environment.json", "recipe.yaml"}  # a recipe alone may be the user's
    return begun <= names <= begun | {*FIRST, "artifacts", "checkpoints"} and not any(
        (folder / "checkpoints").glob("*")
    )


def _of_no_run(entry: Path) -> bool:
    return entry.name in ("environment.json", *FIRST) or is_leftover(entry)


def find_run(folder: Path) -> Run | None:
    """The run in a folder; None if it is not a run folder. Raises InputError if its recipe cannot be read."""
    recipe = folder / "recipe.yaml"
    return Run(folder, load_recipe(recipe)[0]) if recipe.is_file() else None


def open_run(folder: Path) -> Run:
    """A run that exists. InputError if the folder is none."""
    if run := find_run(folder):
        return run
    problem = "is not a run folder: it has no recipe.yaml" if folder.exists() else "there is no such run folder"
    raise InputError(f"{folder}: {problem}")


def environment() -> dict[str, Any]:
    """Versions, the machine, the date and the command."""
    import torch

    return versions() | {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join([Path(sys.argv[0]).name.replace("__main__.py", "anyjepa"), *sys.argv[1:]]),
    }
