"""`anyjepa recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from anyjepa.cli.output import echo, show


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Recipe or protocol to print, or path of a YAML file.")
    ] = None,
) -> None:
    """List recipes and evaluation protocols, or print one with all its settings."""
    from anyjepa.recipes.presets import load_preset, preset_names, preset_yaml
    from anyjepa.recipes.schema import load_recipe, recipe_names, to_yaml

    if name is None:
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for known in recipe_names():
            table.add_row(known, load_recipe(known)[0].description)
        for known in preset_names():
            table.add_row(f"--protocol {known}", load_preset(known).description)
        show(table)
    elif name in preset_names():
        echo(preset_yaml(name), nl=False)
    else:
        echo(to_yaml(load_recipe(name)[0]), nl=False)
