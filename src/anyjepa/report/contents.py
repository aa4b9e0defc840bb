"""What a run folder holds. A missing or damaged part is a note, never an error: then a report is wanted most."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from anyjepa.data.array_files import read_arrays
from anyjepa.data.files import read_bytes, read_json, read_text
from anyjepa.errors import reason
from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.evaluation.result import WHAT, Result
from anyjepa.limits import MEMORY, RECIPE
from anyjepa.perturbation.scoring.result import Judgement
from anyjepa.recipes.yaml_text import plain_yaml

T = TypeVar("T")


class Curve(NamedTuple):
    """A logged quantity; a cell left empty is no point, a cell 'nan' is one."""

    step: np.ndarray  # (points,) increasing
    values: np.ndarray  # (points,) float64


@dataclass
class Contents:
    """The parts of a run folder; None or empty where a part is missing. `notes` says why, in order of reading."""

    folder: Path
    recipe: dict[str, Any] = field(default_factory=dict)
    recipe_text: str = ""
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Curve] = field(default_factory=dict)  # by the log's column
    results: list[Result] = field(default_factory=list)  # of the files in results/, by name
    judgements: list[Judgement] = field(default_factory=list)  # of the files in perturbations/, by name
    proteins: list[ProteinResult] = field(default_factory=list)  # of the files in proteins/, by name
    masks: dict[str, np.ndarray] | None = None
    embedding: dict[str, np.ndarray] | None = None
    neighbours: dict[str, np.ndarray] | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def what(self) -> tuple[str, str]:
        """What records and their groups are called."""
        data = self.environment.get("data")
        found = data.get("what") if isinstance(data, dict) else None
        if isinstance(found, list) and len(found) == 2 and all(isinstance(word, str) for word in found):
            return found[0], found[1]
        return WHAT

    @property
    def without_labels(self) -> bool:
        """It was judged by what needs none."""
        return bool(self.judgements or self.proteins)

    @property
    def hides_nothing(self) -> bool:
        """The objective has no masks."""
        return self.objective in ("next_embedding", "paired")

    @property
    def objective(self) -> str:
        """Its kind, '' where the recipe does not say."""
        objective = self.recipe.get("objective")
        return str(objective.get("kind", "")) if isinstance(objective, dict) else ""


def read_contents(run: Path) -> Contents:
    """Everything of the run folder that the report shows."""
    contents = Contents(run)

    def read(name: str, reader: Callable[[Path], T], missing: T) -> T:
        path = run / name
        if not path.exists():
            contents.notes.append(f"{name} is missing.")
            return missing
        try:
            return reader(path)
        except Exception as error:
            contents.notes.append(f"{name} is not readable: {reason(error)}")
            return missing

    contents.recipe_text = read("recipe.yaml", read_text, "")
    contents.recipe = read("recipe.yaml", _yaml, {}) if contents.recipe_text else {}
    contents.environment = read("environment.json", _json, {})
    contents.metrics = read("metrics.csv", lambda path: _metrics(path, contents.notes), {})
    for path in sorted((run / "results").glob("*.json")):
        contents.results += read(f"results/{path.name}", lambda path: [_result(path)], [])
    for path in sorted((run / "perturbations").glob("*.json")):
        contents.judgements += read(f"perturbations/{path.name}", lambda path: [Judgement.from_json(path)], [])
    for path in sorted((run / "proteins").glob("*.json")):
        contents.proteins += read(f"proteins/{path.name}", lambda path: [ProteinResult.from_json(path)], [])
    if not contents.hides_nothing:
        contents.masks = read("artifacts/masks.npz", read_arrays, None)
    contents.embedding = read("artifacts/embedding.npz", read_arrays, None)
    if (run / "artifacts" / "neighbours.npz").exists():  # not every modality has them
        contents.neighbours = read("artifacts/neighbours.npz", read_arrays, None)
    return contents


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
        raise ValueError(f"it holds {type(value).__name__}, not names and values")
    return value


def _metrics(path: Path, notes: list[str]) -> dict[str, Curve]:
    """The log's columns. Lines of a wrong length are left out and counted; of a step logged twice, the last counts."""
    text = read_bytes(path, MEMORY).decode(errors="replace")
    head, *rows = list(csv.reader(text.splitlines())) or [[]]
    if rows and not text.endswith("\n"):
        rows.pop()
        notes.append("metrics.csv ends within a line; that line is left out.")
    whole = [dict(zip(head, row, strict=True)) for row in rows if len(row) == len(head)]
    if len(whole) < len(rows):
        bad = len(rows) - len(whole)
        notes.append(f"metrics.csv: {bad} of {len(rows)} lines have a wrong length and are left out.")
    by_step = {_float(row.get("step", str(place))): row for place, row in enumerate(whole)}
    steps = sorted(step for step in by_step if np.isfinite(step))
    return {name: _curve(steps, [by_step[step][name] for step in steps]) for name in head if name != "step"}


def _curve(steps: list[float], cells: list[str]) -> Curve:
    logged = [(step, _float(cell)) for step, cell in zip(steps, cells, strict=True) if cell.strip()]
    return Curve(*np.array(logged, dtype=float).reshape(-1, 2).T)


def _float(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
