"""Every message of docs/broken-input.md is what its command prints.

`ANYJEPA_UPDATE_DOCS=1 pytest tests/test_broken_input.py` writes changed messages into the page.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import resource
import shlex
import shutil
import struct
import tarfile
import textwrap
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.error import URLError

import anndata as ad
import av
import h5py
import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from ptbxl_miniature import write_miniature
from pydicom.data import get_testdata_file
from safetensors.torch import load_file, save_file

from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.prepare.writing import prepare_store
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.ecg.stores.store import checksum
from anyjepa.errors import InputError
from anyjepa.training.checkpoints import Checkpoints

DOCUMENT = Path(__file__).parent.parent / "docs" / "broken-input.md"
PRETRAIN = "anyjepa pretrain tiny.yaml --data records -o new"
STORED = "anyjepa pretrain tiny.yaml --data store -o new"
SERIES = "anyjepa pretrain tiny.yaml --data Toy_TRAIN.ts -o new"
VIDEO = "anyjepa pretrain tiny.yaml --data clips -o new"
SHARD = "shards/000000.f32"
CELLS = "anyjepa data inspect screen.h5ad"
TRAIN_CELLS = (
    "anyjepa pretrain perturb-jepa --data screen.h5ad -o new --set quality.min_condition_cells=0 --set data.split=null"
)
INSPECT_PHOTOS = "anyjepa data inspect photos"
EMBED = "anyjepa embed run records -o out.csv"
EVALUATE = (
    "anyjepa evaluate run --data records --labels labels.csv --id record --target AF --group patient --split part"
)


def write_record(
    name: str, leads: tuple[str, ...] = LEADS, fs: float = 100, change: Callable[[np.ndarray], None] = lambda uv: None
) -> None:
    """A WFDB record of 6 s in `records`, in uV; `change` spoils its samples (600, leads)."""
    (recording,) = simulate(SimulatorConfig(patients=1, fs=100, duration_s=6, seed=ord(name)))
    uv = (recording.signal[: len(leads)].T * 1000).round().astype("<i2")
    change(uv)
    lines = [f"{name} {len(leads)} {fs:g} {len(uv)}", *(f"{name}.dat 16 1000/mV 16 0 0 0 0 {lead}" for lead in leads)]
    Path("records", f"{name}.hea").write_text("\n".join(lines) + "\n")
    Path("records", f"{name}.dat").write_bytes(uv.tobytes())


def truncate() -> None:
    path = Path("records/b.dat")
    path.write_bytes(path.read_bytes()[:9000])


def eight_of_twelve() -> None:
    samples = np.fromfile("records/b.dat", "<i2").reshape(-1, 12)
    Path("records/b.dat").write_bytes(samples[:, :8].tobytes())


def invalid(uv: np.ndarray) -> None:
    uv[:, LEADS.index("V2")] = -32768


def flat(uv: np.ndarray) -> None:
    uv[:, LEADS.index("V2")] = 0


def empty() -> None:
    header = Path("records/b.hea")
    header.write_text(header.read_text().replace("b 12 100 600", "b 12 100 0"))
    Path("records/b.dat").write_bytes(b"")


def prose() -> None:
    Path("records/b.hea").write_text("Dear reader,\n")


def dicom_without_waveform() -> None:
    shutil.copy(str(get_testdata_file("CT_small.dcm", download=False)), "scan.dcm")


def truncated_dicom() -> None:
    path = Path(str(get_testdata_file("waveform_ecg.dcm", download=False)))
    Path("ecg.dcm").write_bytes(path.read_bytes()[:99_999])


def other_xml() -> None:
    Path("ecg.xml").write_text("<restingecgdata/>")


def entities() -> None:
    Path("ecg.xml").write_text('<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><RestingECG>&b;</RestingECG>')


def labels(*rows: str) -> Callable[[], None]:
    """Writes `labels.csv` with columns record, AF, patient, part."""

    def write() -> None:
        Path("labels.csv").write_text("\n".join(["record,AF,patient,part", *rows]) + "\n")

    return write


def flat_in_all() -> None:
    for name in "ab":
        write_record(name, change=flat)


def of_kind(data: str, patch: str) -> None:
    """`tiny.yaml` for other data than ECGs."""
    encoder = f"{{patch: {patch}, dim: 12, depth: 1, heads: 2}}"
    Path("tiny.yaml").write_text(f"""
