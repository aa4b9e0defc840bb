"""Every reader of anyjepa: whole files to begin with, and what is done with damaged ones.

`build` writes folders of files, each a valid input; of a case one of them is copied and damaged, and `read` does with
the copy what a command would, and gives the values that must be finite.
"""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from anyjepa.errors import InputError


class Gaps(list):
    """Values among which NaN is allowed: invalid samples, as the formats mark them."""


@dataclass(frozen=True)
class Reader:
    """build(folder, data): one folder per valid input; data: real records, if there are some.

    read(folder): values to be looked at. resign: makes checksums in the folder right again, or not.
    """

    build: Callable[[Path, Path | None], None]
    read: Callable[[Path], Iterator[Any]]
    damaged: str = "*"  # pattern of the names of files that are damaged
    resign: Callable[[Path, Random], None] | None = None


def shown(renderable: Any) -> None:
    from rich.console import Console

    Console(file=io.StringIO(), width=100).print(renderable)


# ECGs


def ecg(folder: Path, **options: Any) -> Iterator[Any]:
    """Read, checked, inspected and prepared for training."""
    from anyjepa.data.ecg import inspection
    from anyjepa.data.ecg.preprocessing import EcgPreprocessing
    from anyjepa.data.ecg.reading import read
    from anyjepa.data.ecg.source import EcgDataConfig, Found, training_data
    from anyjepa.data.ecg.tasks import task_table, tasks_of

    reading = read(folder, **options)
    yield Gaps([recording.signal for recording in reading.recordings])
    yield [(r.fs, r.age, dict(r.likelihoods), r.duration_s) for r in reading.recordings]
    found = inspection.inspect([folder], **options)
    yield found
    shown(inspection.render(found))
    for task in tasks_of(reading.recordings):
        with suppress(InputError):  # of a task whose classes no record has
            yield task_table(reading.recordings, task).values
    config = EcgDataConfig(
        fs=100, duration_s=0.5, leads=reading.recordings[0].leads, part="all", on_error="skip", missing_leads="zero"
    )
    dataset, _ = training_data(config, Found(reading.recordings, {}))
    assert isinstance(dataset.preprocessing, EcgPreprocessing)
    yield dataset.preprocessing.model_dump(mode="json")
    yield [dataset[i] for i in range(len(dataset))]


def arrays(folder: Path) -> Iterator[Any]:
    return ecg(folder, fs=100, leads=["I", "II", "V1"], unit="mV")


def build_wfdb(folder: Path, data: Path | None) -> None:
    from wfdb_writing import write_record

    signal = ecg_signal()
    write_record(folder / "16" / "a", signal, 100, LEADS, ["Age: 54", "Sex: Female", "Dx: 426783006,164889003"])
    write_formats(folder / "formats", signal)
    write_segments(folder / "segments", signal)
    if data is not None:
        for source in ("chapman/JS00001", "cpsc2018/A0001"):
            shorten_mat(data / source, folder / source.replace("/", "-"), 500)
        ludb = folder / "ludb"
        ludb.mkdir()
        (ludb / "1.hea").write_text((data / "ludb/data/1.hea").read_text().replace("500 5000", "500 500"))
        (ludb / "1.dat").write_bytes((data / "ludb/data/1.dat").read_bytes()[: 500 * 24])


LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def ecg_signal(fs: float = 100, leads: int = 12) -> np.ndarray:
    """(leads, 2 s) mV."""
    from anyjepa.data.ecg.simulator import SimulatorConfig, simulate

    (recording,) = simulate(SimulatorConfig(patients=1, fs=fs, duration_s=5))
    return recording.signal[:leads, : int(2 * fs)]


def write_formats(folder: Path, signal: np.ndarray) -> None:
    """Formats other than 16, and several samples per frame."""
    import wfdb

    folder.mkdir(parents=True)
    for name, fmt, frames in (("b", "212", 1), ("c", "80", 1), ("d", "24", 1), ("e", "32", 1), ("f", "16", 2)):
        rows = [row.astype(np.float64) for row in signal[:3]]
        options: dict[str, Any] = {"p_signal": np.stack(rows, axis=1)}
        if frames > 1:
            options = {"e_p_signal": [np.repeat(rows[0], 2), rows[1], rows[2]], "samps_per_frame": [2, 1, 1]}
        wfdb.wrsamp(
            name,
            fs=100,
            units=["mV"] * 3,
            sig_name=["I", "II", "V1"],
            fmt=[fmt] * 3,
            adc_gain=[40.0] * 3,
            baseline=[0] * 3,
            write_dir=str(folder),
            **options,
        )


