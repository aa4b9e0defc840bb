"""The error for wrong input, and the text of messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 1000
"""Largest number of characters of a message. The middle of a longer message is cut."""


class InputError(ValueError):
    """The input is wrong, such as a file, a key, a lead or a table.

    The message is one line that says where, what is wrong, and how to fix it. The command line prints it without a
    traceback and exits with code 2.
    """

    def __init__(self, message: str):
        # PyTorch recreates the error of a data loader's worker from the text of its traceback.
        super().__init__(one_line(message.rpartition(f"\n{__name__}.InputError: ")[2].removesuffix("\n")))


class DataWarning(UserWarning):
    """The data can be used, but something about it looks wrong (a unit slip, a flat lead, an Einthoven violation)."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Make text with names from files safe to print: escape control characters, and cut the middle if it is long."""
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    return printable(text)


def printable(text: str, keep: str = "") -> str:
    """Escape characters, as in '\\x1b', that a terminal or a browser would not simply show.

    These are control characters, marks that change the writing direction, invisible characters, and lone surrogates
    (from file names that are not UTF-8). keep: characters that stay, such as line breaks.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def reason(error: object) -> str:
    """Message of an error or a warning from a library as one short line; its type if there is no message."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """`'; did you mean 'x'?'` if an option is close to `name`, else the list of options, at most 40 of them."""
    name, options = name[:LONGEST], [str(option) for option in options]
    lowered = {option.lower(): option for option in options}
    close = get_close_matches(name.lower(), lowered, n=1)
    if close:
        return f"; did you mean '{lowered[close[0]]}'?"
    more = f" and {len(options) - 40} more" if len(options) > 40 else ""
    return f"; there are: {', '.join(options[:40])}{more}" if options else ""