name: tiny
description: tiny
data: {data}
training: {{steps: 2, batch_size: 2, workers: 0, optimiser: {{warmup: 1}}}}
objective:
  encoder: {encoder}
  predictor: {{dim: 12, depth: 1, heads: 2}}
  masks: {{kind: past_future, context: 2, target: 2}}
""")


def series(old: str = "", new: str = "") -> None:
    """`Toy_TRAIN.ts` of two series, spoilt, and a recipe for it."""
    of_kind("{kind: series, channels: 2, length: 8}", "[2]")
    values = ",".join("12345678")
    text = f"@timeStamps false\n@classLabel true up down\n@data\n{values}:{values}:up\n{values}:{values}:down\n"
    assert old in text
    Path("Toy_TRAIN.ts").write_text(text.replace(old, new, 1))


def video(spoil: Callable[[bytes], bytes]) -> None:
    """`clips/a.avi` of 24 frames, spoilt, and a recipe for it."""
    of_kind("{kind: video, frames: 8, side: 32}", "[2, 8, 8]")
    Path("clips").mkdir()
    with av.open("clips/a.avi", "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.codec_context.thread_count = 1  # else the bytes depend on the number of cores
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(24):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), n, np.uint8), format="rgb24")))
        container.mux(stream.encode())
    Path("clips/a.avi").write_bytes(spoil(Path("clips/a.avi").read_bytes()))


def arrays(**wrong: object) -> None:
    """`ecg.npz` with one record of zeros."""
    facts = {"signals": np.zeros((12, 600)), "fs": 100, "leads": LEADS, "unit": "mV"}
    np.savez("ecg.npz", **{**facts, **wrong})  # type: ignore[arg-type]


def segments(of: str, parts: str) -> None:
    Path("records", f"{of}.hea").write_text(f"{of}/1 12 100 600\n{parts} 600\n")


def impossible_rate() -> None:
    path = Path("run/model/preprocessing.json")
    path.write_text(path.read_text().replace('"fs": 100.0', '"fs": 1e12'))


def ptb_xl() -> Path:
    """PTB-XL's layout with two records of 6 s."""
    records = simulate(SimulatorConfig(patients=2, fs=100, duration_s=6))
    return write_miniature(Path("ptb-xl"), records, rates=(500,))


def without_a_column() -> None:
    table = ptb_xl() / "ptbxl_database.csv"
    table.write_text(table.read_text().replace("patient_id", "patient", 1))


def truncated_hdf5() -> None:
    Path("code-15").mkdir()
    columns = "exam_id,age,is_male,patient_id,trace_file,1dAVb,RBBB,LBBB,SB,ST,AF"
    Path("code-15/exams.csv").write_text(f"{columns}\n7,50,True,1,exams_part0.hdf5{',False' * 6}\n")
    with h5py.File("code-15/exams_part0.hdf5", "w") as file:
        file["exam_id"], file["tracings"] = [7], np.ones((1, 4096, 12), np.float32)
    os.truncate("code-15/exams_part0.hdf5", 5000)


def path_outside() -> None:
    Path("mimic/files").mkdir(parents=True)
    Path("mimic/record_list.csv").write_text("subject_id,study_id,path\n1,7,../records/a\n")


def short_scp() -> None:
    Path("ecg.scp").write_bytes(b"\x12\x34" + (500).to_bytes(4, "little") + bytes(40))


def no_annotations() -> None:
    """Record `a` as record 100 of MIT-BIH, without its beats."""
    Path("mitdb").mkdir()
    Path("mitdb/100.hea").write_text(Path("records/a.hea").read_text().replace("a 12 100", "100 12 360"))
    Path("records/a.dat").rename("mitdb/a.dat")


