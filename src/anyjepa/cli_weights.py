"""The commands on weights: `anyjepa weights ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli_options import Json, Weights, echo, show, show_json
from anyjepa.errors import InputError

weights_app = typer.Typer(help="Look into weights, import and export published layouts.", no_args_is_help=True)


@weights_app.command("inspect")
def weights_inspect(
    path: Annotated[str, typer.Argument(help="Model folder, safetensors file or checkpoint.")], as_json: Json = False
) -> None:
    """What a weight file holds, and whether it fits."""
    from anyjepa.weights.inspection import inspect_weights, render

    found = inspect_weights(path)
    if as_json:
        show_json(found)
    else:
        show(render(found))


@weights_app.command("import")
def weights_import(
    layout: Annotated[str, typer.Argument(help="Whose layout: ecg-jepa, ijepa, vjepa or nepa.")],
    path: Annotated[Path, typer.Argument(help="The published checkpoint; of nepa the folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to make.")],
    statistics: Annotated[
        str | None,
        typer.Option(
            help="ecg-jepa, nepa of ECGs: data set whose constants are used. Default of ecg-jepa: the largest."
        ),
    ] = None,
    heads: Annotated[
        int | None, typer.Option(min=1, help="ijepa, vjepa: attention heads. Default: of the published size.")
    ] = None,
) -> None:
    """Turn a published checkpoint into a model folder."""
    from anyjepa.errors import did_you_mean
    from anyjepa.weights.ecg_jepa import import_ecg_jepa
    from anyjepa.weights.meta_jepa import import_jepa
    from anyjepa.weights.nepa import import_nepa

    known = ("ecg-jepa", "ijepa", "vjepa", "nepa")
    if layout not in known:
        raise InputError(f"weights import: layout '{layout}' is not known{did_you_mean(layout, known)}")
    for option, value, fits in (
        ("--statistics", statistics, layout in ("ecg-jepa", "nepa")),
        ("--heads", heads, layout in ("ijepa", "vjepa")),
    ):
        if value is not None and not fits:
            raise InputError(f"weights import: {option} does not belong to {layout}")
    if layout == "ecg-jepa":
        echo(f"model: {import_ecg_jepa(path, output, statistics)}")
    elif layout == "nepa":
        echo(f"model: {import_nepa(path, output, statistics)}")
    else:
        echo(f"model: {import_jepa(layout, path, output, heads)}")


@weights_app.command("export")
def weights_export(
    layout: Annotated[str, typer.Argument(help="Whose layout: nepa.")],
    model: Annotated[str, typer.Argument(help="Run folder, model folder or Hugging Face id.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.")],
    weights: Annotated[Weights | None, typer.Option(help="Default: the average, where there is one.")] = None,
) -> None:
    """Write a model in the layout of a published code."""
    from anyjepa.runs.folder import find_run
    from anyjepa.weights.nepa_export import export_nepa

    if layout != "nepa":
        raise InputError(f"weights export: layout '{layout}' is not known; there is: nepa")
    run = find_run(Path(model))
    echo(f"folder: {export_nepa(run.model if run else model, output, weights.value if weights else None)}")


@weights_app.command("checkpoint")
def weights_checkpoint(
    run: Annotated[Path, typer.Argument(help="Run folder, finished.")],
    step: Annotated[int, typer.Option(help="Of a checkpoint that the run has kept.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Model folder to make.")],
) -> None:
    """Turn a checkpoint of a run into a model folder: to judge several, and take the best."""
    from anyjepa.runs.checkpointed import save_checkpointed

    echo(f"model: {save_checkpointed(run, step, output)}")
