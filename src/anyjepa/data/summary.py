"""Print the summary of `anyjepa data inspect`: facts, classes by part of the split, and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.data.listing import counted
from anyjepa.errors import one_line

if TYPE_CHECKING:
    from rich.console import Group
    from rich.text import Text

MOST = 15  # most classes or sizes that are listed


def spread(values: Sequence[int] | np.ndarray) -> dict[str, int]:
    """Shortest, median and longest of some lengths."""
    return {"shortest": int(min(values)), "median": int(np.median(values)), "longest": int(max(values))}


def by_part(
    labels: Sequence[str | None], split: Sequence[str], classes: Sequence[str] | None = None
) -> dict[str, dict[str, int]]:
    """Count the records of each class in each part of the split.

    labels: None for a record without a class. classes: None lists those that occur.
    """
    number, parts = Counter(zip(labels, split, strict=True)), dict.fromkeys(split)
    classes = sorted({label for label in labels if label is not None}) if classes is None else classes
    return {label: {part: number[label, part] for part in parts} for label in classes}


def render(summary: dict[str, Any]) -> Group:
    """Format a summary for the terminal: facts, and separately `classes`, `problems` and `skipped`."""
    facts = {key: value for key, value in summary.items() if key not in ("ids", "classes", "problems", "skipped")}
    classes = {"class": summary["classes"]} if summary["classes"] else {}
    return rendered(facts, classes, summary["problems"], summary["skipped"])


def rendered(
    facts: Mapping[str, Any],
    tasks: Mapping[str, Mapping[str, Mapping[str, int]]],
    problems: Iterable[str],
    skipped: Mapping[str, str],
) -> Group:
    """Format facts, a table of classes per task by part of `split`, and findings. Facts that are None are left out."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table("", "", show_header=False, box=None)
    for key, value in facts.items():
        if value is not None:
            table.add_row(key, Text(one_line(counts(value) if isinstance(value, dict) else str(value))))
    parts, shown = list(facts.get("split", ())), [table, Text()]
    for task, classes in tasks.items():
        table = Table(task, *parts, box=None)
        for name, by_part in list(classes.items())[:MOST]:
            table.add_row(Text(one_line(name)), *(str(by_part.get(part, 0)) for part in parts))
        if len(classes) > MOST:
            table.add_row(f"... and {len(classes) - MOST} more")
        shown += [table, Text()]
    return Group(*shown, *findings(problems, skipped))


def findings(problems: Iterable[str], skipped: Mapping[str, str]) -> list[Text]:
    """Lines about problems of a data set and about skipped files."""
    from rich.text import Text

    lines = [Text(one_line(problem), style="yellow") for problem in problems]
    if skipped:
        lines.append(Text(f"skipped: {counted(len(skipped), 'file', 'files')}", style="red"))
        lines += [Text(f"  {one_line(reason)}") for reason in list(skipped.values())[:10]]
    return lines or [Text("no problem found", style="green")]


def counts(table: Mapping[str, int]) -> str:
    """Format names with their counts, such as 'a (3), b (1)'; at most `MOST` of them."""
    return listed([f"{name} ({count})" for name, count in table.items()])


def listed(names: Sequence[str]) -> str:
    """List at most `MOST` names, and the number of further ones."""
    return ", ".join(names[:MOST]) + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
