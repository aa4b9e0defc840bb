"""Read the contents of a run folder. A missing or damaged file gives a note, not an error."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from anyjepa.data.array_files import read_arrays
from anyjepa.data.files import read_bytes, read_json, read_text
from anyjepa.diagnostics.verdict import Verdict, verdict_of
from anyjepa.errors import reason
from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.evaluation.result import WHAT, Result
from anyjepa.limits import MEMORY, RECIPE
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.recipes.yaml_text import plain_yaml

T = TypeVar("T")


class Curve(NamedTuple):
    """A logged quantity. Empty cells of the log are skipped; cells with 'nan' are points."""

    step: np.ndarray  # (points,) increasing
    values: np.ndarray  # (points,) float64


@dataclass
class Contents:
    """Contents of a run folder. What is missing is None or empty, and `notes` says why, in the order of reading."""

    folder: Path
    recipe: dict[str, Any] = field(default_factory=dict)
    recipe_text: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Curve] = field(default_factory=dict)  # column of metrics.csv -> curve
    results: list[Result] = field(default_factory=list)  # from results/, sorted by file name
    perturbations: list[PerturbationResult] = field(default_factory=list)  # from perturbations/, sorted by file name
    proteins: list[ProteinResult] = field(default_factory=list)  # from proteins/, sorted by file name
    masks: dict[str, np.ndarray] | None = None
    embedding: dict[str, np.ndarray] | None = None
    neighbours: dict[str, np.ndarray] | None = None
    places: dict[str, np.ndarray] | None = None
    notes: list[str] = field(default_factory=list)

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict on the log; it is not measured if the log has no signs."""
        return verdict_of(rows_of(self.metrics), self.recipe)

    def setting(self, *keys: str) -> Any:
        """A setting of the recipe; None if it does not have it."""
        return at(self.recipe, *keys)

    @property
    def what(self) -> tuple[str, str]:
        """Words for records and for groups of records, such as ("ECGs", "patients")."""
        words = at(self.environment, "data", "what")
        if isinstance(words, list) and len(words) == 2 and all(isinstance(word, str) for word in words):
            return words[0], words[1]
        return WHAT

    @property
    def ranked(self) -> list[Result]:
        """Results with all labels first, and of these the first task of the data."""
        tasks = at(self.environment, "data", "tasks")
        first = tasks[0] if isinstance(tasks, list) and tasks else None
        return sorted(self.results, key=lambda r: (r.settings.get("low_shot") is not None, r.task != first))

    @property
    def hides_nothing(self) -> bool:
        """Whether the objective has no masks."""
        return self.objective in ("next_embedding", "paired")

    @property
    def objective(self) -> str:
        """Kind of the objective, or '' if the recipe does not have one."""
        return str(self.setting("objective", "kind") or "")


def read_contents(run: Path) -> Contents:
    """Read everything that the report shows from a run folder."""
    contents = Contents(run)

    def read(name: str, reader: Callable[[Path], T], missing: T) -> T:
        path = run / name
        if not path.exists():
            contents.notes.append(f"{name} is missing.")
            return missing
        try:
            return reader(path)
        except Exception as error:
            contents.notes.append(f"{name} cannot be read: {reason(error)}")
            return missing

    contents.recipe_text = read("recipe.yaml", read_text, "")
    contents.recipe = read("recipe.yaml", _yaml, {}) if contents.recipe_text else {}
    contents.environment = read("environment.json", _json, {})
    contents.metrics = read("metrics.csv", lambda path: _metrics(path, contents.notes), {})
    for path in sorted((run / "results").glob("*.json")):
        contents.results += read(f"results/{path.name}", lambda path: [_result(path)], [])
    for path in sorted((run / "perturbations").glob("*.json")):
        contents.perturbations += read(
            f"perturbations/{path.name}", lambda path: [PerturbationResult.from_json(path)], []
        )
    for path in sorted((run / "proteins").glob("*.json")):
        contents.proteins += read(f"proteins/{path.name}", lambda path: [ProteinResult.from_json(path)], [])
    if not contents.hides_nothing:
        contents.masks = read("artifacts/masks.npz", read_arrays, None)
    if (run / "artifacts" / "embedding.npz").exists():  # a linear probe writes it
        contents.embedding = read("artifacts/embedding.npz", read_arrays, None)
    if (run / "artifacts" / "neighbours.npz").exists():  # not every modality has them
        contents.neighbours = read("artifacts/neighbours.npz", read_arrays, None)
    if (run / "artifacts" / "places.npz").exists():  # neither has every run
        contents.places = read("artifacts/places.npz", read_arrays, None)
    return contents


def at(values: Any, *keys: str) -> Any:
    """The value at nested keys; None if there is none."""
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values


def rows_of(metrics: Mapping[str, Curve]) -> list[dict[str, float]]:
    """The logged values by step, as in metrics.csv."""
    rows: dict[float, dict[str, float]] = {}
    for name, curve in metrics.items():
        for step, value in zip(curve.step.tolist(), curve.values.tolist(), strict=True):
            rows.setdefault(step, {"step": step})[name] = value
    return [rows[step] for step in sorted(rows)]


def _result(path: Path) -> Result:
    result = Result.from_json(path)
    if not result.rows:
        raise ValueError("it has no rows")
    return result


def _yaml(path: Path) -> dict[str, Any]:
    return _mapping(plain_yaml(read_text(path, RECIPE), path.name))


def _json(path: Path) -> dict[str, Any]:
    return _mapping(read_json(path))


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"it must contain names and values, got {type(value).__name__}")
    return value


def _metrics(path: Path, notes: list[str]) -> dict[str, Curve]:
    """Read the columns of metrics.csv.

    Lines with the wrong number of cells are skipped and counted. If a step was logged twice, the last line is used.
    """
    text = read_bytes(path, MEMORY).decode(errors="replace")
    head, *rows = list(csv.reader(text.splitlines())) or [[]]
    if rows and not text.endswith("\n"):
        rows.pop()
        notes.append("metrics.csv: the last line is incomplete and is skipped.")
    whole = [dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head)]
    if len(whole) < len(rows):
        bad = len(rows) - len(whole)
        notes.append(f"metrics.csv: {bad} of {len(rows)} lines have the wrong number of cells and are skipped.")
    by_step = {_float(row.get("step", str(place))): row for place, row in enumerate(whole)}
    steps = sorted(step for step in by_step if abs(step) < 2**53)
    return {name: _curve(steps, [by_step[step][name] for step in steps]) for name in head if name != "step"}


def _curve(steps: list[float], cells: list[str]) -> Curve:
    logged = [(step, _float(cell)) for step, cell in zip(steps, cells, strict=True) if cell.strip()]
    return Curve(*np.array(logged, dtype=float).reshape(-1, 2).T)


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
