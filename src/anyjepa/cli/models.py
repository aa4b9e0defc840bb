"""`anyjepa models`."""

from __future__ import annotations

from typing import Annotated

import typer

from anyjepa.cli.output import echo, show


def models(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Model whose card to print.")] = None,
) -> None:
    """List the pretrained models that come with the package, or print the card of one."""
    from anyjepa.weights.shipped import shipped_folder

    if name is None:
        _list()
    else:
        echo((shipped_folder(name) / "README.md").read_text(encoding="utf-8"), nl=False)


def _list() -> None:
    from rich.table import Table

    from anyjepa.weights.shipped import about, shipped_names

    table = Table("model", "modality", "parameters", "trained on", "score", box=None, pad_edge=False)
    for name in shipped_names():
        entry = about(name)
        table.add_row(name, entry.data, entry.parameters, entry.trained_on, entry.score)
    show(table)
    echo("\nPrint a card with 'anyjepa models NAME'; load one with anyjepa.load(NAME), or pass NAME as the model.")