def lose_a_tensor() -> None:
    path = Path("run/model/model.safetensors")
    tensors = load_file(path)
    del tensors["encoder.norm.weight"]
    save_file(tensors, path)


def store(spoil: Callable[[Path], object] = lambda store: None, **settings: Any) -> None:
    """`store`, made of `records`, and spoilt."""
    prepare_store(["records"], "store", **{"fs": 100, **settings})
    spoil(Path("store"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def newer(store: Path) -> None:
    manifest = store / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))


def shift_samples(store: Path) -> None:
    index = pq.ParquetFile(store / "index.parquet").read(use_threads=False)
    place = index.schema.get_field_index("offset")
    pq.write_table(index.set_column(place, "offset", pc.add(index["offset"], 1)), store / "index.parquet")
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["index"] = checksum((store / "index.parquet").read_bytes())
    (store / "manifest.json").write_text(json.dumps(manifest))


@contextmanager
def unreadable() -> Iterator[None]:
    """Without permission to list `records`; root may list anything, so for root the system call is made to refuse."""
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path) == "records":
            raise PermissionError(13, "Permission denied", "records")
        return scandir(path)

    if os.geteuid() == 0:
        with mock.patch.object(os, "scandir", refuse):
            yield
    else:
        Path("records").chmod(0)
        try:
            yield
        finally:
            Path("records").chmod(0o700)


@contextmanager
def disk_full(free: int = 256) -> Iterator[None]:
    """No file can grow beyond `free` bytes: the kernel fails the write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def disk_full_at_step_4() -> Iterator[None]:
    save = Checkpoints.save

    def on_a_full_disk(self: Checkpoints, trainer: object, step: int) -> None:
        with disk_full() if step == 4 else nullcontext():
            save(self, trainer, step)  # type: ignore[arg-type]

    with mock.patch.object(Checkpoints, "save", on_a_full_disk):
        yield


def cifar(files: int = 6) -> None:
    """CIFAR-10's binary layout with two images a batch."""
    Path("cifar").mkdir()
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    for name in names[:files]:
        Path("cifar", name).write_bytes(bytes(2 * 3073))
    Path("cifar/batches.meta.txt").write_text("airplane\nbird\n")


def truncated_cifar() -> None:
    cifar()
    os.truncate("cifar/data_batch_2.bin", 5000)


def cells(spoil: Callable[[ad.AnnData], object] = lambda screen: None) -> Callable[[], None]:
    """`screen.h5ad` of 40 cells and 4 genes, spoilt."""

    def write() -> None:
        names, batches = (pd.Index(texts, dtype=object) for texts in (["STAT1", "control"], ["b0"]))
        obs = pd.DataFrame(
            {
                "perturbation": pd.Categorical.from_codes([1] * 20 + [0] * 20, names),
                "batch": pd.Categorical.from_codes([0] * 40, batches),
            },
            index=pd.Index([f"cell{n}" for n in range(40)], dtype=object),
        )
        var = pd.DataFrame(index=pd.Index(["STAT1", "JAK2", "IRF1", "B2M"], dtype=object))
        screen = ad.AnnData((np.arange(160, dtype=np.float32) % 5 + 1).reshape(40, 4), obs, var)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of names that are there twice
            spoil(screen)
            screen.write_h5ad("screen.h5ad")

    return write


def rename(table: pd.DataFrame, row: int, name: str) -> None:
    """Another name for a row of `obs` or `var`."""
    names = table.index.tolist()
    names[row] = name
    table.index = pd.Index(names, dtype=object)


def take_log(screen: ad.AnnData) -> None:
    screen.X = np.log1p(1e4 * screen.X / screen.X.sum(1, keepdims=True))


