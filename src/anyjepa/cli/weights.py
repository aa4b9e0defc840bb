"""`anyjepa weights ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyjepa.cli.options import ImportOption, JsonOption, ModelArgument, RunArgument, WeightsOption
from anyjepa.cli.output import echo, show, show_json

weights_app = typer.Typer(help="Inspect weights, and import or export published checkpoints.", no_args_is_help=True)

OutputOption = Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Model folder to write.")]


@weights_app.command("inspect")
def weights_inspect(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Model folder, safetensors file or checkpoint.")],
    as_json: JsonOption = False,
    imports: ImportOption = None,
) -> None:
    """Summarise a weights file, and check that it fits its model."""
    from anyjepa.weights.inspection import inspect_weights, render

    summary = inspect_weights(path)
    if as_json:
        show_json(summary)
    else:
        show(render(summary))


@weights_app.command("import")
def weights_import(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="Published checkpoint, Hugging Face folder with config.json, or Hugging Face id."
        ),
    ],
    output: OutputOption,
    statistics: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="For ECG models: data set whose mean and standard deviation the model uses. Default: the largest one "
            "that the file names.",
        ),
    ] = None,
    heads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Attention heads, for checkpoints that do not say. Default: those of the published model.",
        ),
    ] = None,
    images: Annotated[bool, typer.Option("--images", help="V-JEPA 2.1: import for images instead of videos.")] = False,
) -> None:
    """Convert published weights to a model folder. Recognises their layout (docs/weights.md lists the layouts)."""
    from anyjepa.weights.importers import import_weights

    echo(f"model: {import_weights(path, output, statistics=statistics, heads=heads, images=images)}")


@weights_app.command("export")
def weights_export(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FOLDER", help="Folder to write.")],
    weights: WeightsOption = None,
    imports: ImportOption = None,
) -> None:
    """Write a model in a published layout, for other programs.

    Image encoders and V-JEPA 2 become folders for Hugging Face transformers; NEPA models become folders for the
    official NEPA code.
    """
    from anyjepa.runs.model import load
    from anyjepa.weights.nepa_export import export_nepa
    from anyjepa.weights.transformers_export import export_transformers

    loaded = load(model, weights, device="cpu").loaded
    nepa = loaded.config.objective.kind == "next_embedding"
    written = export_nepa(loaded.folder, output, weights) if nepa else export_transformers(loaded, output)
    echo(f"folder: {written}")


@weights_app.command("resize")
def weights_resize(
    model: ModelArgument,
    output: OutputOption,
    edits: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Key of the model's preprocessing.json to change, such as side=64, samples=5000 or fs=250; can be "
            "repeated.",
        ),
    ],
    imports: ImportOption = None,
) -> None:
    """Convert a model to inputs of another size or sampling rate, before fine-tuning it on them."""
    from anyjepa.runs.resize import resize

    echo(f"model: {resize(model, edits, output)}")


@weights_app.command("checkpoint")
def weights_checkpoint(
    run: RunArgument,
    step: Annotated[int, typer.Option(metavar="N", help="Step of a checkpoint that the run kept.")],
    output: OutputOption,
    imports: ImportOption = None,
) -> None:
    """Convert a checkpoint of a finished run to a model folder, for example to evaluate several steps."""
    from anyjepa.runs.checkpointed import save_checkpointed

    echo(f"model: {save_checkpointed(run, step, output)}")
