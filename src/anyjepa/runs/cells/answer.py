"""The answer to a screen: verdicts, comparisons, predictions; as text, tables, AnnData and files."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from anyjepa.data.cells.screen import Screen
from anyjepa.errors import DataWarning, InputError
from anyjepa.perturbation.methods.compounds import Amount
from anyjepa.perturbation.predictions.counts import Noise, sample_cells
from anyjepa.perturbation.predictions.export import cells_to_anndata, to_anndata
from anyjepa.perturbation.predictions.pictures import amount_curves, predicted_against_measured, volcano
from anyjepa.perturbation.predictions.predict import PredictedConditions, table
from anyjepa.perturbation.scoring.result import PerturbationResult, render
from anyjepa.perturbation.scoring.verdict import Verdict
from anyjepa.runs.cells.answer_folder import TEXT, check_only_answer
from anyjepa.runs.table_writing import write_table
from anyjepa.terminal import as_text
from anyjepa.writing import replacing, write_text

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from rich.console import Group

TOP = 10  # genes, conditions and candidates that are printed
CURVES = 5  # genes of a dose or time curve


class Evaluated(NamedTuple):
    """One question about a screen."""

    title: str  # such as 'unseen cell type'
    result: PerturbationResult
    verdict: Verdict
    cell_eval: Callable[[], dict[str, tuple[AnnData, AnnData]]]
    """Fits the first method again, and returns held-out predictions and real cells for cell-eval, by name."""
    picture: Callable[[], Figure]
    """Fits the first method again, and draws predicted against measured changes of held-out conditions."""


@dataclass
class Answer:
    """What `anyjepa.perturb` returns; `print(answer)` starts with the verdicts."""

    screen: Screen
    impossible: dict[str, str]
    """Why other questions cannot be asked of the screen, by title."""
    notes: tuple[str, ...]
    level: float
    """Coverage of the intervals of predictions."""
    most_genes: int
    """Of a panel with more genes, the perturbed and the most variable ones are used."""
    evaluated: bool = True
    """Whether methods were compared on everything that could be held out."""
    questions: list[Evaluated] = field(default_factory=list)
    predicted: PredictedConditions | None = None
    ranking: DataFrame | None = None
    synergies: DataFrame | None = None

    @property
    def method(self) -> str:
        """What predicts, in words."""
        head = "the head on principal components"
        return f"{head}, or a curve between measured amounts" if self.screen.has_amounts else head

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By title of the question."""
        return {one.title: one.verdict for one in self.questions}

    def result(self, title: str) -> PerturbationResult:
        """The comparison of a question. Raises KeyError."""
        return {one.title: one.result for one in self.questions}[title]

    def table(self) -> DataFrame:
        """Ranked genes of each predicted condition (see `predictions.predict.table`). Raises InputError without any."""
        return table(self._predicted)

    def to_anndata(self) -> AnnData:
        """One row per predicted condition, which scanpy and pertpy open; layers change, low, high and measured."""
        return to_anndata(self._predicted, provenance={"level": f"{self.level:g}", "data": self.screen.source})

    def sample(self, cells: int, noise: Noise = "poisson") -> AnnData:
        """`cells` drawn cells per condition and of the control, as counts.

        p-values of these cells depend on how many are drawn, not on evidence. Raises InputError for a screen without
        raw counts, and for predictions in several cell types.
        """
        predicted, screen = self._predicted, self.screen.select(genes=self._predicted.genes)
        if screen.library is None:
            raise InputError(f"{screen.source}: has only log1p values; predicted cells need raw counts")
        if predicted.contexts:
            raise InputError(f"cells are not drawn for each {predicted.label}; predict one {predicted.label} alone")
        controls = screen.controls
        drawn = sample_cells(predicted, screen.rows(controls), screen.library[controls], cells, noise=noise)
        warned = "p-values of drawn cells depend on how many are drawn, not on evidence"
        warnings.warn(DataWarning(f"{cells} cells are drawn per condition: {warned}"), stacklevel=2)
        return cells_to_anndata(drawn, {"level": f"{self.level:g}", "noise": noise, "warning": warned})

    def figures(self) -> dict[str, Figure]:
        """Pictures by name: a volcano of each predicted condition with an interval, and of each that was measured the
        predicted against the measured changes; the dose or time curve of each predicted perturbation that has one."""
        if self.predicted is None:
            return {}
        drawn = {}
        for row, name in enumerate(self.predicted.names):
            if self.predicted.prediction.low is not None and np.isfinite(self.predicted.prediction.low[row]).all():
                drawn[f"volcano-{name}"] = volcano(self.predicted, name)
            measured = self.predicted.measured
            if measured is not None and np.isfinite(measured.change[row]).all():
                drawn[f"measured-{name}"] = predicted_against_measured(self.predicted, name)
            if len(self.predicted.perturbed[row]) == 1:
                drawn |= self._curves(Amount.of(next(iter(self.predicted.perturbed[row]))).name, row)
        return drawn

    def _curves(self, name: str, row: int) -> dict[str, Figure]:
        """Measured changes of the genes that the prediction of a row moves most, over doses, or times, of `name`."""
        measured = [one for condition in self.screen.conditions if len(condition) == 1 for one in condition]
        levels = {of: {getattr(one, of) for one in measured if one.name == name} for of in ("dose", "time")}
        varying = [of for of, values in levels.items() if len(values - {None}) > 1]
        if len(varying) != 1:  # with both, a curve over one would mix values of the other
            return {}
        top = np.argsort(-np.abs(self._predicted.prediction.change[row]), kind="stable")[:CURVES]
        genes = [self._predicted.genes[gene] for gene in top]
        return {f"{varying[0]}-{name}": amount_curves(self.screen, name, genes, varying[0])}

    def write(self, folder: Path | str, cell_eval: bool = False) -> None:
        """Write everything to a folder, completely or not at all: verdicts, comparisons, tables, AnnData, pictures.

        cell_eval: also `cell-eval/QUESTION/NAME-predicted.h5ad` and `-real.h5ad`, predictions of what was held out.
        An earlier answer in the folder is replaced. Raises InputError for a folder with other files.
        """
        folder = Path(folder)
        check_only_answer(folder)
        with replacing(folder) as new:
            new.mkdir()
            write_text(new / TEXT, as_text(self.render(brief=False)))
            for one in self.questions:
                write_text(new / f"{_file_name(one.title)}.json", one.result.model_dump_json(indent=2) + "\n")
                for name, pair in (one.cell_eval() if cell_eval else {}).items():
                    place = new / "cell-eval" / _file_name(one.title)
                    place.mkdir(parents=True, exist_ok=True)
                    for what, adata in zip(("predicted", "real"), pair, strict=True):
                        adata.write_h5ad(place / f"{_file_name(name)}-{what}.h5ad")
            for name, rows in (("ranking", self.ranking), ("synergy", self.synergies)):
                if rows is not None:
                    write_table(new / f"{name}.csv", rows)
            if self.predicted is not None:
                write_table(new / "genes.csv", _plain(self.table()))
                self.to_anndata().write_h5ad(new / "predicted.h5ad")
            held_out = {
                f"held-out-{one.title}": one.picture()
                for one in self.questions
                if one.result.rows[0].unanswered < len(one.result.conditions)
            }
            for name, picture in (self.figures() | held_out).items():
                picture.savefig(new / f"{_file_name(name)}.png", dpi=150)

    def write_predictions(self, output: Path, cells: int | None = None, noise: Noise = "poisson") -> int:
        """Write the ranking or the predictions to one file, and return the number of rows."""
        if output.suffix != ".h5ad":
            rows = self.table() if self.ranking is None else self.ranking
            write_table(output, _plain(rows))
            return len(rows)
        adata = self.to_anndata() if cells is None else self.sample(cells, noise)
        with replacing(output) as new:
            adata.write_h5ad(new)
        return adata.n_obs

    @property
    def _predicted(self) -> PredictedConditions:
        if self.predicted is None:
            raise InputError("perturb: no condition was predicted; pass conditions")
        return self.predicted

    def __str__(self) -> str:
        return as_text(self)

    def __rich__(self) -> Group:
        return self.render(brief=self.predicted is not None, hint=True)

    def render(self, brief: bool, hint: bool = False) -> Group:
        """Everything; brief: of the comparisons, one table for each question that holds out what was predicted.

        hint: say how to write what is left out.
        """
        from rich.console import Group
        from rich.padding import Padding
        from rich.text import Text

        parts: list[Any] = [Text("Verdict", style="bold")]
        for one in self.questions:
            parts += [Text(f"{one.title}:"), *(Padding(Text(s), (0, 0, 0, 2)) for s in one.verdict.sentences)]
        if not self.questions:
            why = "on this screen" if self.evaluated else "because of --no-evaluate (in Python: evaluate=False)"
            parts.append(Text(f"No method was evaluated {why}, so trust no prediction."))
        elif not any(row.name.startswith("head on pretrained") for one in self.questions for row in one.result.rows):
            parts.append(Text("pretrained encoder: none was compared; add one with --model RUN"))
        if self.predicted is not None or self.ranking is not None:
            parts.append(Text(f"predictions below: {self.method}, fitted to all measured conditions"))
        parts += [Text(note, style="yellow") for note in self.notes]
        parts += [Text(), *(Text(line) for line in self.facts()), Text()]
        parts += [Text(line, style="dim") for line in self._not_asked()]
        for name, rows in (("Ranking", self.ranking), ("Synergy", self.synergies)):
            if rows is not None:
                parts += _rows(name, rows.head(TOP), self.level)
        if self.predicted is not None:
            rows = self.table()
            for place, name in enumerate(self.predicted.names[:TOP]):
                of = rows.iloc[place * len(self.predicted.genes) :].head(TOP)
                parts += _rows(f"{name}: predicted changes", of.drop(columns=[*CONTEXT], errors="ignore"), self.level)
            if (more := len(self.predicted.names) - TOP) > 0:
                parts.append(Text(f"and {more} more conditions; write all with -o"))
        shown = self._concerned() if brief else self.questions
        parts += [part for one in shown for part in (Text(), render(one.result, brief))]
        if hint and brief and shown:
            how = "write them with -o FOLDER (in Python: answer.write(folder))"
            parts.append(Text(f"\nall tables of all questions: {how}", style="dim"))
        return Group(*parts)

    def _concerned(self) -> list[Evaluated]:
        """The questions that hold out conditions like the predicted ones; all, if there is none."""
        sizes = {len(one) > 1 for one in self._predicted.perturbed}
        titles = {"unseen combinations" if several else "unseen single perturbations" for several in sizes}
        titles |= {"unseen dose", "unseen time"} if self.screen.has_amounts else set()
        titles |= {f"unseen {self._predicted.label.replace('_', ' ')}"} if self._predicted.contexts else set()
        return [one for one in self.questions if one.title in titles] or self.questions

    def _not_asked(self) -> list[str]:
        """Questions that the screen cannot answer; those that it has nothing of share a line."""
        none = [title for title, why in self.impossible.items() if why.startswith("the screen has no")]
        lines = [f"not asked: {title}: {why}" for title, why in self.impossible.items() if title not in none]
        hint = "set a column with, for example, --set cell_type=COLUMN if one was not found"
        return [*lines, *([f"not asked: {', '.join(none)}: the screen has none; {hint}"] if none else [])]

    def facts(self) -> list[str]:
        """How the screen was read, and what was left out."""
        report = self.screen.report
        genes = len(self.screen.genes)
        conditions, controls = len(self.screen.conditions) - 1, len(self.screen.controls)
        lines = [
            f"{self.screen.source or 'screen'}: {len(self.screen):,} cells, {genes:,} genes, "
            f"{conditions} condition{'s' * (conditions != 1)}, {controls:,} control cells"
        ]
        if "columns" in report:
            amounts = [one for condition in self.screen.conditions for one in condition]
            same = [of for of in ("dose", "time") if all(getattr(one, of) is None for one in amounts)]
            used = ", ".join(
                f"{role} '{column}'" + (" (the same for all, so not used)" if role in same else "")
                for role, column in report["columns"].items()
                if column
            )
            values = report["values"]
            names = ", ".join(report["control_names"][:5])
            lines.append(f"columns: {used}; control: {names}; values: {values['kind']} from {values['from']}")
            left = [f"{count:,} cells by {why}" for why, count in report["left_out_cells"].items() if count]
            left += [f"{report['left_out_genes']:,} genes by min_cells"] if report["left_out_genes"] else []
            if few := list(report["left_out_conditions"]):
                left.append(f"conditions {', '.join(few[:5])}{' and others' if len(few) > 5 else ''} by too few cells")
            lines.append(f"left out: {'; '.join(left) or 'nothing'} (change with --set quality.NAME=VALUE)")
        if self.most_genes < genes:
            lines.append(f"genes used: all perturbed ones, and the most variable up to {self.most_genes:,}")
        return lines


def _rows(title: str, rows: DataFrame, level: float) -> list[Any]:
    """A table without empty columns, and below it why there are no intervals; `level` is their coverage."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    why = Counter(filter(None, rows["no_interval"]))
    rows = rows.drop(columns="no_interval").dropna(axis=1, how="all")
    if {"low", "measured_low"} & {*rows}:
        title += f", with {100 * level:g} % intervals"
    shown = Table(title=title, title_justify="left", box=box.HORIZONTALS, padding=(0, 1))
    for name in rows:
        shown.add_column(str(name).replace("_", " "), justify="left" if rows[name].dtype == object else "right")
    for _, row in rows.iterrows():
        shown.add_row(*map(_cell, row))
    reasons = [f"no interval in {count} of {len(rows)} rows: {reason}" for reason, count in why.items()]
    return [Text(), shown, *(Text(reason, style="yellow") for reason in reasons)]


def _cell(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.3f}"
    return str(value)


CONTEXT = ("condition", "cell_type", "donor")


def _plain(rows: DataFrame) -> DataFrame:
    rows.attrs.clear()  # parquet would keep them as JSON
    return rows


def _file_name(title: str) -> str:
    return "".join(c if c.isalnum() or c in "+-@." else "-" for c in title)[:100]