def write_segments(folder: Path, signal: np.ndarray) -> None:
    from wfdb_writing import write_record

    for number in range(2):
        write_record(folder / f"s{number}", signal[:3], 100, LEADS[:3])
    samples = signal.shape[1]
    (folder / "s.hea").write_text(f"s/2 3 100 {2 * samples}\ns0 {samples}\ns1 {samples}\n")


def shorten_mat(source: Path, folder: Path, samples: int) -> None:
    """A record of a PhysioNet Challenge, its first samples: MATLAB v4 with 12 rows."""
    folder.mkdir(parents=True)
    header = source.with_suffix(".hea").read_text().splitlines()
    first = header[0].split()
    header[0] = " ".join([*first[:3], str(samples), *first[4:]])
    (folder / f"{source.name}.hea").write_text("\n".join(header) + "\n")
    content = source.with_suffix(".mat").read_bytes()
    sizes = np.frombuffer(content[:20], "<i4").copy()
    sizes[2] = samples
    (folder / f"{source.name}.mat").write_bytes(sizes.tobytes() + content[20 : 24 + samples * 24])


def build_arrays(folder: Path, data: Path | None) -> None:
    signal = ecg_signal(leads=12)[[0, 1, 6]]
    whole = {"signals": np.stack([signal, -signal]), "fs": 100, "leads": ["I", "II", "V1"], "unit": "mV"}
    for name in ("npz", "zipped", "npy", "one"):
        (folder / name).mkdir(parents=True)
    np.savez(folder / "npz/a.npz", **whole, ids=["a", "b"], patients=[1, 2])
    np.savez_compressed(folder / "zipped/a.npz", **{**whole, "signals": (signal * 1000).astype("i2"), "unit": 0.001})
    np.save(folder / "npy/a.npy", whole["signals"])
    np.save(folder / "one/a.npy", np.asfortranarray(signal.astype("f8")))


def build_tables(folder: Path, data: Path | None) -> None:
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    signal = ecg_signal()
    table = pd.DataFrame(signal.T.round(4), columns=list(LEADS))
    for name in ("csv", "times", "parquet"):
        (folder / name).mkdir(parents=True)
    table.assign(fs=100, unit="mV", patient="007").to_csv(folder / "csv/a.csv", index=False)
    table.assign(time_s=np.arange(len(table)) / 100, unit="mV").to_csv(folder / "times/a.csv", index=False)
    pq.write_table(
        pa.Table.from_pandas(table).replace_schema_metadata({"fs": "100", "unit": "mV"}), folder / "parquet/a.parquet"
    )


def build_dicom(folder: Path, data: Path | None) -> None:
    """The electrocardiograph's file that comes with pydicom, half a second of it."""
    import pydicom
    from pydicom.data import get_testdata_file

    dataset: Any = pydicom.dcmread(str(get_testdata_file("waveform_ecg.dcm", download=False)))
    for group in dataset.WaveformSequence:
        samples = min(int(group.NumberOfWaveformSamples), 1000)
        group.WaveformData = group.WaveformData[: samples * 2 * int(group.NumberOfWaveformChannels)]
        group.NumberOfWaveformSamples = samples
    for name in ("a", "deflated"):
        (folder / name).mkdir(parents=True)
        if name == "deflated":
            dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian  # type: ignore
        dataset.save_as(folder / name / "a.dcm")


def build_scp(folder: Path, data: Path | None) -> None:
    from test_ecg_vendor_files import scp

    for name, content in (("packed", scp()), ("plain", scp(packed=False))):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.scp").write_bytes(content)


def build_xml(folder: Path, data: Path | None) -> None:
    from test_ecg_vendor_files import aecg, muse

    for name, content in (("muse", muse()), ("aecg", aecg())):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.xml").write_bytes(content)


