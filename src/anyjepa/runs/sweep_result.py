"""The runs of a sweep and their table."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table

from anyjepa.diagnostics.verdict import Verdict
from anyjepa.evaluation.intervals import Estimate, estimate
from anyjepa.recipes.grid import SEED, Point, short_keys
from anyjepa.runs.table_writing import write_table

if TYPE_CHECKING:
    import pandas as pd

ERROR_LENGTH = 120  # characters of an error in the table


@dataclass(frozen=True)
class Trial:
    """One run of a sweep. settings: values of the keys that vary. loss: the newest one. score: None without one."""

    folder: Path
    settings: Point
    state: str = "waiting"  # or finished, diverged, collapsed, failed
    loss: float | None = None
    score: float | None = None
    verdict: Verdict = Verdict(measured=False)  # noqa: RUF009
    error: str = ""

    @property
    def sound(self) -> bool:
        """Whether the run can be the best: the score of a collapsed representation may be noise."""
        return self.state == "finished" and not self.verdict.collapsed and self.score is not None

    @property
    def words(self) -> str:
        """The verdict in a few words, or why the run failed."""
        if self.error:
            return f"failed: {self.error[:ERROR_LENGTH]}" if self.state == "failed" else self.state
        kinds = ", ".join(finding.kind for finding in self.verdict.findings)
        return kinds or ("no fault" if self.verdict.measured else "-")


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed."""

    settings: Point
    runs: tuple[Trial, ...]

    @property
    def loss(self) -> Estimate:
        return estimate([run.loss for run in self.runs if run.loss is not None])

    @property
    def score(self) -> Estimate:
        scores = [run.score for run in self.runs if run.score is not None]
        return estimate(scores, limits=(-1.0 if min(scores, default=0.0) < 0 else 0.0, 1.0))  # a correlation or AUROCs

    @property
    def sound(self) -> bool:
        return all(run.sound for run in self.runs)


@dataclass(frozen=True)
class Sweep:
    """All runs of a sweep, in order. score: what the runs are scored by, in words; '' without a score."""

    folder: Path
    runs: tuple[Trial, ...]
    score: str = ""

    @property
    def groups(self) -> list[Group]:
        """Runs with the same settings, apart from the seed."""
        by: dict[str, list[Trial]] = {}
        for run in self.runs:
            by.setdefault(repr(_without_seed(run.settings)), []).append(run)
        return [Group(_without_seed(some[0].settings), tuple(some)) for some in by.values()]

    @property
    def best(self) -> Group | None:
        """The settings with the largest mean score, if all of their runs finished and none collapsed."""
        sound = [group for group in self.groups if group.sound]
        return max(sound, key=lambda group: group.score.mean or 0.0) if sound else None

    def plain(self) -> list[dict[str, Any]]:
        """A row per run, for JSON: the settings that vary, loss, score, state, verdict, error and folder."""
        return [
            {
                **run.settings, "loss": run.loss if run.loss is not None and isfinite(run.loss) else None,
                "score": run.score, "state": run.state, "verdict": str(run.verdict) if run.verdict.measured else "",
                "error": run.error, "folder": run.folder.name,
            }
            for run in self.runs
        ]  # fmt: skip

    def table(self) -> pd.DataFrame:
        """The same as a table."""
        import pandas as pd

        return pd.DataFrame(self.plain())

    def summary(self) -> pd.DataFrame:
        """A row per setting over seeds: mean loss, and mean score with its 95 % t interval."""
        import pandas as pd

        rows = [
            {
                **group.settings, "runs": len(group.runs), "loss": group.loss.mean, "score": group.score.mean,
                "low": group.score.low, "high": group.score.high, "sound": group.sound,
            }
            for group in self.groups
        ]  # fmt: skip
        return pd.DataFrame(rows)

    def write(self) -> None:
        """Write runs.csv, and seeds.csv if the seed varies, into the folder of the sweep."""
        write_table(self.folder / "runs.csv", self.table())
        if len(self.groups) < len(self.runs):
            write_table(self.folder / "seeds.csv", self.summary())

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        keys = [key for key in self.groups[0].settings if key != SEED] if self.runs else []
        several, best = len(self.groups) < len(self.runs), self.best
        head = (*short_keys(keys).values(), *(["seeds"] if several else []), "loss", self.score or "score", "verdict")
        table = Table("", *head, show_lines=True)
        for group in self.groups:
            verdicts = dict.fromkeys(run.words for run in group.runs)
            counted = [
                f"{sum(run.words == words for run in group.runs)} of {len(group.runs)}: {words}" if several else words
                for words in verdicts
            ]
            table.add_row(
                "best" if best is not None and group.settings == best.settings else "",
                *(str(group.settings[key]) for key in keys),
                *([str(len(group.runs))] if several else []),
                _mean(group.loss, ".4g"),
                _mean(group.score, ".3f"),
                "\n".join(counted),
            )
        yield table


def _without_seed(settings: Point) -> Point:
    return {key: value for key, value in settings.items() if key != SEED}


def _mean(value: Estimate, form: str) -> str:
    if value.mean is None:
        return "-"
    interval = "" if value.low is None else f" [{value.low:{form}}, {value.high:{form}}]"
    return f"{value.mean:{form}}{interval}"
