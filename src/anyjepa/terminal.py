"""Terminal output that shows names from files literally: without markup, and with control characters escaped."""

from __future__ import annotations

from collections.abc import Iterable
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