class Program:
    """Unpickled by Python it would run."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("the file was run",)


def cifar_with_a_program() -> None:
    Path("cifar").mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"):
        Path("cifar", name).write_bytes(pickle.dumps({"label_names": ["airplane"], "data": Program()}))


def truncated_archive() -> None:
    cifar()
    with tarfile.open("cifar-10-binary.tar.gz", "w:gz") as archive:
        archive.add("cifar", "cifar-10-batches-bin")
    os.truncate("cifar-10-binary.tar.gz", 200)


def truncated_mnist() -> None:
    Path("mnist").mkdir()
    header = bytes([0, 0, 8, 3, 0, 0, 0, 4, 0, 0, 0, 28, 0, 0, 0, 28])
    Path("mnist/t10k-images-idx3-ubyte").write_bytes(header + bytes(1000))
    Path("mnist/t10k-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 4, 0, 1, 2, 3]))


def one_photo(write: Callable[[Path], object]) -> Callable[[], None]:
    """`photos` with nothing but a spoilt file."""

    def spoil() -> None:
        Path("photos/cats").mkdir(parents=True)
        write(Path("photos/cats/a.png"))

    return spoil


def giant_image(path: Path) -> None:
    """Says that it has 60,000 x 60,000 pixels."""

    def chunk(content: bytes) -> bytes:
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    header = chunk(b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT" + zlib.compress(bytes(99))))


@contextmanager
def no_network() -> Iterator[None]:
    with mock.patch("anyjepa.data.images.sets.download.urlopen", side_effect=URLError("Name or service not known")):
        yield


@dataclass(frozen=True)
class Case:
    """A message of the page: what is wrong, the command, and how the test breaks the input."""

    name: str
    command: str
    spoil: Callable[[], object] = lambda: None
    during: Callable[[], AbstractContextManager[None]] = nullcontext
    code: int = 2


CASES = [
    Case("a truncated .dat file", PRETRAIN, truncate),
    Case("a header that names 12 leads, with 8 in the file", PRETRAIN, eight_of_twelve),
    Case("8 leads for a model that needs 12", EMBED, lambda: write_record("b", LEADS[:8])),
    Case("a lead without a valid sample (NaN)", EMBED, lambda: write_record("b", change=invalid)),
    Case("a flat lead in one record", EMBED, lambda: write_record("b", change=flat), code=0),
    Case("a lead flat in every record", PRETRAIN, flat_in_all),
    Case("an impossible sampling rate", PRETRAIN, lambda: write_record("b", fs=5)),
    Case("an empty record", PRETRAIN, empty),
    Case("a text file named as a header", PRETRAIN, prose),
    Case(
        "a FIFO as the signal file of a header",
        PRETRAIN,
        lambda: (Path("records/b.dat").unlink(), os.mkfifo("records/b.dat")),
    ),
    Case("a FIFO, socket or device among the records", PRETRAIN, lambda: os.mkfifo("records/c.hea")),
    Case("a record that is a segment of itself", PRETRAIN, lambda: segments("b", "b")),
    Case("a segment in another folder", PRETRAIN, lambda: segments("b", "../other/b")),
    Case("an .npz file whose fs is a list", "anyjepa embed run ecg.npz -o out.csv", lambda: arrays(fs=[100, 100])),
    Case("an .npz file whose leads are numbers", "anyjepa embed run ecg.npz -o out.csv", lambda: arrays(leads=[1, 2])),
    Case(
        "an .npz file whose unit is a list", "anyjepa embed run ecg.npz -o out.csv", lambda: arrays(unit=["mV", "mV"])
    ),
    Case(
        "a time_s column that holds text",
        "anyjepa embed run ecg.csv -o out.csv",
        lambda: Path("ecg.csv").write_text("time_s,I,unit\nfirst,0.1,mV\n"),
    ),
    Case(
        "control characters in a column name",
        "anyjepa embed run ecg.csv -o out.csv",
        lambda: Path("ecg.csv").write_text("\x1b[2JI,fs,unit\n0.1,100,mV\n"),
    ),
    Case("a text file instead of an ECG", "anyjepa embed run tiny.yaml -o out.csv"),
    Case("a folder without ECGs", "anyjepa data inspect run/model"),
    Case("a DICOM image", "anyjepa embed run scan.dcm -o out.csv", dicom_without_waveform),
    Case("a truncated DICOM file", "anyjepa embed run ecg.dcm -o out.csv", truncated_dicom),
    Case("XML that is not an ECG", "anyjepa embed run ecg.xml -o out.csv", other_xml),
    Case("XML that declares entities", "anyjepa embed run ecg.xml -o out.csv", entities),
    Case("PTB-XL with a column missing from its table", PRETRAIN.replace("records", "ptb-xl"), without_a_column),
    Case(
        "PTB-XL without a record that its table lists",
        PRETRAIN.replace("records", "ptb-xl"),
        lambda: (ptb_xl() / "records500/00000/00002_hr.hea").unlink(),
    ),
    Case(
        "CODE-15 with a file that was not downloaded completely", PRETRAIN.replace("records", "code-15"), truncated_hdf5
    ),
    Case("MIMIC-IV-ECG with a path that leaves its folder", PRETRAIN.replace("records", "mimic"), path_outside),
    Case("a truncated SCP-ECG file", "anyjepa embed run ecg.scp -o out.csv", short_scp),
    Case("MIT-BIH with a record without annotations", PRETRAIN.replace("records", "mitdb"), no_annotations),
    Case("a shard with a flipped bit", STORED, lambda: store(lambda s: flip_a_bit(s / SHARD))),
    Case("a truncated shard", STORED, lambda: store(lambda s: os.truncate(s / SHARD, 9000))),
    Case("an index with a flipped bit", STORED, lambda: store(lambda s: flip_a_bit(s / "index.parquet"))),
    Case("an index that points beyond the end of a shard", STORED, lambda: store(shift_samples)),
    Case("a store without a manifest", STORED, lambda: store(lambda s: (s / "manifest.json").unlink())),
    Case("a store written by a newer version", STORED, lambda: store(newer)),
    Case("a store whose sampling rate differs from the recipe's", STORED, lambda: store(fs=250)),
    Case("a store and files together", f"{STORED} --data records", store),
    Case("a unit given for a store", "anyjepa data inspect store --unit uV", store),
    Case("a mixture of stores that do not exist", "anyjepa pretrain ecg-jepa-xs-all --data records -o new"),
    Case("an output folder that exists", "anyjepa data prepare records -o run"),
    Case("a series with time stamps", SERIES, lambda: series("@timeStamps false", "@timeStamps true")),
    Case("a series whose channels differ in length", SERIES, lambda: series("7,8:up", "7:up")),
    Case("a word among the values", SERIES, lambda: series("3,4", "3,four")),
    Case("a class that the header does not name", SERIES, lambda: series(":down", ":dwon")),
    Case("series with another number of channels than the recipe's", f"{SERIES} --set data.channels=6", series),
    Case("series shorter than a crop", f"{SERIES} --set data.length=20", series),
    Case("a truncated video", VIDEO, lambda: video(lambda content: content[:6500])),
    Case("a text file named as a video", VIDEO, lambda: video(lambda content: b"Dear reader,")),
    Case("videos shorter than a clip", f"{VIDEO} --set data.stride=4", lambda: video(lambda content: content)),
    Case("a folder without read permission", PRETRAIN, during=unreadable),
    Case("a folder that does not exist", "anyjepa pretrain tiny.yaml --data recrods -o new"),
    Case("an empty path", "anyjepa pretrain tiny.yaml --data '' -o new"),
    Case("an unknown recipe", "anyjepa pretrain ecg-jepa-sm"),
    Case("an unknown key", "anyjepa pretrain tiny.yaml --set training.optimizer.lr=0.1"),
    Case("an infinite learning rate", "anyjepa pretrain tiny.yaml --set training.optimiser.lr=.inf"),
    Case("a value in place of a table", "anyjepa pretrain tiny.yaml --set objective.target=shared"),
    Case("an impossible sampling rate in the recipe", f"{PRETRAIN} --set data.fs=1e12"),
    Case("a lead named twice in the recipe", f"{PRETRAIN} --set data.leads=[I,I]"),
    Case("an unknown lead in the recipe", f"{PRETRAIN} --set data.leads=[I,V7]"),
    Case("an unknown lead in a record", EMBED, lambda: write_record("b", (*LEADS[:-1], "V7"))),
    Case("a model without one of its tensors", EMBED, lose_a_tensor),
    Case("a model with an impossible sampling rate", EMBED, impossible_rate),
    Case("a record listed twice", EVALUATE, labels("a,0,p,train", "b,1,q,test", "a,1,p,train")),
    Case("a patient in two parts of the split", EVALUATE, labels("a,0,p,train", "b,1,p,test")),
    Case("labels for other records", EVALUATE, labels("c,0,p,train", "d,1,q,test")),
    Case("labels without patients", EVALUATE.replace(" --group patient", ""), labels("a,0,p,train", "b,1,q,test")),
    Case("a model that has no classifier", "anyjepa predict run records -o out.csv"),
    Case("an unknown protocol", "anyjepa evaluate run --protocol ecg-liner"),
    Case("CIFAR with a truncated batch", "anyjepa data inspect cifar", truncated_cifar),
    Case("CIFAR with a missing batch", "anyjepa data inspect cifar", lambda: cifar(files=5)),
    Case("CIFAR with a pickle that would run a program", "anyjepa data inspect cifar", cifar_with_a_program),
    Case("a truncated archive", "anyjepa data inspect cifar-10-binary.tar.gz", truncated_archive),
    Case("MNIST with a truncated file", "anyjepa data inspect mnist", truncated_mnist),
    Case("a text file named as an image", INSPECT_PHOTOS, one_photo(lambda path: path.write_text("Dear reader"))),
    Case("a giant image", INSPECT_PHOTOS, one_photo(giant_image)),
    Case("a FIFO named as an image", INSPECT_PHOTOS, one_photo(os.mkfifo)),
    Case(
        "cells without a column of conditions",
        CELLS,
        cells(lambda s: s.obs.pop("perturbation")),
    ),
    Case("two columns that could be the condition", CELLS, cells(lambda s: s.obs.insert(0, "gene", s.obs["batch"]))),
    Case("a column that does not exist", f"{CELLS} --set condition=perturb", cells()),
    Case("cells without a control", f"{CELLS} --set condition=batch", cells()),
    Case(
        "a cell without a batch",
        TRAIN_CELLS,
        cells(lambda s: s.obs.__setitem__("batch", s.obs["batch"].where(s.obs_names != "cell7"))),
    ),
    Case("a dose that is not a number", CELLS, cells(lambda s: s.obs.insert(0, "dose", s.obs["batch"]))),
    Case("counts declared as log1p", f"{CELLS} --set values=log1p", cells()),
    Case("log1p declared as counts", f"{CELLS} --set values=counts", cells(take_log)),
    Case("a negative count", CELLS, cells(lambda s: s.X.__setitem__((3, 1), -1))),
    Case("an expression value that is NaN", CELLS, cells(lambda s: s.X.__setitem__((3, 1), np.nan))),
    Case("a gene listed twice", CELLS, cells(lambda s: rename(s.var, 1, "STAT1"))),
    Case("a cell listed twice", CELLS, cells(lambda s: rename(s.obs, 1, "cell0"))),
    Case("a text file named as cells", CELLS, lambda: Path("screen.h5ad").write_text("Dear reader,")),
    Case("a panel with fewer genes than the recipe reads", TRAIN_CELLS, cells()),
    Case(
        "earlier cells as controls, without a time course",
        f"{TRAIN_CELLS} --set data.genes=4 --set objective.encoder.tokens=4 --set data.matching.before=earlier",
        cells(),
    ),
    Case(
        "compounds without a table of features",
        f"{TRAIN_CELLS} --set data.genes=4 --set objective.encoder.tokens=4 --set data.encoding.by=table",
        cells(),
    ),
    Case("a filter that removes every cell", f"{TRAIN_CELLS} --set quality.min_genes=200", cells()),
    Case("a perturbation predicted with an ECG model", "anyjepa perturb --model run --condition A+B -o out.h5ad"),
    Case("the perturbation protocol with an ECG model", "anyjepa evaluate run --protocol perturbation"),
    Case("a download without a network", "anyjepa data download cifar10 -o sets", during=no_network),
    Case("a run folder that is not empty", "anyjepa pretrain tiny.yaml -o run"),
    Case("a full disk while a checkpoint is written", PRETRAIN, during=disk_full_at_step_4),
    Case("a full disk while embeddings are written", "anyjepa embed run records -o out.npz", during=disk_full),
]


@pytest.fixture
def folder(tmp_path: Path, tiny_recipe: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a recipe, a run, two records of 6 s and embeddings made earlier."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_recipe, tmp_path)
    shutil.copytree(tiny_run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    for output in ("out.csv", "out.npz"):
        Path(output).write_text("made earlier")
    Path("records").mkdir()
    for name in "ab":
        write_record(name)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def documented_messages() -> dict[str, tuple[str, str]]:
    """The page's command and message for each thing that is wrong; long lines are wrapped there."""
    messages = {}
    for block in re.findall(r"```\n(.*?)```", DOCUMENT.read_text(), flags=re.S):
        command = ""
        for paragraph in block.replace("\\\n", "").split("\n\n"):
            first, *lines = paragraph.strip().splitlines()
            if first.startswith("$ "):
                command = " ".join(first.removeprefix("$ ").split())
            else:
                messages[first.removeprefix("# ")] = (command, " ".join(" ".join(lines).split()))
    return messages


