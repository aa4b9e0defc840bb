"""`anyjepa predict` and `anyjepa embed`: a model applied to data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anyjepa.cli.options import (
    BatchOption,
    DeviceOption,
    ImportOption,
    LeadsOption,
    ModelArgument,
    PrecisionOption,
    RateOption,
    SkipErrorsOption,
    SourceArguments,
    UnitOption,
    WeightsOption,
    WorkersOption,
)
from anyjepa.cli.output import echo, show_written, shown_progress
from anyjepa.errors import InputError

if TYPE_CHECKING:
    from anyjepa.runs.applying import ApplyOptions
    from anyjepa.training.config import Precision

_explain_option = partial(typer.Option, rich_help_panel="Explanations")
_nepa_option = partial(typer.Option, rich_help_panel="NEPA models")


def predict(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Model folder or Hugging Face model id. Must contain a classifier, or be a NEPA model with --horizon.",
        ),
    ],
    paths: SourceArguments,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Table to write, one row per record: .parquet, .arrow or .csv; - for an Arrow stream to standard "
            "output.",
        ),
    ],
    windows: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Second table to write, one row per window of a record.")
    ] = None,
    coverage: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Also write the classes that cannot be ruled out; they include the true one in this share of records.",
        ),
    ] = None,
    explain: Annotated[
        Path | None,
        _explain_option(
            metavar="FILE",
            help="Table to write (.parquet, .arrow or .csv) with the effect of hiding each part of a record.",
        ),
    ] = None,
    explain_class: Annotated[
        str | None, _explain_option(metavar="NAME", help="Class to explain. Default: all, and draw the most probable.")
    ] = None,
    explain_tokens: Annotated[
        int | None,
        _explain_option(
            min=1,
            metavar="N",
            help="Width of a part in tokens. Default: as small as 64 parts along each axis allow; for cells, one gene.",
        ),
    ] = None,
    draw: Annotated[
        Path | None,
        _explain_option(
            metavar="FILE|FOLDER",
            help="Figure to write (.png, .svg or .pdf), or a folder of figures, one per record. With --horizon, one "
            "figure of the most surprising 10 s.",
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        _nepa_option(
            min=1,
            metavar="N",
            help="Predict each patch N patches ahead, and write how surprising it is; one row per patch.",
        ),
    ] = None,
    continued: Annotated[
        Path | None,
        _nepa_option(
            metavar="FILE",
            help="Table to write with the patches predicted after the end of each record. Needs --horizon.",
        ),
    ] = None,
    fs: RateOption = None,
    leads: LeadsOption = None,
    unit: UnitOption = None,
    batch: BatchOption = 64,
    device: DeviceOption = None,
    precision: PrecisionOption = "32",
    workers: WorkersOption = 0,
    skip_errors: SkipErrorsOption = False,
    imports: ImportOption = None,
) -> None:
    """Predict the class probabilities of records, or how surprising each part of a record is.

    Save a classifier with 'anyjepa evaluate --save-classifier'. For long records, the table also names the
    window that contributes most to each class; --explain shows the places in a record that do.
    To resume after an interruption, run the same command again.
    """
    from anyjepa.runs.predict import ExplainOptions, predict_files, surprise_files

    applying = partial(_applying, skip_errors, fs, leads, unit, batch, device, precision, workers)
    if horizon is None:
        if continued is not None:
            raise InputError("predict: --continued needs --horizon")
        explaining = None
        if explain is not None:
            from anyjepa.plot import explanation

            explaining = ExplainOptions(explain, explain_class, explain_tokens, draw, explanation)
        for option, value in (
            ("--explain-class", explain_class),
            ("--explain-tokens", explain_tokens),
            ("--draw", draw),
        ):
            if value is not None and explain is None:
                raise InputError(f"predict: {option} needs {'--horizon or ' if option == '--draw' else ''}--explain")
        with applying("classifying") as how:
            done = predict_files(model, paths, output, how, windows=windows, coverage=coverage, explaining=explaining)
        show_written(output, *done)
        for what, place in (("windows", windows), ("effects", explain), ("pictures", draw)):
            if place is not None:
                echo(f"{what}: {place}")
        return
    for option, value in (("--windows", windows), ("--coverage", coverage), ("--explain", explain)):
        if value is not None:
            raise InputError(f"predict: {option} is for classifiers and --horizon for NEPA models; pass one of them")
    with applying("computing surprise") as how:
        done = surprise_files(model, paths, output, horizon, how, continued=continued, draw=draw)
    show_written(output, *done)


def embed(
    model: ModelArgument,
    paths: SourceArguments,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="File to write: .parquet, .arrow, .npz or .csv; - for an Arrow stream to standard output.",
        ),
    ],
    weights: WeightsOption = None,
    fs: RateOption = None,
    leads: LeadsOption = None,
    unit: UnitOption = None,
    window: Annotated[
        float | None,
        typer.Option(min=0, metavar="S", help="Write one row per window of S seconds, with its start time."),
    ] = None,
    stride: Annotated[
        float | None,
        typer.Option(min=0, metavar="S", help="Seconds from one window to the next. Default: half a window."),
    ] = None,
    batch: BatchOption = 64,
    device: DeviceOption = None,
    precision: PrecisionOption = "32",
    workers: WorkersOption = 0,
    skip_errors: SkipErrorsOption = False,
    imports: ImportOption = None,
) -> None:
    """Compute one embedding vector per record or per window, and write them with the record ids.

    To resume after an interruption, run the same command again.
    """
    from anyjepa.runs.embed import embed_files

    applying = partial(_applying, skip_errors, fs, leads, unit, batch, device, precision, workers)
    with applying("embedding") as how:
        done = embed_files(model, paths, output, how, weights=weights, window_s=window, stride_s=stride)
    show_written(output, *done)


@contextmanager
def _applying(
    skip_errors: bool,
    fs: float | None,
    leads: str | None,
    unit: str | None,
    batch: int,
    device: str | None,
    precision: Precision,
    workers: int,
    what: str,
) -> Iterator[ApplyOptions]:
    """Settings for applying a model, while progress is shown. what: the work, such as 'embedding'."""
    from anyjepa.runs.applying import ApplyOptions

    with shown_progress(what) as progress:
        yield ApplyOptions(
            skip_errors=skip_errors,
            fs=fs,
            leads=leads.split(",") if leads else None,
            unit=unit,
            batch=batch,
            device=device,
            precision=precision,
            workers=workers,
            progress=progress,
        )


def export(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write: .onnx or .pt2.")],
    weights: WeightsOption = None,
    fs: RateOption = None,
    leads: LeadsOption = None,
    unit: UnitOption = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Round the weights of the encoder to 8 bits: a smaller file (.onnx only).")
    ] = False,
    imports: ImportOption = None,
) -> None:
    """Write a model with its preprocessing to one ONNX or torch.export file, for use without anyjepa."""
    from anyjepa.runs.export import export

    options = {"fs": fs, "leads": leads.split(",") if leads else None, "unit": unit}
    written = export(model, output, weights=weights, int8=int8, **options)
    echo(f"model: {written}\ngolden input and output: {written.with_suffix('.golden.npz')}")
