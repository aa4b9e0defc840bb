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
        str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hugging Face Hub; created if it is new.")
    ],
    licence: Annotated[
        str, typer.Option("--license", metavar="ID", help="Licence of the weights, such as apache-2.0.")
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="Let everyone see a new repository.")] = False,
    dry_run: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write what would be uploaded to this folder, and upload nothing."),
    ] = None,
    imports: ImportOption = None,
) -> None:
    """Upload a model to the Hugging Face Hub, with a card made from its run and its results.

    Ids of records and patients are never part of a model. Load the model with anyjepa.load("hf:OWNER/NAME").
    """
    from anyjepa.runs.push import push

    written = push(model, repository, licence=licence, public=public, dry_run=dry_run)
    echo(f"folder: {written}" if dry_run else f"model: {written}")
