"""ECGs: files of every kind, published data sets, the store."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from reader import Gaps, shown

from anyjepa.errors import InputError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
FEW = ("I", "II", "V1")


def ecg(folder: Path, **options: Any) -> Iterator[Any]:
    """Read, checked, inspected and prepared for training."""
    from anyjepa.data.ecg import inspection
    from anyjepa.data.ecg.config import EcgDataConfig
    from anyjepa.data.ecg.preprocessing import EcgPreprocessing
    from anyjepa.data.ecg.reading import read
    from anyjepa.data.ecg.source import Selection, training_set
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
    dataset = training_set(config, Selection(reading.recordings, {}))
    assert isinstance(dataset.preprocessing, EcgPreprocessing)
    yield dataset.preprocessing.model_dump(mode="json")
    yield [dataset[i] for i in range(len(dataset))]


def arrays(folder: Path) -> Iterator[Any]:
    return ecg(folder, fs=100, leads=FEW, unit="mV")


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
        without_checksums(folder)  # of the whole records


def ecg_signal(fs: float = 100, leads: int = 12) -> np.ndarray:
    """(leads, 2 s) mV."""
    from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate

    (recording,) = simulate(SimulatorConfig(patients=1, fs=fs, duration_s=5))
    return recording.signal[:leads, : int(2 * fs)]


def without_checksums(folder: Path, rng: Random | None = None) -> None:
    """No initial values and checksums in the headers, as far as they are whole: a damaged signal is read."""
    for header in folder.rglob("*.hea"):
        text = header.read_bytes().decode("latin-1")
        text = re.sub(r"(?m)^(\S+ \S+ \S+ \d+ -?\d+) -?\d+ -?\d+ (\d+ )", r"\1 0 0 \2", text)
        header.write_bytes(text.encode("latin-1"))


def write_formats(folder: Path, signal: np.ndarray) -> None:
    """Formats other than 16, and several samples per frame."""
    import wfdb

    folder.mkdir(parents=True)
    for name, fmt, frames in (("b", "212", 1), ("c", "80", 1), ("d", "24", 1), ("e", "32", 1), ("f", "16", 2)):
        rows = [row.astype(np.float64) for row in signal[:3]]
        options: dict[str, Any] = {"p_signal": np.stack(rows, axis=1)}
        if frames > 1:
            options = {"e_p_signal": [np.repeat(row, frames) for row in rows], "samps_per_frame": [frames] * 3}
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
    from test_ecg_scp_xml import scp

    for name, content in (("packed", scp(FEW)), ("plain", scp(FEW, packed=False))):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.scp").write_bytes(content)


def build_xml(folder: Path, data: Path | None) -> None:
    from test_ecg_scp_xml import aecg, muse

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
        columns = {name: [False, True, False] for name in ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF")}
        about = {"exam_id": [11, 12, 13], "age": 46, "is_male": True, "patient_id": 7, "trace_file": "exams_part0.hdf5"}
        pd.DataFrame({**about, **columns}).to_csv(folder / name / "exams.csv", index=False)


def build_ptbxl(folder: Path, data: Path | None) -> None:
    import pandas as pd
    from ptbxl_miniature import write_miniature
    from wfdb_writing import write_record

    from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate

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

    from anyjepa.data.ecg.prepare.writing import prepare_store

    records = folder.parent / "store-records"
    for number in range(3):
        write_record(records / f"r{number}", ecg_signal() * (1 + number), 100, LEADS, ["Age: 54", "Dx: 426783006"])
    folder.mkdir(parents=True, exist_ok=True)
    prepare_store([records], folder / "whole", fs=100)
    prepare_store([records], folder / "lead", fs=100, leads=("I", "V1"), missing_leads="zero")
    shutil.rmtree(records)


def store(folder: Path) -> Iterator[Any]:
    from anyjepa.data.ecg.config import EcgDataConfig
    from anyjepa.data.ecg.source import training_data
    from anyjepa.data.ecg.stores.store import Store

    opened = Store(folder)
    yield Gaps([recording.signal for recording in opened])
    yield [(recording.fs, recording.age, dict(recording.likelihoods)) for recording in opened]
    config = EcgDataConfig(fs=100, duration_s=0.5, leads=opened.leads, part="all", missing_leads="zero")
    dataset = training_data(config, [folder])
    yield dataset.preprocessing.model_dump(mode="json")
    yield [dataset[i] for i in range(len(dataset))]
    yield dataset.crops([0, len(dataset) - 1], [np.random.default_rng(0), np.random.default_rng(1)])


def resign_store(folder: Path, rng: Random) -> None:
    """The manifest's checksums and sizes, as they are now."""
    from anyjepa.data.ecg.stores.store import checksum

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
