"""What is wrong with the options and arguments of a command, as one line."""

from __future__ import annotations

from typing import Any

import typer

from anyjepa.errors import did_you_mean

UsageError: Any = typer.BadParameter.__mro__[1]  # typer does not export it


def usage_message(error: Any) -> str:
    """The message of a UsageError in our words; empty if the command was called without any arguments, for its help."""
    path = error.ctx.command_path if error.ctx else "anyjepa"
    problem = _problem(error)
    command = path.partition(" ")[2]
    text = f"{command}: {problem}" if command else problem
    says_what_fits = "must be" in text or "did you mean" in text or "there are" in text
    return f"{text}; see '{path} --help'" if problem and not says_what_fits else problem and text


def _problem(error: Any) -> str:
    kind, parameter = type(error).__name__, getattr(error, "param", None)
    if kind == "NoArgsIsHelpError":  # typer has printed the help
        return ""
    if kind == "NoSuchOption":
        return f"there is no option {error.option_name}{did_you_mean(error.option_name, error.possibilities or ())}"
    if kind == "BadOptionUsage":
        return f"{error.option_name} {'takes no value' if 'does not take' in error.message else 'needs a value'}"
    if parameter is not None:
        option = parameter.param_type_name == "option"
        name = max(parameter.opts, key=len) if option else parameter.metavar or parameter.name
        return f"{name} is missing" if kind == "MissingParameter" else f"{name} {_expectation(error)}"
    message = error.format_message().rstrip(".")
    for theirs, ours in (
        ("No such command", "there is no command"),
        ("Got unexpected extra argument(s)", "unexpected argument"),
        (". Did you mean", "; did you mean"),
    ):
        message = message.replace(theirs, ours)
    return message


def _expectation(error: Any) -> str:
    from pydantic import ValidationError

    from anyjepa.config import must_be

    if not isinstance(error.__cause__, ValidationError):
        return f"is wrong: {error.message}"
    first = error.__cause__.errors(include_url=False)[0]
    choices = str(first.get("ctx", {}).get("error", "")).rstrip(".").partition(" is not one of ")[2]
    allowed = f"one of {choices.replace(chr(39), '')}" if choices else must_be(first)
    return f"must be {allowed}, got {first['input']!r}"
