"""`anyjepa recipes`."""

from __future__ import annotations

from typing import Annotated

import typer

from anyjepa.cli.options import ImportOption
from anyjepa.cli.output import echo, show

MODALITIES = ("ecg", "images", "video", "series", "cells")  # in the order of the table


def recipes(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Recipe or protocol to print, or path of a YAML file.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also print simulator, augmentation, evaluation and optional settings.")
    ] = False,
    imports: ImportOption = None,
) -> None:
    """List the recipes and evaluation protocols, or print one with a description of its settings."""
    from anyjepa.recipes.presets import preset_names, preset_yaml

    if name is None:
        _list()
    elif name in preset_names():
        echo(preset_yaml(name), nl=False)
    else:
        from anyjepa.recipes.printing import commented  # imports torch
        from anyjepa.recipes.schema import load_recipe

        echo(commented(load_recipe(name)[0], everything), nl=False)


def _list() -> None:
    from rich.table import Table
    from rich.text import Text

    from anyjepa.recipes.plain import about, recipe_names
    from anyjepa.recipes.presets import load_preset, preset_names

    table = Table("recipe", "modality", "parameters", "needs", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    described = {name: about(name) for name in recipe_names()}
    for name in sorted(described, key=lambda name: (MODALITIES.index(described[name]["data"]), name)):
        table.add_row(name, described[name]["data"], described[name]["parameters"], described[name]["needs"])
    protocols = Table("protocol", "description", box=None, pad_edge=False)
    for name in preset_names():
        protocols.add_row(name, load_preset(name).description)
    show(table)
    show(Text())
    show(protocols)
    echo("\nPrint one with 'anyjepa recipes NAME'. Parameters are those of the encoder.")
