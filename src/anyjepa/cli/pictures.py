"""`anyjepa plot`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anyjepa.cli.output import echo
from anyjepa.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["ecg", "series", "image", "clip", "embedding"]
SUFFIXES = (".png", ".svg", ".pdf")


def plot(
    kind: Annotated[
        Kind, typer.Argument(metavar="KIND", show_choices=False, help="ecg, series, image, clip or embedding.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="File with the record; for embedding, a table from 'anyjepa embed'.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Picture: .png, .svg or .pdf. Default: NAME-KIND.png."),
    ] = None,
    record: Annotated[
        str | None, typer.Option(metavar="ID", help="Which record to draw, if there are several. Default: the first.")
    ] = None,
    start: Annotated[float, typer.Option(metavar="S", help="ECGs: start of the picture, in seconds.")] = 0.0,
    fs: Annotated[
        float | None, typer.Option(metavar="HZ", help="ECGs: sampling rate, if the file does not contain it.")
    ] = None,
    unit: Annotated[
        str | None, typer.Option(metavar="UNIT", help="ECGs: unit of the values, if the file does not contain it.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Embeddings: column of the table that colours the points.")
    ] = None,
) -> None:
    """Draw an ECG on paper (25 mm/s, 10 mm/mV), a series, an image, a clip, or a map of embeddings."""
    from anyjepa.runs.table_writing import refuse_input_as_output
    from anyjepa.writing import replacing

    path = Path(f"{file.stem}-{kind}.png") if output is None else output
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path}: a picture is written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    refuse_input_as_output(path, [file])
    if kind == "embedding":
        figure = _embedding(file, label)
    else:
        figure = _ecg(file, record, start, fs, unit) if kind == "ecg" else _other(kind, file, record)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as part:
        figure.savefig(part, format=path.suffix[1:], dpi=150)
    echo(path)


def _ecg(file: Path, record: str | None, start: float, fs: float | None, unit: str | None) -> Figure:
    from anyjepa.data.ecg.checks import check, warn_about
    from anyjepa.data.ecg.reading import iterate
    from anyjepa.plot import ecg

    ids = []
    for one in iterate(file, fs=fs, unit=unit):
        ids.append(one.id)
        if record in (None, one.id):
            break
    else:
        _place(ids, record, file)
    warn_about(check([one]))
    return ecg(one.signal, fs=one.fs, leads=one.leads, start_s=start, title=one.id)


def _other(kind: str, file: Path, record: str | None) -> Figure:
    from anyjepa.plot import clip, image, series

    if kind == "series":
        from anyjepa.data.series.reading import read

        many, _ = read([file])
        one = many[_place([each.id for each in many], record, file)]
        return series(one.values, title=one.id)
    if kind == "image":
        from anyjepa.data.images.image_files import read_image
        from anyjepa.data.images.reading import read_images

        if file.is_file() and record is None:
            return image(read_image(file), title=file.name)
        images = read_images(file)
        place = _place(images.ids, record, file)
        return image(images.images[place], title=images.ids[place])
    import numpy as np

    from anyjepa.data.video.files import Decoding
    from anyjepa.data.video.reading import read_files, read_npz

    decoding = Decoding("rgb", 480, "lazily")
    videos = read_npz(file) if file.suffix == ".npz" else read_files(file, "raise", decoding)
    place = _place(videos.ids, record, file)
    frames = np.arange(videos.videos.lengths[place])
    chosen = np.unique(np.linspace(0, len(frames) - 1, 8).astype(int))
    return clip(videos.videos.read(place, chosen), numbers=(chosen + 1).tolist(), title=videos.ids[place])


def _place(ids: Sequence[str], record: str | None, file: Path) -> int:
    if record is None:
        return 0
    if record not in ids:
        raise InputError(f"{file}: there is no record '{record}'{did_you_mean(record, ids)}")
    return list(ids).index(record)


def _embedding(file: Path, label: str | None) -> Figure:
    """The columns z0, z1, ... of a table, coloured by the column `label`."""
    import re

    from anyjepa.data.tables.table import open_table
    from anyjepa.plot import embedding

    table = open_table(file)
    numbered = [name for name in table.names if re.fullmatch(r"z\d+", name)]
    if not numbered:
        raise InputError(f"{file}: has no columns z0, z1, ...; pass a table that 'anyjepa embed' wrote")
    loaded = table.read([*numbered, *([label] if label else [])])
    labels = [text or "none" for text in loaded.texts(label)] if label else None
    return embedding(loaded.numbers(numbered).T, labels, title=file.name)