def with_message(page: str, name: str, message: str) -> str:
    """The page with another message below `# name`."""
    lines = textwrap.wrap(message, 100, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    pattern = rf"^# {re.escape(name)}\n(?:(?!```).+\n)+"
    return re.sub(pattern, lambda _: "\n".join([f"# {name}", *lines, ""]), page, flags=re.M)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_message_of_the_page(case, cli, folder):
    case.spoil()
    before = contents(folder)
    arguments = shlex.split(case.command)[1:]
    with case.during():
        done = cli(*arguments)
    said = [line for line in done.err.splitlines() if not line.startswith("pretraining ")]  # the progress bar
    assert done.code == case.code, done.err
    errors = [line for line in said if not line.startswith("warning: ")]
    assert len(errors) == (case.code != 0), done.err
    if os.environ.get("ANYJEPA_UPDATE_DOCS"):
        DOCUMENT.write_text(with_message(DOCUMENT.read_text(), case.name, said[-1]))
    assert documented_messages()[case.name] == (case.command, said[-1])
    if case.code:  # existing files are as before, and no new one is left outside of a new run
        lost = {name for name, content in before.items() if contents(folder).get(name) != content}
        left = {name for name in contents(folder).keys() - before.keys() if not name.startswith("new/")}
        assert (lost, left, done.out) == (set(), set(), "")
        with case.during(), pytest.raises(InputError):
            cli("--debug", *(argument.replace("new", "new2") for argument in arguments))


def test_the_page_has_no_other_messages():
    assert sorted(documented_messages()) == sorted(case.name for case in CASES)


def test_after_a_full_disk_the_run_goes_on_where_it_was(cli, folder):
    with disk_full_at_step_4():
        assert cli(*shlex.split(PRETRAIN)[1:]).code == 2
    assert [path.name for path in Path("new/checkpoints").iterdir()] == ["step-00000002.ckpt"]
    assert torch.load("new/checkpoints/step-00000002.ckpt", weights_only=True)["global_step"] == 2
    assert not Path("new/model").exists()
    done = cli(*shlex.split(PRETRAIN)[1:], "--resume")
    assert done.code == 0, done.err
    assert Path("new/model/model.safetensors").exists()
