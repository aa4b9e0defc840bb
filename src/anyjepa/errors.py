"""One kind of error for everything a user can get wrong."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 1000
"""Characters of a message; of a longer one the middle is left out."""


class InputError(ValueError):
    """Something given to anyjepa is wrong: a file, a key, a lead, a table.

    The message is one line: where, what is wrong, what would be right. The command line prints it without a
    traceback and exits with code 2.
    """

    def __init__(self, message: str):
        # PyTorch makes the error of a loader's worker anew, of the text of its traceback.
        super().__init__(one_line(message.rpartition(f"\n{__name__}.InputError: ")[2].removesuffix("\n")))


class DataWarning(UserWarning):
    """The data can be used, but something about it looks wrong (a unit slip, a flat lead, an Einthoven violation)."""

    def __init__(self, message: str):
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """Text that holds names from files, fit to be shown: control characters escaped, an endless middle left out."""
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
    """What an error or a warning of a library says, in one short line; its type if it says nothing."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """`'; did you mean 'x'?'` if an option is close to `name`, else the list of options, at most 40 of them."""
    options = [str(option) for option in options]
    lowered = {option.lower(): option for option in options}
    close = get_close_matches(name.lower(), lowered, n=1)
    if close:
        return f"; did you mean '{lowered[close[0]]}'?"
    more = f" and {len(options) - 40} more" if len(options) > 40 else ""
    return f"; there are: {', '.join(options[:40])}{more}" if options else ""
