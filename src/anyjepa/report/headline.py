"""Top of the page: what was trained, on which data, and the main result in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.evaluation.result import Result
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.recipes.schema import changes
from anyjepa.report.contents import Contents, at
from anyjepa.report.estimates import auroc, mean_text, range_text, text
from anyjepa.report.markup import Html, join, number, tag
from anyjepa.report.perturbation_results import perturbation_summary
from anyjepa.report.protein_results import protein_summary


def headline(run: Contents) -> tuple[str, Html]:
    """Title of the page, and the markup of its header."""
    title = str(run.recipe.get("name") or run.folder.resolve().name)
    parts: list[object] = [
        tag("p", f"anyjepa run {run.folder.resolve().name}", class_="eyebrow"),
        tag("h1", title),
    ]
    if described := changes(run.recipe) or run.recipe.get("description"):
        parts.append(tag("p", described))
    quoted = next(iter([*run.perturbations, *run.proteins]), None) or _quoted(run)
    if isinstance(quoted, PerturbationResult):
        summary = perturbation_summary(quoted)
    else:
        summary = protein_summary(quoted) if isinstance(quoted, ProteinResult) else label_summary(quoted, run.folder)
    parts.append(_verdict(run))
    parts.append(tag("p", *summary, class_="lede"))
    parts += [tag("p", notice, class_="note warn") for notice in (quoted.notices if quoted else ())]
    parts.append(tag("dl", *(_fact(*fact) for fact in facts(run)), class_="facts"))
    return title, join(parts)


def _verdict(run: Contents) -> Html:
    """The verdict on the training, one line per fault. Logs without signs have none."""
    verdict = run.verdict
    if not verdict.measured:
        return Html()
    lines = [f"{verdict}."] if verdict.healthy else [f"{finding}." for finding in verdict.findings]
    looks = "verdict good" if verdict.healthy else "verdict bad"
    return tag("div", *(tag("p", tag("strong", "Verdict: "), text) for text in lines), class_=looks)


def _quoted(run: Contents) -> Result | None:
    """The main result: the first task with all labels, if it has a macro AUROC."""
    return next((result for result in run.ranked if auroc(result, result.rows[0]).mean is not None), None)


def label_summary(result: Result | None, run: Path) -> list[object]:
    """The result in one sentence: macro AUROC with its interval, compared with the best control."""
    if result is None:
        return ["Is it useful? This run is not evaluated yet: ", tag("code", f"anyjepa evaluate {run}")]
    first = auroc(result, result.rows[0])
    return [
        f"{result.heading} on {result.data}: macro AUROC ",
        tag("strong", mean_text(first)),
        f" {range_text(first)}. {_against(result)}",
    ]


def _against(result: Result) -> str:
    controls = [row for row in result.rows[1:] if row.control and auroc(result, row).mean is not None]
    if not controls:
        return "No control was evaluated, so the gain from pretraining is unknown."
    best = max(controls, key=lambda row: auroc(result, row).mean or 0.0)
    summary = f"Best control: {best.title}, {text(auroc(result, best))}."
    gain = result.difference(best)
    if gain.mean is None:
        return summary
    summary = f"{summary} Difference {text(gain, signed=True)}"
    if gain.low is None or gain.high is None:
        return f"{summary}, without an interval."
    verdict = "a clear gain" if gain.low > 0 else "the control is better" if gain.high < 0 else "no clear difference"
    return f"{summary}: {verdict}. Intervals: {result.basis}."


def facts(run: Contents) -> list[tuple[str, str, str]]:
    """The facts that the run folder contains, as (name, value, remark)."""
    recipe, rows = run.recipe, []
    data = run.environment.get("data")
    if isinstance(data, dict) and isinstance(data.get("records"), int):
        records, groups = run.what
        source = f"from {number(data['patients'])} {groups}" if data.get("patients") else f"{groups} unknown"
        remark = source if groups != records else ""
        skipped = f"{', ' if remark else ''}{number(data['skipped'])} skipped" if data.get("skipped") else ""
        rows.append((f"Training {records}", number(data["records"]), remark + skipped))
    loss = run.metrics.get("loss")
    if loss is not None and len(loss.step):
        rows.append(("Steps trained", number(int(loss.step[-1])), _of(recipe, "training", "steps")))
        rows.append(("Loss", number(float(loss.values[-1])), f"from {number(float(loss.values[0]))}"))
    speed = run.metrics.get("samples_per_s")
    if speed is not None and np.isfinite(speed.values).any():
        median = np.median(speed.values[np.isfinite(speed.values)])
        rows.append(("Samples per second", number(round(float(median))), "median"))
    encoder = at(recipe, "objective", "encoder")
    if isinstance(encoder, dict) and {"dim", "depth", "heads"} <= encoder.keys():
        size = f"{encoder['depth']} × {encoder['dim']}"
        rows.append(("Encoder", size, "blocks × width"))
    signal = recipe.get("data")
    if isinstance(signal, dict) and {"fs", "duration_s"} <= signal.keys():
        leads = signal.get("leads")
        remark = f", {len(leads)} leads" if isinstance(leads, list) else ""
        rows.append(("Input", f"{number(signal['duration_s'])} s", f"{number(signal['fs'])} Hz{remark}"))
    return rows


def _of(recipe: dict[str, Any], *keys: str) -> str:
    value = at(recipe, *keys)
    return f"of {number(value)}" if isinstance(value, int) else ""


def _fact(name: str, value: str, remark: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value, *([tag("small", remark)] if remark else [])))
