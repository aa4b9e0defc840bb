"""Write the page of a data set: its problems, its size, and how often its values occur."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyjepa import __version__
from anyjepa.errors import InputError
from anyjepa.report.charts import SERIES, chart, named_rows
from anyjepa.report.details import flat
from anyjepa.report.document import Section, document
from anyjepa.report.markup import Html, join, note, number, table, tag
from anyjepa.writing import write_text

_BARS = 30  # largest number of bars; the table below the chart has all
_LISTED = 200  # largest number of skipped files that are listed
_APART = ("ids", "problems", "remarks", "skipped")  # shown in their own sections, or too many to show


def write_inspection(summary: Mapping[str, Any], name: str, path: Path) -> Path:
    """Write the result of `anyjepa data inspect` as a self-contained HTML page, and return its path.

    summary: as printed by `--json`. Raises InputError for a path that does not end in .html.
    """
    if path.suffix != ".html":
        raise InputError(f"{path}: an inspection is written as .html")
    names = summary.get("statement_names") or {}
    parts = {key: part for key, part in summary.items() if key not in (*_APART, "statement_names")}
    charts = {key: part for key, part in parts.items() if _is_counts(part) or _is_nested(part)}
    plain = {key: part for key, part in parts.items() if key not in charts}
    problems = len(summary.get("problems") or ())
    verdict = (
        f"{problems} kind{'s of problems' if problems > 1 else ' of problem'}." if problems else "no problem was seen."
    )
    top = [
        tag("p", "anyjepa data inspect", class_="eyebrow"),
        tag("h1", name),
        tag("p", tag("strong", "Quality: "), verdict, class_="verdict bad" if problems else "verdict"),
    ]
    counted = join(_drawn(key, part, names) for key, part in charts.items())
    sections = [
        Section("problems", "What is wrong?", "Each kind of problem with examples.", _problems(summary)),
        Section("size", "What is in it?", "All records that could be read.", _facts(plain)),
        Section("counts", "How often does each value occur?", "By number of records.", counted),
    ]
    write_text(path, document(name, join(top), sections, f"Written by anyjepa {__version__}."))
    return path


def _ends(part: object) -> tuple[object, object] | None:
    """Smallest and largest value of a part that has only these two."""
    for low, high in (("min", "max"), ("shortest", "longest")):
        if isinstance(part, dict) and low in part and high in part:
            return part[low], part[high]
    return None


def _is_counts(part: object) -> bool:
    return (
        _ends(part) is None
        and isinstance(part, dict)
        and bool(part)
        and all(isinstance(count, int) for count in part.values())
    )


def _is_nested(part: object) -> bool:
    return isinstance(part, dict) and bool(part) and all(isinstance(one, dict) and one for one in part.values())


def _problems(summary: Mapping[str, Any]) -> Html:
    parts = []
    for problem in summary.get("problems") or ():
        if not isinstance(problem, dict):
            parts.append(note(problem))
            continue
        examples = "; ".join(map(str, problem.get("examples") or ()))
        count = number(problem.get("count"))
        text = (tag("strong", f"{problem.get('kind', 'problem')} ({count}): "), problem.get("meaning", ""))
        parts.append(tag("div", tag("p", *text), note(f"Examples: {examples}") if examples else Html()))
    parts += [note(remark) for remark in summary.get("remarks") or ()]
    skipped = list((summary.get("skipped") or {}).items())
    if skipped:
        cut = f" The first {_LISTED} are listed." if len(skipped) > _LISTED else ""
        parts.append(table(["skipped file", "reason"], skipped[:_LISTED], f"{len(skipped)} files were skipped.{cut}"))
    return join(parts)


def _facts(plain: Mapping[str, Any]) -> Html:
    values = []
    for key, part in plain.items():
        if (ends := _ends(part)) is None:
            values += [(_words(name), value) for name, value in flat(part, key)]
        else:
            values.append((_words(key), number(ends[0]) if ends[0] == ends[1] else " to ".join(map(number, ends))))
    return tag("dl", *(tag("div", tag("dt", key), tag("dd", value or "none")) for key, value in values), class_="facts")


def _drawn(key: str, part: Mapping[str, Any], names: Mapping[str, str]) -> Html:
    """Counts as bars; nested values as one table if all have the same names, else as bars."""
    if _is_counts(part):
        return _bars(_words(key), part, names)
    if all(map(_is_nested, part.values())):
        return join(_drawn(f"{key}: {name}", one, names) for name, one in part.items())
    columns = list(dict.fromkeys(column for one in part.values() for column in one))
    alike = len(part) > 1 and all(len(one) == len(columns) for one in part.values())
    if all(map(_is_counts, part.values())) and not alike:
        return join(_bars(f"{_words(key)}: {name}", counts, names) for name, counts in part.items())
    rows = [[name, *(number(one.get(column)) for column in columns)] for name, one in part.items()]
    return join([tag("h3", _words(key)), table(["", *map(_words, columns)], rows)])


def _bars(title: str, counts: Mapping[str, int], names: Mapping[str, str]) -> Html:
    if len(set(counts.values())) == 1:
        each = " each" if len(counts) > 1 else ""
        text = f"{', '.join(names.get(name, name) for name in counts)} ({number(max(counts.values()))}{each})"
        return tag("p", tag("strong", f"{title}: "), text)
    order = sorted(counts, key=lambda name: -counts[name])
    shown: Sequence[str] = order[:_BARS]
    labels = [names.get(name, name) for name in shown]
    text = [f"{label}: {counts[name]:,}" for name, label in zip(shown, labels, strict=True)]
    bars = {
        "type": "bar", "orientation": "h", "y": list(range(len(shown))), "x": [counts[name] for name in shown],
        "marker": {"color": SERIES[0]}, "text": text, "textposition": "none",
        "hovertemplate": "%{text}<extra></extra>",
    }  # fmt: skip
    more = f"The {_BARS} most frequent of {len(order)}." if len(order) > _BARS else ""
    layout = {"yaxis": named_rows(labels), "xaxis": {"title": {"text": "records"}}, "bargap": 0.35}
    every = table([title, "records"], [(names.get(name, name), number(counts[name])) for name in order])
    return join(
        [
            chart(f"{title}: {'; '.join(text)}", [bars], layout, more, 70 + 24 * len(shown), title),
            tag("details", tag("summary", "Show as a table"), every),
        ]
    )


def _words(key: str) -> str:
    """Write a key in words, such as 'fs (Hz)' for 'fs_hz'."""
    for ending, unit in {"_hz": " (Hz)", "_mv": " (mV)", "_s": " (s)", "_years": " (years)"}.items():
        key = key.removesuffix(ending) + unit if key.endswith(ending) else key
    return key.replace("_", " ")
