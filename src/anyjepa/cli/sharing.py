"""`anyjepa push`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli.options import ImportOption, ModelArgument
from anyjepa.cli.output import echo


def push(
    model: ModelArgument,
    repository: Annotated[
        str,
        typer.Argument(metavar="OWNER/NAME", help="Repository on the Hugging Face Hub; created if it does not exist."),
    ],
    licence: Annotated[
        str, typer.Option("--license", metavar="ID", help="Licence of the weights, such as apache-2.0.")
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
    dry_run: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write the files to this folder instead of uploading them."),
    ] = None,
    imports: ImportOption = None,
) -> None:
    """Upload a model to the Hugging Face Hub, with a model card made from its run and results.

    A model never contains ids of records or patients. Load the model with anyjepa.load("hf:OWNER/NAME").
    """
    from anyjepa.runs.push import push

    written = push(model, repository, licence=licence, public=public, dry_run=dry_run)
    echo(f"folder: {written}" if dry_run else f"model: {written}")
