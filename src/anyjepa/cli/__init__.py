"""The command line: one file per group of commands. Nothing heavy is imported until a command runs."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Annotated, Any

import typer

import anyjepa
from anyjepa.cli.cells import perturb
from anyjepa.cli.comparison import compare
from anyjepa.cli.data import data_app
from anyjepa.cli.diagnosis import diagnose
from anyjepa.cli.evaluation import evaluate, report
from anyjepa.cli.models import models
from anyjepa.cli.output import echo, losing_messages
from anyjepa.cli.pictures import plot
from anyjepa.cli.recipes import recipes
from anyjepa.cli.records import embed, export, predict
from anyjepa.cli.serving import serve
from anyjepa.cli.sharing import push
from anyjepa.cli.sweeping import sweep
from anyjepa.cli.training import demo, pretrain
from anyjepa.cli.usage import UsageError, usage_message
from anyjepa.cli.watching import watch
from anyjepa.cli.weights import weights_app
from anyjepa.errors import DataWarning, InputError
from anyjepa.signals import exiting_on_signals
from anyjepa.training.cluster import check_ranks

app = typer.Typer(
    help="Self-supervised pretraining with joint-embedding predictive architectures (JEPA).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo,
    recipes,
    models,
    pretrain,
    diagnose,
    evaluate,
    watch,
    compare,
    sweep,
    embed,
    predict,
    export,
    serve,
    push,
    perturb,
    plot,
    report,
):
    app.command()(command)
for group in (app, data_app, weights_app):
    for registered in group.registered_commands:  # typer would keep the line breaks inside a paragraph
        paragraphs = (getattr(registered.callback, "__doc__", None) or "").split("\n\n")
        registered.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
app.add_typer(data_app, name="data")
app.add_typer(weights_app, name="weights")


@app.callback(invoke_without_command=True)
def _options(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if version:
        echo(anyjepa.__version__)
        raise typer.Exit


@losing_messages()
def main() -> None:
    """Entry point of the command line.

    Exit codes: 2 for invalid input or a full disk, 1 for a diverged or collapsed training or a fault that `diagnose`
    sees, 128 plus its number for a signal.
    """
    debug = "--debug" in sys.argv[1:]
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        with warnings.catch_warnings(), exiting_on_signals():
            warnings.showwarning = _one_line_warning
            warnings.simplefilter("always", DataWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="lightning")
            check_ranks()  # Lightning reads them when it is imported
            _check(arguments)
            sys.exit(app(arguments, prog_name="anyjepa", standalone_mode=False) or 0)
    except InputError as error:
        _stop(error, 2, debug)
    except UsageError as error:
        if not (message := usage_message(error)):
            sys.exit(2)
        _stop(InputError(message), 2, debug)
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        _stop(InputError(reason), 2, debug)
    except RuntimeError as error:
        if str(error).startswith("Symlink loop"):  # of Path.resolve, until Python 3.13
            _stop(InputError(str(error)), 2, debug)
        if type(error).__name__ not in ("DivergedError", "CollapsedError"):
            raise
        _stop(error, 1, debug)


def _check(arguments: list[str]) -> None:
    """Refuse bytes that are not UTF-8, and empty values (`--data "$UNSET"`)."""
    for argument in arguments:
        if any("\ud800" <= character <= "\udfff" for character in argument):
            raise InputError(f"{argument}: contains bytes that are not UTF-8; rename the file or folder")
    for before, argument in zip(["anyjepa", *arguments], arguments, strict=False):
        if re.fullmatch(r"(--[\w-]+=)?", argument):
            raise InputError(
                f"the value after '{argument or before}' is empty; leave it out, or pass one ('.' is this folder)"
            )


def _stop(error: Exception, code: int, debug: bool) -> None:
    if debug:
        raise error
    echo(f"anyjepa: {error}", err=True)
    sys.exit(code)


def _one_line_warning(message: Warning | str, category: type[Warning], *rest: Any) -> None:
    if issubclass(category, DataWarning):
        echo(f"warning: {message}", err=True)