def build_annotations(folder: Path, data: Path | None) -> None:
    """MIT-BIH's layout, of simulated beats; and a real record's annotations, its first minutes."""
    from wfdb_writing import write_annotations, write_record

    signal = np.tile(ecg_signal(fs=360, leads=2), 10)
    write_record(folder / "made/100", signal, 360, ("MLII", "V1"))
    beats = list(range(100, signal.shape[1] - 100, 250))
    write_annotations(folder / "made/100.atr", beats, ["NVAL"[i % 4] for i in range(len(beats))])
    real = data and next(iter(sorted((data / "mitdb").glob("**/1*.atr"))), None)
    if real:
        write_record(folder / "real" / real.stem, np.tile(signal, 10), 360, ("MLII", "V1"))
        (folder / "real" / real.name).write_bytes(real.read_bytes()[:400] + b"\0\0")


def build_code15(folder: Path, data: Path | None) -> None:
    import h5py
    import pandas as pd

    traces = np.zeros((4, 400, 12), np.float32)
    traces[:3, 40:360] = np.resize(ecg_signal().T, (320, 12))
    for name, options in (("plain", {}), ("zipped", {"compression": "gzip", "chunks": (2, 400, 12)})):
        (folder / name).mkdir(parents=True)
        with h5py.File(folder / name / "exams_part0.hdf5", "w") as file:
            file["exam_id"] = np.array([11, 12, 13, 0])
            file.create_dataset("tracings", data=traces, **options)
        columns = dict.fromkeys(("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF"), [False, True, False])
        about = {"exam_id": [11, 12, 13], "age": 46, "is_male": True, "patient_id": 7, "trace_file": "exams_part0.hdf5"}
        pd.DataFrame({**about, **columns}).to_csv(folder / name / "exams.csv", index=False)


def build_ptbxl(folder: Path, data: Path | None) -> None:
    import pandas as pd
    from ptbxl_miniature import write_miniature
    from wfdb_writing import write_record

    from anyjepa.data.ecg.simulator import SimulatorConfig, simulate

    write_miniature(folder / "ptb-xl", simulate(SimulatorConfig(patients=3, fs=500, duration_s=5)), rates=(100, 500))
    mimic = folder / "mimic"
    paths = [f"files/p1000/p1000003{n}/s4068923{n}/4068923{n}" for n in range(2)]
    for path in paths:
        write_record(mimic / path, ecg_signal(500), 500, LEADS)
    index = pd.DataFrame({"subject_id": [10000030, 10000031], "study_id": [40689230, 40689231], "path": paths})
    index.assign(ecg_time="2180-07-23 08:44:00").to_csv(mimic / "record_list.csv", index=False)
    index[["study_id"]].assign(report_0="Sinus rhythm", report_1="Normal ECG").to_csv(
        mimic / "machine_measurements.csv", index=False
    )


def build_store(folder: Path, data: Path | None) -> None:
    from wfdb_writing import write_record

    from anyjepa.data.ecg.store_writing import prepare_store

    records = folder.parent / "store-records"
    for number in range(3):
        write_record(records / f"r{number}", ecg_signal() * (1 + number), 100, LEADS, ["Age: 54", "Dx: 426783006"])
    folder.mkdir(parents=True, exist_ok=True)
    prepare_store([records], folder / "whole", fs=100)
    prepare_store([records], folder / "lead", fs=100, leads=("I", "V1"), missing_leads="zero")
    shutil.rmtree(records)


def store(folder: Path) -> Iterator[Any]:
    from anyjepa.data.ecg.source import EcgDataConfig, training_data
    from anyjepa.data.ecg.store import Store

    opened = Store(folder)
    yield Gaps([recording.signal for recording in opened])
    yield [(recording.fs, recording.age, dict(recording.likelihoods)) for recording in opened]
    config = EcgDataConfig(fs=100, duration_s=0.5, leads=opened.leads, part="all", missing_leads="zero")
    dataset, _ = training_data(config, [folder])
    yield dataset.preprocessing.model_dump(mode="json")
    yield [dataset[i] for i in range(len(dataset))]
    yield dataset.crops([0, len(dataset) - 1], [np.random.default_rng(0), np.random.default_rng(1)])


