"""What `anyjepa data inspect` prints of a summary: facts, classes by part of the split, and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from anyjepa.errors import one_line

if TYPE_CHECKING:
    from rich.console import Group

MOST = 15  # classes or sizes that are listed


def spread(values: Sequence[int] | np.ndarray) -> dict[str, int]:
    """Shortest, median and longest of some lengths."""
    return {"shortest": int(min(values)), "median": int(np.median(values)), "longest": int(max(values))}


def by_part(labels: Sequence[str | None], split: Sequence[str]) -> dict[str, dict[str, int]]:
    """Number of records of each class in each part of the split. None: a record without a class."""
    counts = Counter(zip(labels, split, strict=True))
    parts = dict.fromkeys(split)
    return {label: {part: counts[label, part] for part in parts} for label in sorted({*labels} - {None})}  # type: ignore[type-var]


def render(summary: dict[str, Any]) -> Group:
    """A summary as a rich renderable. `classes`, `problems` and `skipped` are shown apart, the rest as facts."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table("", "", show_header=False, box=None)
    for key, value in summary.items():
        if key not in ("ids", "classes", "problems", "skipped") and value is not None:
            facts.add_row(key, Text(one_line(_counts(value) if isinstance(value, dict) else str(value))))
    parts = list(summary["split"])
    classes = Table("class", *parts, box=None)
    for name, counts in list(summary["classes"].items())[:MOST]:
        classes.add_row(Text(one_line(name)), *(str(counts[part]) for part in parts))
    if len(summary["classes"]) > MOST:
        classes.add_row(f"... and {len(summary['classes']) - MOST} more")
    problems = [Text(one_line(problem), style="yellow") for problem in summary["problems"]]
    if summary["skipped"]:
        problems.append(Text(f"skipped: {len(summary['skipped'])} files", style="red"))
        problems += [Text(f"  {one_line(reason)}") for reason in list(summary["skipped"].values())[:10]]
    tables = [Text(), classes] if summary["classes"] else []
    return Group(facts, *tables, Text(), *(problems or [Text("no problem found", style="green")]))


def _counts(table: dict[str, int]) -> str:
    more = f" and {len(table) - MOST} more" if len(table) > MOST else ""
    return ", ".join(f"{name} ({count})" for name, count in list(table.items())[:MOST]) + more
