"""Follow runs by the files in their folders: state, progress, curves and the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from anyjepa.data.files import read_text
from anyjepa.diagnostics.signs import main_columns
from anyjepa.diagnostics.verdict import Verdict, verdict_of
from anyjepa.errors import InputError
from anyjepa.limits import RECIPE
from anyjepa.locking import held
from anyjepa.recipes.yaml_text import plain_yaml
from anyjepa.terminal import duration
from anyjepa.training.checkpoint_files import newest_checkpoint, step_of
from anyjepa.training.metrics_file import read_metrics

State = Literal["waiting", "training", "finished", "diverged", "collapsed", "stopped", "killed or failed", "damaged"]
RECENT = 5  # logged rows whose median speed counts
STALE_S = 60.0  # where locks cannot be read: a log that has not changed for longer belongs to no process
NONE_YET = Verdict(measured=False)
BARS = "▁▂▃▄▅▆▇█"
NAMES_WIDTH, RUN_WIDTH = 16, 26  # characters for the names of quantities, and at least for each run


class Curve(NamedTuple):
    """Logged values of a quantity."""

    step: list[float]
    values: list[float]


@dataclass(frozen=True)
class RunStatus:
    """A run as its folder shows it now. None: unknown."""

    folder: Path
    state: State = "waiting"
    note: str = ""  # more about the state
    step: int = 0
    steps: int | None = None
    speed: float | None = None  # samples per second
    left_s: float | None = None
    age_s: float | None = None  # since the last row was logged
    curves: dict[str, Curve] = field(default_factory=dict)  # the loss, the signs of collapse, scores during training
    verdict: Verdict = NONE_YET

    @property
    def words(self) -> dict[str, str]:
        """Everything except the curves, as texts by name."""
        of = "" if not self.steps else f" of {self.steps:,} ({self.step / self.steps:.0%})"
        return {
            "state": f"{self.state}{self.note and '; ' + self.note}",
            "step": f"{self.step:,}{of}",
            "speed": "-" if self.speed is None else f"{self.speed:.3g} samples/s",
            "time left": "-" if self.left_s is None else duration(self.left_s),
            "last row": "-" if self.age_s is None else f"{duration(self.age_s)} ago",
            "verdict": str(self.verdict) if self.verdict.measured else "no verdict yet",
        }


@dataclass(frozen=True)
class Overview:
    """The status of several runs, side by side."""

    runs: tuple[RunStatus, ...]

    @property
    def finished(self) -> bool:
        """Whether nothing will change any more: a run in any other state can still start or be resumed."""
        return all(run.state == "finished" for run in self.runs)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Tables with a column per run, as many as fit next to each other."""
        beside = max(1, (options.max_width - NAMES_WIDTH) // RUN_WIDTH)
        for first in range(0, len(self.runs), beside):
            some = self.runs[first : first + beside]
            table = Table("", *(str(run.folder) for run in some), show_lines=True)
            words = [run.words for run in some]
            for name in ("state", "step", "speed", "time left", "last row"):
                table.add_row(name, *(one[name] for one in words))
            for name in dict.fromkeys(name for run in some for name in run.curves):
                table.add_row(name, *(_drawn(run.curves.get(name), options.ascii_only) for run in some))
            table.add_row("verdict", *(one["verdict"] for one in words))
            yield table


class Watch:
    """Reads the status of runs repeatedly. A folder of run folders stands for all runs in it, including later ones."""

    def __init__(self, folders: Sequence[Path]):
        self.folders = folders
        # Rows that were read, with the modification time and size of their file.
        self._logs: dict[Path, tuple[tuple[int, int], list[dict[str, float]]]] = {}

    def look(self) -> Overview:
        """The runs as they are now. A damaged file makes the state of its run 'damaged', and is not an error."""
        folders = [run for folder in self.folders for run in _runs_in(folder)]
        return Overview(tuple(self._look_at(folder) for folder in dict.fromkeys(folders)))

    def _look_at(self, folder: Path) -> RunStatus:
        try:
            return self._seen(folder)
        except (InputError, OSError) as error:
            return RunStatus(folder, "damaged", str(error))
        except ArithmeticError as error:
            return RunStatus(folder, "damaged", f"numbers in recipe.yaml or metrics.csv are out of range ({error})")

    def _seen(self, folder: Path) -> RunStatus:
        recipe, log = _recipe(folder / "recipe.yaml"), folder / "metrics.csv"
        rows, age = self._rows(log)
        if recipe is None:
            return RunStatus(folder, note="there is no run here yet")
        training = recipe.get("training")
        training = training if isinstance(training, dict) else {}
        steps, batch = (_positive(training.get(key)) for key in ("steps", "batch_size"))
        begun = held(folder / ".lock")
        trains = age is not None and age < STALE_S and not _saved(folder) if begun is None else begun
        verdict = verdict_of(rows, recipe)
        state, note = ("training", "") if trains else _ended(folder, rows, verdict, training)
        step = int(rows[-1]["step"]) if rows else 0
        speeds = [row["samples_per_s"] for row in rows[-RECENT:] if row.get("samples_per_s", 0) > 0]
        speed = median(speeds) if speeds else None
        left = (steps - step) * batch / speed if trains and steps and batch and speed else None
        return RunStatus(folder, state, note, step, steps, speed, left, age, _curves(rows), verdict)

    def _rows(self, log: Path) -> tuple[list[dict[str, float]], float | None]:
        """The rows of metrics.csv, which is read only if it has changed, and its age in seconds."""
        try:
            status = log.stat()
        except FileNotFoundError:
            return [], None
        version = status.st_mtime_ns, status.st_size
        if self._logs.get(log, (None,))[0] != version:
            self._logs[log] = version, read_metrics(log)
        return self._logs[log][1], max(0.0, time.time() - status.st_mtime)


def sparkline(values: Sequence[float], width: int) -> str:
    """Means of finite values in `width` equal parts as bars from the smallest to the largest; '·' for none."""
    width = min(width, len(values))
    parts = [values[len(values) * n // width : len(values) * (n + 1) // width] for n in range(width)]
    finite = [[value for value in part if isfinite(value)] for part in parts]
    means = [sum(part) / len(part) if part else None for part in finite]
    levels = [mean for mean in means if mean is not None and isfinite(mean)]
    if not levels:
        return "·" * width
    low, half = min(levels), max(levels) / 2 - min(levels) / 2  # halves, because the span may be too large
    scale = (len(BARS) - 1) / half if 2 * half > 1e-9 * max(map(abs, levels)) else 0.0
    places = (None if mean is None or not isfinite(mean) else (mean / 2 - low / 2) * scale for mean in means)
    return "".join("·" if place is None else BARS[round(place)] for place in places)


def _runs_in(folder: Path) -> list[Path]:
    inner = [] if (folder / "recipe.yaml").exists() else sorted(file.parent for file in folder.glob("*/recipe.yaml"))
    return inner or [folder]


def _recipe(path: Path) -> dict[str, Any] | None:
    """The recipe as plain values, so that your own parts need not be imported; None if there is no file yet."""
    if not path.exists():
        return None
    plain = plain_yaml(read_text(path, RECIPE), str(path))
    if not isinstance(plain, dict):
        raise InputError(f"{path}: is not a recipe")
    return plain


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _saved(folder: Path) -> bool:
    return (folder / "model" / "config.json").exists()


def _ended(
    folder: Path, rows: Sequence[dict[str, float]], verdict: Verdict, training: dict[str, Any]
) -> tuple[State, str]:
    """What happened to a run that no process trains: a stop saves a checkpoint, a kill or a failure does not."""
    if _saved(folder):
        return "finished", ""
    if not rows:
        return "waiting", "training has not begun"
    if not isfinite(rows[-1].get("loss", 0.0)):
        return "diverged", "the loss is not finite"
    if training.get("stop_when_collapsed") and verdict.collapsed:
        return "collapsed", ""
    newest = newest_checkpoint(folder / "checkpoints")
    if newest is None:
        return "killed or failed", "before the first checkpoint"
    saved = step_of(newest)
    return "stopped" if saved >= rows[-1]["step"] else "killed or failed", f"can be resumed from step {saved:,}"


def _curves(rows: Sequence[dict[str, float]]) -> dict[str, Curve]:
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        name: Curve(*map(list, zip(*((row["step"], row[name]) for row in rows if name in row), strict=True)))
        for name in main_columns(names)
    }


def _drawn(curve: Curve | None, ascii_only: bool) -> str:
    if curve is None:
        return "-"
    newest = f"{curve.values[-1]:.4g}"
    return newest if ascii_only else f"{newest} {sparkline(curve.values, RUN_WIDTH - 6 - len(newest))}"
