"""Images, videos, series, cells and tables of labels."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from reader import Gaps, shown


def pixels(side: int = 24) -> np.ndarray:
    """(side, side, 3) uint8."""
    ramp = np.linspace(0, 255, side).astype(np.uint8)
    return np.stack(np.broadcast_arrays(ramp, ramp[:, None], ramp // 2 + ramp[:, None] // 3), axis=-1)


def build_images(folder: Path, data: Path | None) -> None:
    """A folder of two classes for each kind of file and of pixels."""
    from PIL import Image

    rgb = Image.fromarray(pixels())
    kinds = {
        "rgb.png": rgb,
        "grey.png": rgb.convert("L"),
        "palette.png": rgb.convert("P"),
        "bits.png": rgb.convert("1"),
        "alpha.png": rgb.convert("RGBA"),
        "deep.png": Image.fromarray(np.arange(576, dtype=np.uint16).reshape(24, 24) * 100),
        "rgb.jpg": rgb,
        "grey.jpg": rgb.convert("L"),
        "cmyk.jpg": rgb.convert("CMYK"),
        "rgb.webp": rgb,
        "alpha.webp": rgb.convert("RGBA"),
    }
    for name, picture in kinds.items():
        place = folder / name.replace(".", "-")
        for label in ("cat", "dog"):
            (place / label).mkdir(parents=True)
        picture.save(place / "cat" / name)
        rgb.resize((9, 7)).save(place / "dog" / "other.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    for place in sorted(folder.glob("rgb-*")):
        rgb.save(place / "cat" / f"turned{'.jpg' if 'jpg' in place.name else '.png'}", exif=exif)
    (folder / "frames" / "cat").mkdir(parents=True)
    rgb.save(folder / "frames" / "cat" / "a.webp", save_all=True, append_images=[rgb.rotate(90)])
    rgb.save(folder / "frames" / "cat" / "a.png", save_all=True, append_images=[rgb.rotate(90)])


def images(folder: Path) -> Iterator[Any]:
    from anyjepa.data.images import inspection
    from anyjepa.data.images.source import ImageDataConfig, training_data

    found = inspection.inspect([folder])
    shown(inspection.render(found))
    yield found
    dataset = training_data(ImageDataConfig(side=8, part="all"), [folder])
    yield dataset.preprocessing.model_dump(mode="json")
    yield [dataset[i] for i in range(min(len(dataset), 8))]
    yield [(table.values, table.ids) for table in dataset.tables.values()]


def build_cifar(folder: Path, data: Path | None) -> None:
    import tarfile

    from test_image_cifar import write_cifar

    from anyjepa.data.images.sets.cifar import LAYOUTS

    for number, layout in enumerate(LAYOUTS):
        write_cifar(folder / str(number) / layout.folder, layout)
        if number in (0, 1):
            place = folder / f"archive{number}"
            place.mkdir()
            with tarfile.open(place / layout.archive, "w:gz") as archive:
                archive.add(folder / str(number) / layout.folder, layout.folder)


def cifar(folder: Path) -> Iterator[Any]:
    archive = next(folder.glob("*.tar.gz"), None)
    yield from images(archive or folder)


def build_idx(folder: Path, data: Path | None) -> None:
    import gzip

    for zipped in (False, True):
        place = folder / ("gz" if zipped else "plain")
        place.mkdir(parents=True)
        for part, count in (("train", 4), ("t10k", 2)):
            labels = bytes(i % 3 for i in range(count))
            for name, content in (
                (f"{part}-images-idx3-ubyte", idx(np.stack([pixels(9)[..., 0]] * count))),
                (f"{part}-labels-idx1-ubyte", idx(np.frombuffer(labels, np.uint8))),
            ):
                ending = ".gz" if zipped else ""
                (place / f"{name}{ending}").write_bytes(gzip.compress(content) if zipped else content)


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def build_video(folder: Path, data: Path | None) -> None:
    from test_video_files import write_video

    for name, codec in (
        ("a.mp4", "mpeg4"),
        ("a.avi", "mpeg4"),
        ("a.mkv", "mpeg4"),
        ("b.mp4", "h264"),
        ("c.avi", "mjpeg"),
    ):
        try:
            write_video(folder / name.replace(".", "-") / name, frames=8, size=(32, 32), codec=codec)
        except Exception:  # an FFmpeg without this encoder
            shutil.rmtree(folder / name.replace(".", "-"))
    (folder / "arrays").mkdir()
    np.savez(folder / "arrays/a.npz", a=np.zeros((5, 8, 8), np.uint8), b=np.full((6, 8, 9, 3), 9, np.uint8))
    real = sorted((data / "video").glob("**/*.mp4"), key=lambda path: path.stat().st_size) if data else []
    for path in real[:1]:
        if path.stat().st_size < 300_000:
            (folder / "real").mkdir()
            shutil.copyfile(path, folder / "real" / path.name)


def video(folder: Path) -> Iterator[Any]:
    from anyjepa.data.video.source import VideoDataConfig, training_data

    arrays = next(folder.glob("*.npz"), None)
    for decode in ("lazily", "ahead"):
        config = VideoDataConfig(frames=2, stride=1, side=8, decode=decode)
        dataset = training_data(config, [arrays or folder])
        yield dataset.preprocessing.model_dump(mode="json")
        yield [dataset[i] for i in range(len(dataset))]
        yield dataset.crops([0], [np.random.default_rng(0)])


# Series, cells, labels


def build_series(folder: Path, data: Path | None) -> None:
    for name in ("ts", "npz", "csv", "real"):
        (folder / name).mkdir(parents=True)
    head = (
        "#c\n@problemName Toy\n@timeStamps false\n@missing true\n@univariate false\n@dimensions 2\n@equalLength true\n"
    )
    rows = [f"{','.join(map(str, range(n, n + 8)))}:1.5,?,{','.join('2' * 6)}:{'ab'[n % 2]}" for n in range(4)]
    (folder / "ts/Toy_TRAIN.ts").write_text(
        head + "@seriesLength 8\n@classLabel true a b\n@data\n" + "\n".join(rows) + "\n"
    )
    values = np.random.default_rng(0).normal(size=(3, 2, 9)).astype("f4")
    about = {
        "ids": ["a", "b", "c"],
        "labels": ["x", "y", "x"],
        "groups": [1, 2, 3],
        "split": ["train", "train", "test"],
    }
    np.savez(folder / "npz/a.npz", series=values, **about)
    (folder / "csv/a.csv").write_text("x,y\n" + "\n".join(f"{i},{i / 3}" for i in range(9)) + "\n")
    if data is not None:
        for name in ("BasicMotions", "JapaneseVowels"):
            lines = (data / f"timeseries/{name}/{name}_TRAIN.ts").read_text().splitlines()
            begin = next(i for i, line in enumerate(lines) if line.lower() == "@data")
            (folder / "real" / f"{name}_TRAIN.ts").write_text("\n".join(lines[: begin + 4]) + "\n")
    else:
        (folder / "real").rmdir()


def series(folder: Path) -> Iterator[Any]:
    from anyjepa.data.series.reading import read
    from anyjepa.data.series.source import SeriesDataConfig, training_data

    for path in sorted(folder.iterdir()):
        found, _ = read([path])
        yield Gaps([one.values for one in found])
        config = SeriesDataConfig(channels=len(found[0].values), length=4, part="all")
        dataset = training_data(config, [path])
        yield dataset.preprocessing.model_dump(mode="json")
        yield [dataset[i] for i in range(len(dataset))]


def build_cells(folder: Path, data: Path | None) -> None:
    import anndata
    import pandas as pd
    from h5ad_writing import write
    from scipy import sparse

    from anyjepa.data.cells.simulator import CellSimulatorConfig, simulate

    screen = simulate(CellSimulatorConfig(genes=30, regulators=6, singles=4, doubles=2, cells=8, controls=12))
    names = [str(screen.conditions[number]) for number in screen.condition]
    for form in ("csr", "array", "csc", "raw"):
        obs = pd.DataFrame({"perturbation": names, "batch": "b0", "dose": 1.5}, index=list(screen.ids))
        matrix = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix}.get(form, np.asarray)(screen.values)
        adata = anndata.AnnData(matrix, obs, pd.DataFrame(index=list(screen.genes)))
        adata.obsm["protein_counts"] = pd.DataFrame(np.ones((len(names), 2)), index=obs.index, columns=["CD3", "CD4"])
        if form == "raw":
            for table in (adata.obs, adata.var):
                table.index = table.index.astype(object)  # as `write` does
            adata.raw = adata.copy()
            adata.layers["counts"] = sparse.csr_matrix(screen.values)
            adata.X = np.log1p(np.asarray(screen.values))
        (folder / form).mkdir(parents=True)
        write(adata, folder / form / "a.h5ad")


def cells(folder: Path) -> Iterator[Any]:
    from anyjepa.data.cells import inspection
    from anyjepa.data.cells.files import CellFileConfig
    from anyjepa.data.cells.qc import QualityConfig
    from anyjepa.data.cells.source import CellDataConfig, training_data

    path = folder / "a.h5ad"
    found = inspection.inspect([path])
    shown(inspection.render(found))
    yield found
    quality = QualityConfig(min_genes=0, max_mito=1, min_cells=0, min_condition_cells=0, min_guide_share=0)
    by_genes = folder.name == "csc"  # never read in parts
    for memory, proteins in (("load", 0), ("auto" if by_genes else "backed", 2)):
        names = {"proteins": "protein_counts"} if proteins else {}
        file = CellFileConfig(quality=quality, memory=memory, unassigned="skip", **names)
        config = CellDataConfig(file=file, genes=20, proteins=proteins, hidden={"steps": 0})  # type: ignore
        dataset = training_data(config, [path])
        yield dataset.preprocessing.model_dump(mode="json")
        yield [dataset[i] for i in range(min(len(dataset), 40))]
        rngs = [[np.random.default_rng(i) for i in range(4)] for _ in range(2)]
        yield tuple(dataset.pairs(list(range(4)), *rngs, step=10))


def build_labels(folder: Path, data: Path | None) -> None:
    import pandas as pd

    rows = [
        (f"r{n}", n % 2, n % 3 == 0, f"p{n // 2}", ("train", "train", "validation", "test")[n // 2 % 4], "abc"[n % 3])
        for n in range(24)
    ]
    table = pd.DataFrame(rows, columns=["record", "AF", "MI", "patient", "part", "class"])
    for name in ("csv", "tsv", "parquet"):
        (folder / name).mkdir(parents=True)
    table.to_csv(folder / "csv/labels.csv", index=False)
    table.to_csv(folder / "tsv/labels.tsv", index=False, sep="\t")
    table.to_parquet(folder / "parquet/labels.parquet")


def labels(folder: Path) -> Iterator[Any]:
    from anyjepa.data.labels import join, read_label_table

    (path,) = folder.iterdir()
    for target, exclusive in ((["AF", "MI"], False), (["class"], None)):
        table = read_label_table(path, id="record", target=target, group="patient", split="part", exclusive=exclusive)
        yield table.values
        joined = join(table, [f"r{n}" for n in range(12)])
        yield joined.table.values
        joined.table.drop_rare(1)
