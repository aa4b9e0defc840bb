"""A live page of runs: states, verdicts and curves side by side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from anyjepa import __version__
from anyjepa.report.comparison import curves_side_by_side, short_names, verdict_line
from anyjepa.report.contents import Curve
from anyjepa.report.document import Section, body, document
from anyjepa.report.markup import Html, join, table, tag
from anyjepa.runs.watch import Overview

TITLE = "Runs in training"
FOOTER = f"Followed by anyjepa {__version__}; this page is updated every two seconds."


class _Parts(NamedTuple):
    top: Html
    sections: list[Section]


def live_page(overview: Overview) -> str:
    """The whole page, with a script that fetches `live_body` from the address 'now'."""
    parts = _parts(overview)
    return document(TITLE, parts.top, parts.sections, FOOTER, ("live.js",))


def live_body(overview: Overview) -> str:
    """The visible content of the page, without scripts and styles."""
    parts = _parts(overview)
    return body(parts.top, parts.sections, FOOTER)


def _parts(overview: Overview) -> _Parts:
    names = short_names([str(run.folder) for run in overview.runs])
    words = [run.words for run in overview.runs]
    texts = [one.pop("verdict") for one in words]
    verdicts = (
        verdict_line(name, text, not run.verdict.healthy)
        for name, text, run in zip(names, texts, overview.runs, strict=True)
        if run.verdict.measured
    )
    top = join([tag("h1", TITLE), *verdicts])
    rows = [[name, *(one[name] for one in words)] for name in words[0]]
    columns = dict.fromkeys(column for run in overview.runs for column in run.curves)
    curves = {
        column: {
            name: Curve(*map(np.asarray, run.curves[column]))
            for name, run in zip(names, overview.runs, strict=True)
            if column in run.curves
        }
        for column in columns
    }
    return _Parts(
        top,
        [
            Section(
                "runs", "How far are they?", "Time left is at the speed of the last rows.", table(["", *names], rows)
            ),
            Section("curves", "How is training going?", "Newest values below.", curves_side_by_side(names, curves)),
        ],
    )
