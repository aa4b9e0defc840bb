"""`anyjepa models`."""

from __future__ import annotations

from typing import Annotated

import typer

from anyjepa.cli.output import echo


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
    from anyjepa.weights.shipped import about, shipped_names

    for name in shipped_names():
        entry = about(name)
        echo(f"{name} ({entry.data}, {entry.parameters} parameters)")
        echo(f"  trained on {entry.trained_on}\n  {entry.score}")
    echo("\nPrint a card with 'anyjepa models NAME'; load one with anyjepa.load(NAME), or pass NAME as the model.")
