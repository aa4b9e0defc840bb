"""Terminal output that shows names from files literally: without markup, and with control characters escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from io import StringIO
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from anyjepa.errors import printable


class Terminal(Console):
    """Rich's console for untrusted text: '[red]' and ':smile:' are printed literally, escape sequences are escaped."""

    def __init__(self, **how: Any):
        super().__init__(markup=False, emoji=False, **how)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text, keep="\n"), segment.style)


def as_text(renderable: RenderableType) -> str:
    """The text that a terminal would show, without colours."""
    terminal = Terminal(file=StringIO(), force_terminal=False, no_color=True)
    with terminal.capture() as text:
        terminal.print(renderable)
    return text.get()


def duration(seconds: float) -> str:
    """'40 s', '12 min' or '3 h 5 min'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def as_html(title: str, values: Mapping[str, object]) -> str:
    """A small table for notebooks; text is escaped."""
    rows = "".join(
        f"<tr><th style='text-align: left'>{escape(name)}</th><td style='text-align: left'>{_shown(value)}</td></tr>"
        for name, value in values.items()
    )
    return f"<table><caption style='text-align: left'>{_shown(title)}</caption>{rows}</table>"


def _shown(value: object) -> str:
    return escape(printable(str(value)))