def resign_store(folder: Path, rng: Random) -> None:
    """The manifest's checksums and sizes, as they are now."""
    from anyjepa.data.ecg.store import checksum

    manifest = folder / "manifest.json"
    plain = json.loads(manifest.read_text())
    if rng.random() < 0.9:
        plain["index"] = checksum((folder / "index.parquet").read_bytes())
    for shard in plain["shards"]:
        content = (folder / "shards" / shard["file"]).read_bytes()
        shard["checksum"] = checksum(content)
        if rng.random() < 0.7:
            shard["bytes"] = len(content)
    manifest.write_text(json.dumps(plain))


# Pictures


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

    found = inspection.inspect(folder)
    shown(inspection.render(found))
    yield found
    dataset = training_data(ImageDataConfig(side=8, part="all"), [folder])
    yield dataset.preprocessing.model_dump(mode="json")
    yield [dataset[i] for i in range(min(len(dataset), 8))]
    yield [(table.values, table.ids) for table in dataset.tables.values()]


def build_cifar(folder: Path, data: Path | None) -> None:
    import tarfile

    from test_image_cifar import write_cifar

    from anyjepa.data.images.cifar import LAYOUTS

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
    found = inspection.inspect(path)
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


# Recipes, runs, models, checkpoints


def build_recipes(folder: Path, data: Path | None) -> None:
    from conftest import TINY

    from anyjepa.recipes.schema import flat, load_recipe, recipe_names, to_yaml

    for name in (
        "ecg-jepa-xs-2lead",
        "ijepa-demo",
        "perturb-demo",
        "series-jepa-demo",
        "vjepa-demo",
        "ecg-nepa-demo",
        "two-modality-demo",
    ):
        assert name in recipe_names()
        recipe = load_recipe(name)[0]
        (folder / name).mkdir(parents=True)
        (folder / name / "recipe.yaml").write_text(to_yaml(recipe))
        edits = [f"{key}={json.dumps(value)}" for key, value in flat(recipe.model_dump(mode="json")).items()]
        (folder / name / "edits.sets").write_text("\n".join(edits[:: max(1, len(edits) // 8)]) + "\n")
    (folder / "tiny").mkdir()
    (folder / "tiny" / "recipe.yaml").write_text(TINY)
    (folder / "tiny" / "edits.sets").write_text("training.steps=3\ndata.fs=250\nobjective.masks.kind=spans\n")
    (folder / "based").mkdir()
    (folder / "based" / "recipe.yaml").write_text(
        "base: ijepa-demo\nname: x\ntraining: {steps: 1000}\ndata: {side: 16}\n"
    )
    (folder / "based" / "edits.sets").write_text("data.side=32\nevaluation.seeds=2\n")


def recipes(folder: Path) -> Iterator[Any]:
    from anyjepa.recipes.schema import changes, load_recipe, to_yaml

    edits = (folder / "edits.sets").read_bytes().decode("utf-8", "surrogateescape").splitlines()
    recipe, _ = load_recipe(folder / "recipe.yaml", edits)
    yield recipe.model_dump(mode="json")
    changes(recipe.model_dump(mode="json"))
    (folder / "again.yaml").write_text(to_yaml(recipe))
    assert load_recipe(folder / "again.yaml")[0] == recipe


def build_models(folder: Path, data: Path | None) -> None:
    """One small model folder of each modality, and two classifiers."""
    import torch

    from anyjepa.runs.pretrain import pretrain

    torch.manual_seed(0)
    for name, recipe in tiny_recipes().items():
        run = pretrain(recipe, output=folder.parent / "model-run")
        shutil.copytree(run.model, folder / name)
        shutil.rmtree(run.folder)
    add_head(folder / "ecg", folder / "ecg-classifier", exclusive=True)
    add_head(folder / "images", folder / "images-classifier", exclusive=False)


def tiny_recipes() -> dict[str, Any]:
    from anyjepa.recipes.schema import load_recipe

    few = [
        "training.steps=2",
        "training.batch_size=4",
        "training.workers=0",
        "training.precision='32'",
        "training.optimiser.warmup=1",
        "training.log_every=1",
        "training.monitor_every=2",
        "training.checkpoint_every=1",
    ]
    small = ["objective.encoder.dim=8", "objective.encoder.depth=1", "objective.encoder.heads=2"]
    predictor = ["objective.predictor.dim=8", "objective.predictor.depth=1", "objective.predictor.heads=2"]
    edits = {
        "ecg": ("ecg-jepa-demo", [*small, *predictor, "data.duration_s=2.5", "data.simulator.patients=8", "data.simulator.duration_s=5"]),
        "images": ("ijepa-demo", [*small, *predictor, "data.simulator.train=16", "data.simulator.test=8"]),
        "series": ("series-jepa-demo", [*small, *predictor, "data.simulator.series=12"]),
        "video": ("vjepa-demo", [*small, *predictor, "data.moving_digits.clips=12"]),
        "cells": (
            "perturb-demo",
            ["objective.encoder.tokens=4", *small, "objective.predictor.depth=1", "objective.predictor.heads=2"]
            + [f"data.simulator.{key}" for key in ("genes=60", "regulators=12", "singles=6", "doubles=3", "cells=20", "controls=40")]
            + ["data.genes=50"],
        ),
    }  # fmt: skip
    return {name: load_recipe(recipe, [*few, *changes])[0] for name, (recipe, changes) in edits.items()}


def add_head(source: Path, folder: Path, exclusive: bool) -> None:
    """The same encoder with a head that nobody trained."""
    from torch import nn

    from anyjepa.nn.pooling import Head, HeadConfig
    from anyjepa.weights.folder import load_model, save_model
    from anyjepa.weights.model import ClassifierConfig

    loaded = load_model(source)
    head = HeadConfig()
    classifier = ClassifierConfig(
        head=head, classes=("a", "b", "c"), exclusive=exclusive, thresholds=None if exclusive else (0.5, 0.5, 0.2)
    )
    config = loaded.config.model_copy(update={"predictor": False, "other": None, "classifier": classifier})
    width, heads = loaded.encoder.dim, loaded.encoder.config.heads
    parts = nn.ModuleDict({"encoder": loaded.encoder, "head": Head(head, width, heads, 3)})
    save_model(folder, config, parts.state_dict(), loaded.preprocessing, records=loaded.records)


def models(folder: Path) -> Iterator[Any]:
    import anyjepa
    from anyjepa.weights.inspection import inspect_weights, render

    found = inspect_weights(folder)
    shown(render(found))
    yield {key: value for key, value in found.items() if key != "tensors"}
    model = anyjepa.load(folder)
    yield model.preprocessing.model_dump(mode="json")
    raw, how = raw_for(model)
    yield model.embed(raw, **how)
    if model.head is not None:
        yield model.predict_classes(raw, **how).table()
    if (folder / "student.safetensors").exists():
        yield anyjepa.load(folder, "student").embed(raw, **how)


def raw_for(model: Any) -> tuple[np.ndarray, dict[str, Any]]:
    """Something that the model could read, if it is not changed too much: a record as short as it may be."""
    preprocessing = model.preprocessing
    if preprocessing.kind == "ecg":
        rng = np.random.default_rng(0)
        return rng.normal(size=(1, len(preprocessing.leads), 500)).astype("f4"), {"fs": 200.0}
    if preprocessing.kind == "images":
        return pixels()[None], {}
    if preprocessing.kind == "video":
        return np.stack([pixels()] * 40)[None], {}
    if preprocessing.kind == "series":
        return np.random.default_rng(0).normal(size=(1, preprocessing.channels, 400)).astype("f4"), {}
    return np.abs(np.random.default_rng(0).normal(size=(1, *preprocessing.size))).astype("f4"), {}


def build_runs(folder: Path, data: Path | None) -> None:
    """A run folder with results of every kind that a report shows."""
    import anyjepa
    from anyjepa.runs.perturbations import evaluate_perturbations
    from anyjepa.runs.pretrain import pretrain

    recipes = tiny_recipes()
    evaluation = {"seeds": 1, "bootstrap": 20, "min_count": 1}
    for name in ("ecg", "images"):
        run = pretrain(recipes[name], output=folder / name)
        try:
            anyjepa.evaluate(run.folder, **evaluation)
        except anyjepa.InputError:  # too few records for the task: a run without results is a run, too
            pass
    run = pretrain(recipes["cells"], output=folder / "cells")
    evaluate_perturbations(run.folder, seeds=1)
    for path in folder.glob("*/model"):
        shutil.rmtree(path)  # `models` has them
    for path in folder.glob("*/.lock"):
        path.unlink()


def runs(folder: Path) -> Iterator[Any]:
    from anyjepa.report.page import write_report
    from anyjepa.runs.folder import open_run
    from anyjepa.runs.pretrain import build_objective
    from anyjepa.training.checkpoints import check_checkpoint, newest_checkpoint
    from anyjepa.training.module import Pretraining

    write_report(folder)
    run = open_run(folder)
    run.environment()
    objective = build_objective(run.recipe)
    if newest := newest_checkpoint(folder / "checkpoints"):
        check_checkpoint(newest, Pretraining(objective, run.recipe.training, ()))
    yield from results(folder)


def results(folder: Path) -> Iterator[Any]:
    """Each result on its own, as `evaluate` shows it: the report only notes what it cannot read."""
    from anyjepa.evaluation import result
    from anyjepa.evaluation.perturbation import result as perturbation

    refused: InputError | None = None
    for place, kind, render in (
        ("results", result.Result, result.render),
        ("perturbations", perturbation.Judgement, perturbation.render),
    ):
        for path in sorted((folder / place).glob("*.json")):
            try:
                shown(render(kind.from_json(path)))
                yield kind.from_json(path).model_dump(mode="json")
            except InputError as error:
                refused = error
    if refused:
        raise refused


GOLDEN = Path(__file__).parent.parent / "golden"


def build_foreign(folder: Path, data: Path | None) -> None:
    for name, files in {
        "ecg-jepa": ["ecg_jepa/chkpt_2.pt"],
        "ecg-jepa-linear": ["ecg_jepa/eval_fc_best_chkpt.pt"],
        "ecg-jepa-attentive": ["ecg_jepa/eval_attn_best_chkpt.pt"],
        "ijepa": ["ijepa/jepa-latest.pth.tar"],
        "vjepa": ["vjepa/jepa-latest.pth.tar"],
        "nepa-ecg": ["nepa_ecg/config.json", "nepa_ecg/model.safetensors", "nepa_ecg/pytorch_model_ema.bin"],
        "nepa-image": ["nepa_image/config.json", "nepa_image/model.safetensors"],
        "nepa-classifier": ["nepa_image/cls/config.json", "nepa_image/cls/model.safetensors"],
    }.items():
        (folder / name).mkdir(parents=True)
        for file in files:
            target = f"{name}.pth.tar" if file.endswith(".pth.tar") else Path(file).name
            shutil.copyfile(GOLDEN / file, folder / name / target)


def foreign(folder: Path) -> Iterator[Any]:
    import anyjepa
    from anyjepa.weights.ecg_jepa import import_ecg_jepa
    from anyjepa.weights.inspection import inspect_weights, render
    from anyjepa.weights.meta_jepa import import_jepa
    from anyjepa.weights.nepa import import_nepa

    file = next((path for path in folder.iterdir() if path.name.endswith((".pt", ".tar"))), None)
    shown(render(inspect_weights(file or folder)))
    made = folder / "model"
    if file is None:
        import_nepa(folder, made, "ptb-xl" if folder.name == "nepa-ecg" else None)
    elif file.name.endswith(".pt"):
        import_ecg_jepa(file, made)
    else:
        import_jepa("vjepa" if file.name.startswith("vjepa") else "ijepa", file, made, heads=4)
    model = anyjepa.load(made)
    raw, how = raw_for(model)
    yield model.embed(raw, **how)


READERS: dict[str, Reader] = {
    "wfdb": Reader(build_wfdb, ecg),
    "arrays": Reader(build_arrays, arrays),
    "tables": Reader(build_tables, ecg),
    "dicom": Reader(build_dicom, ecg),
    "scp": Reader(build_scp, ecg),
    "xml": Reader(build_xml, ecg),
    "annotations": Reader(build_annotations, ecg, damaged="*.atr"),
    "code15": Reader(build_code15, ecg),
    "ptbxl": Reader(build_ptbxl, ecg, damaged="*.csv"),
    "store": Reader(build_store, store, resign=resign_store),
    "images": Reader(build_images, images),
    "cifar": Reader(build_cifar, cifar),
    "idx": Reader(build_idx, images),
    "video": Reader(build_video, video),
    "series": Reader(build_series, series),
    "cells": Reader(build_cells, cells),
    "labels": Reader(build_labels, labels),
    "recipes": Reader(build_recipes, recipes),
    "models": Reader(build_models, models),
    "runs": Reader(build_runs, runs),
    "foreign": Reader(build_foreign, foreign),
}
