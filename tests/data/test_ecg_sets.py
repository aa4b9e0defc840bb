"""MIMIC-IV-ECG, CODE-15, the Challenges, PTB and St. Petersburg in their layouts, written by wfdb, h5py and pandas."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from wfdb_writing import write_record

from anyjepa.data.ecg.leads import FRANK, LEADS
from anyjepa.data.ecg.preprocessing import align
from anyjepa.data.ecg.reading import find, iterate, read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.catalogue import CATALOGUE
from anyjepa.data.ecg.tasks import task_table, tasks_of
from anyjepa.errors import InputError

TWELVE = np.random.default_rng(0).normal(0, 0.3, (12, 1000)).cumsum(1).round(3) % 2 - 1  # mV


def only(folder: Path, **options: object) -> Recording:
    (recording,) = read(folder, warn=False, **options).recordings
    return recording


# MIMIC-IV-ECG


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    leads = CATALOGUE["mimic-iv-ecg"].leads
    rows = [(10000032, 40689238), (10000032, 44458630), (10000117, 45090959)]
    paths = [f"files/p{str(patient)[:4]}/p{patient}/s{study}/{study}" for patient, study in rows]
    for path in paths:
        signal = TWELVE[[LEADS.index(lead) for lead in leads]]
        write_record(tmp_path / path, signal, 500, leads, [f"<subject_id>: {path[13:21]}"], gain=200)
    index = pd.DataFrame(rows, columns=["subject_id", "study_id"])
    index.assign(file_name=index.study_id, ecg_time="2180-07-23 08:44:00", path=paths).to_csv(
        tmp_path / "record_list.csv", index=False
    )
    reports = pd.DataFrame(
        {"study_id": index.study_id[::-1], "report_0": ["Sinus rhythm", "Atrial fibrillation", None]}
    )
    reports.assign(report_1=[None, "Abnormal ECG", None], rr_interval=800).to_csv(
        tmp_path / "machine_measurements.csv", index=False
    )
    return tmp_path


def test_mimic_leads_go_by_name_and_patients_by_the_list(mimic: Path) -> None:
    found = read(mimic, warn=False).recordings
    assert [r.id for r in found] == [f"mimic-iv-ecg/s{study}" for study in (40689238, 44458630, 45090959)]
    assert [r.patient for r in found] == ["10000032", "10000032", "10000117"]
    assert found[0].leads[4:6] == ("aVF", "aVL")
    for recording in found:
        np.testing.assert_allclose(align(recording, 500, LEADS), TWELVE, atol=3e-3)  # 200 units a mV
    assert [r.statements for r in found] == [set(), {"Atrial fibrillation", "Abnormal ECG"}, {"Sinus rhythm"}]


def test_mimic_without_reports_and_with_a_missing_record(mimic: Path) -> None:
    (mimic / "machine_measurements.csv").unlink()
    (mimic / "files/p1000/p10000032/s44458630/44458630.hea").unlink()
    with pytest.raises(
        InputError, match=r"44458630.hea: is listed in record_list.csv \(study_id 44458630\), but there"
    ):
        read(mimic)
    found = read(mimic, on_error="skip", warn=False)
    assert (len(found.recordings), len(found.skipped)) == (2, 1)
    assert not any(r.statements for r in found.recordings)


def test_a_list_without_its_columns(mimic: Path) -> None:
    pd.DataFrame({"study_id": [1], "path": ["x"]}).to_csv(mimic / "record_list.csv", index=False)
    with pytest.raises(InputError, match=r"record_list.csv: column 'subject_id' is missing; there are: study_id, path"):
        read(mimic)
    (mimic / "record_list.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"record_list.csv: is empty; the first line must name"):
        read(mimic)


def test_a_list_with_padding_and_missing_patients(mimic: Path) -> None:
    table = pd.read_csv(mimic / "record_list.csv", dtype=str)
    table["study_id"] += " "
    table["subject_id"] = "#N/A"
    table.to_csv(mimic / "record_list.csv", index=False, sep=";", encoding="utf-16")
    found = read(mimic, warn=False).recordings
    assert {recording.patient for recording in found} == {None}
    assert all(recording.id == recording.id.strip() for recording in found)


# CODE-15


def exam(exam_id: int, patient: int, part: str, **true: bool) -> dict[str, object]:
    classes = dict.fromkeys(("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF"), False) | true
    return {"exam_id": exam_id, "age": 46, "is_male": True, "patient_id": patient, "trace_file": part, **classes}


def write_part(path: Path, ids: list[int], traces: list[np.ndarray]) -> None:
    padded = np.zeros((len(ids) + 1, 4096, 12), np.float32)  # the last row is no exam
    for row, trace in zip(padded, traces, strict=False):
        start = (4096 - trace.shape[1]) // 2
        row[start : start + trace.shape[1]] = trace.T
    with h5py.File(path, "w") as file:
        file["exam_id"] = np.array([*ids, 0])
        file["tracings"] = padded


@pytest.fixture
def code15(tmp_path: Path) -> Path:
    write_part(tmp_path / "exams_part0.hdf5", [11, 12], [TWELVE, np.tile(TWELVE, 5)[:, :4096]])
    write_part(tmp_path / "exams_part1.hdf5", [13], [TWELVE])
    rows = [
        exam(11, 7, "exams_part0.hdf5", AF=True, RBBB=True),
        exam(12, 7, "exams_part0.hdf5"),
        exam(13, 8, "exams_part1.hdf5", ST=True),
        exam(14, 8, "exams_part17.hdf5"),  # a part that was not downloaded
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "exams.csv", index=False)
    return tmp_path


def test_code15_traces_lose_their_padding(code15: Path) -> None:
    found = read(code15, warn=False).recordings
    assert [r.id for r in found] == ["code-15/11", "code-15/12", "code-15/13"]
    assert [r.signal.shape for r in found] == [(12, 1000), (12, 4096), (12, 1000)]
    assert {(r.fs, r.leads, r.source, r.age, r.sex) for r in found} == {(400, LEADS, "code-15", 46, "M")}
    np.testing.assert_allclose(found[0].signal, TWELVE, rtol=1e-6)
    assert [r.patient for r in found] == ["7", "7", "8"]
    table = task_table(found, "abnormalities")
    assert len(table) == 3
    assert table.counts() == {"1dAVb": 0, "RBBB": 1, "LBBB": 0, "SB": 0, "ST": 1, "AF": 1}
    assert tasks_of(found) == ("abnormalities",)
    in_uv = read(code15, unit="uV", warn=False).recordings[0]
    np.testing.assert_allclose(in_uv.signal, TWELVE * 1e-3, rtol=1e-5)


@pytest.mark.parametrize("words", [("True", "False"), ("TRUE", "FALSE"), ("true", "false"), ("1", "0"), ("1.0", "0.0")])
def test_code15_truth_in_every_spelling(code15: Path, words: tuple[str, str]) -> None:
    table = (code15 / "exams.csv").read_text().replace("True", words[0]).replace("False", words[1])
    (code15 / "exams.csv").write_text(table.replace("\n", ",\n").replace(",\n", "\n", 1))  # rows end in a comma
    found = read(code15, warn=False).recordings
    assert [r.statements for r in found] == [{"AF", "RBBB"}, set(), {"ST"}]
    assert [(r.patient, r.sex) for r in found] == [("7", "M"), ("7", "M"), ("8", "M")]


def cell(folder: Path, column: str, value: str) -> None:
    table = pd.read_csv(folder / "exams.csv", dtype=str)
    table.loc[1, column] = value
    table.to_csv(folder / "exams.csv", index=False)


def more_cells(folder: Path) -> None:
    (folder / "exams.csv").write_text((folder / "exams.csv").read_text().replace("\n", ",9\n").replace(",9", "", 1))


def two_columns(folder: Path) -> None:
    (folder / "exams.csv").write_text((folder / "exams.csv").read_text().replace("\n", ",AF\n", 1))


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def other(folder: Path, name: str, value: object) -> None:
    with h5py.File(folder / "exams_part0.hdf5", "a") as file:
        del file[name]
        file[name] = value


def external(folder: Path) -> None:
    with h5py.File(folder / "exams_part0.hdf5", "a") as file:
        del file["tracings"]
        file.create_dataset("tracings", (3, 4096, 12), "f4", external=[(folder / "raw", 0, h5py.h5f.UNLIMITED)])


def drop_tracings(folder: Path) -> None:
    with h5py.File(folder / "exams_part0.hdf5", "a") as file:
        del file["tracings"]


def truncate(folder: Path) -> None:
    path = folder / "exams_part0.hdf5"
    path.write_bytes(path.read_bytes()[:5000])


def no_list(folder: Path, column: str) -> None:
    table = pd.read_csv(folder / "exams.csv").drop(columns=column)
    table.to_csv(folder / "exams.csv", index=False)


def rename_exam(folder: Path) -> None:
    table = pd.read_csv(folder / "exams.csv").replace({"exam_id": {12: 99}})
    table.to_csv(folder / "exams.csv", index=False)


def eight_leads(folder: Path) -> None:
    drop_tracings(folder)
    with h5py.File(folder / "exams_part0.hdf5", "a") as file:
        file["tracings"] = np.ones((3, 4096, 8))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (drop_tracings, r"exams_part0.hdf5: has no 'tracings'; it has: exam_id"),
        (lambda folder: fifo(folder / "exams_part0.hdf5"), "exams_part0.hdf5: is a FIFO; only regular files are read"),
        (lambda folder: fifo(folder / "exams.csv"), "exams.csv: is a FIFO; only regular files are read"),
        (lambda folder: other(folder, "exam_id", [[1], [2], [0]]), r"'exam_id' has shape \(3, 1\)"),
        (lambda folder: other(folder, "exam_id", [11, np.nan, 0]), "row 2: exam_id nan is not a whole number"),
        (lambda folder: other(folder, "exam_id", [11, 12.5, 0]), "row 2: exam_id 12.5 is not a whole number"),
        (lambda folder: other(folder, "exam_id", ["a", "b", "c"]), "'exam_id' is not an array of numbers"),
        (lambda folder: other(folder, "tracings", h5py.Empty("f4")), "'tracings' is not an array of numbers"),
        (
            lambda folder: other(folder, "tracings", np.ones((3, 9, 12), complex)),
            "'tracings' is not an array of numbers",
        ),
        (lambda folder: other(folder, "tracings", h5py.ExternalLink("x", "y")), "exams_part0.hdf5: "),
        (lambda folder: other(folder, "tracings", h5py.SoftLink("/exam_id")), "'tracings' is a link"),
        (external, "'tracings' stores its values in other files"),
        (truncate, r"exams_part0.hdf5: cannot be read as HDF5 \(it is truncated\)"),
        (eight_leads, r"exams_part0.hdf5: 'tracings' have shape \(3, 4096, 8\); 3 exams need \(3, samples, 12\)"),
        (lambda folder: no_list(folder, "patient_id"), "exams.csv: column 'patient_id' is missing; there are: exam_id"),
        (lambda folder: cell(folder, "AF", "yes"), "row 2: column 'AF' is 'yes'; it must be True or False"),
        (lambda folder: cell(folder, "AF", ""), "row 2: column 'AF' is ''; it must be True or False"),
        (
            lambda folder: cell(folder, "is_male", "2"),
            "row 2: column 'is_male' is '2'; it must be True, False or empty",
        ),
        (lambda folder: cell(folder, "age", "old"), "row 2: column 'age' is 'old'; it must be a number of years"),
        (more_cells, "exams.csv: row 1 has 12 cells, but the header has 11"),
        (two_columns, "exams.csv: column 'AF' occurs twice"),
        (lambda folder: no_list(folder, "AF"), "exams.csv: column 'AF' is missing"),
        (rename_exam, r"exams_part0.hdf5: exam 12: is not listed in exams.csv"),
    ],
)
def test_broken_code15(code15: Path, spoil: Callable[[Path], None], message: str) -> None:
    spoil(code15)
    with pytest.raises(InputError, match=message) as caught:
        read(code15)
    assert "\n" not in str(caught.value)


def test_code15_exams_on_one_side_only_can_be_skipped(code15: Path) -> None:
    rename_exam(code15)
    found = read(code15, on_error="skip", warn=False)
    assert len(found.recordings) == 2
    reasons = "".join(found.skipped.values())
    assert "exam 12: is not listed in exams.csv" in reasons
    assert "exam 99: is listed in exams.csv, but not in this file" in reasons


def test_an_empty_trace(code15: Path) -> None:
    write_part(code15 / "exams_part1.hdf5", [13], [np.zeros((12, 10))])
    with pytest.raises(InputError, match="exam 13: the trace is empty"):
        read(code15)


@pytest.mark.realdata
def test_real_code15_exams(test_data: Path, tmp_path: Path) -> None:
    from scipy.io import loadmat

    facts = pd.read_csv(test_data / "code15" / "meta.csv")
    traces = [loadmat(test_data / "code15" / "org" / name)["feats"] for name in facts.save_file]
    facts["trace_file"] = "exams_part3.hdf5"
    facts.to_csv(tmp_path / "exams.csv", index=False)
    write_part(tmp_path / "exams_part3.hdf5", facts.exam_id.tolist(), traces)
    found = read(tmp_path, warn=False).recordings
    assert sorted(r.signal.shape[1] for r in found) == [2934] * 6 + [4096] * 4
    for recording, trace, row in zip(found, traces, facts.itertuples(), strict=True):
        np.testing.assert_array_equal(recording.signal, trace)
        assert (recording.patient, recording.sex) == (str(row.patient_id), "M" if row.is_male else "F")
    table = task_table(found, "abnormalities")
    np.testing.assert_array_equal(table.values, facts[list(table.classes)].to_numpy())
    filtered = np.stack([align(r, 500, LEADS, highpass_hz=0.5).std(axis=1) for r in found]).mean(0)
    assert 0.3 < (filtered / CATALOGUE["code-15"].std).mean() < 3  # the published deviations are of such signals: mV


# PhysioNet Challenges


@pytest.mark.parametrize(
    ("name", "source", "patient", "id"),
    [
        ("A0001", "cpsc", None, "A0001"),
        ("Q3581", "cpsc-extra", None, "Q3581"),
        ("E00001", "georgia", None, "E00001"),
        ("JS10646", "chapman-shaoxing", "JS10646", "JS10646"),
        ("JS10647", "ningbo", "JS10647", "JS10647"),
        ("S0001", "ptb", None, "S0001"),
        ("I0001", "st-petersburg", None, "I0001"),
        ("HR01234", "ptb-xl", None, "ptb-xl/01000/01234"),
        ("X0001", "records", None, "X0001"),
    ],
)
def test_a_challenge_record_knows_its_origin(
    tmp_path: Path, name: str, source: str, patient: str | None, id: str
) -> None:
    write_record(tmp_path / "records" / name, TWELVE, 500, LEADS, ["Age: 300", "Sex: Female", "Dx: 426783006,59118001"])
    recording = only(tmp_path / "records")
    assert (recording.source, recording.patient, recording.id) == (source, patient, id)
    assert (recording.age, recording.sex, recording.statements) == (None, "F", {"426783006", "59118001"})


@pytest.mark.parametrize(("fs", "seconds"), [(257, 1800), (1000, 38), (500, 9)])
def test_challenge_lengths_and_rates(tmp_path: Path, fs: int, seconds: int) -> None:
    """From 9 s to half an hour, 257 to 1000 Hz, with the date that the wfdb package refuses."""
    samples = np.zeros((fs * seconds, 2), "<i2")
    samples[:, 1] = 500
    (tmp_path / "I0001.mat").write_bytes(struct.pack("<5i", 30, 2, len(samples), 0, 4) + b"val\0" + samples.tobytes())
    lines = [f"I0001 2 {fs} {len(samples)} 12-May-2020 12:33:59"]
    lines += [f"I0001.mat 16+24 1000/mV 16 0 0 0 0 {lead}" for lead in ("II", "V1")]
    (tmp_path / "I0001.hea").write_text("\n".join([*lines, "#Age: NaN", "#Sex: Male", "#Dx: 164889003"]))
    recording = only(tmp_path)
    assert (recording.fs, recording.duration_s, recording.age) == (fs, seconds, None)
    assert recording.signal[1, -1] == pytest.approx(0.5)


def test_scored_classes_join_what_counts_as_one(tmp_path: Path) -> None:
    for name, codes in (("A0001", "59118001"), ("A0002", "713427006,17338001"), ("A0003", "1234")):
        write_record(tmp_path / name, TWELVE, 500, LEADS, [f"Dx: {codes}"])
    table = task_table(read(tmp_path, warn=False).recordings, "challenge")
    assert (len(table), len(table.classes)) == (3, 26)
    counts = {name: count for name, count in table.counts().items() if count}
    assert counts == {"right bundle branch block": 2, "premature ventricular contractions": 1}


@pytest.mark.realdata
def test_real_challenge_records(test_data: Path) -> None:
    found = read([test_data / "chapman", test_data / "cpsc2018"], warn=False).recordings
    assert {r.source for r in found} == {"chapman-shaoxing", "ningbo", "cpsc"}
    assert {r.leads for r in found} == {LEADS}
    assert {r.fs for r in found} == {CATALOGUE[source].fs for source in ("ningbo", "cpsc")}
    counts = task_table(found, "challenge").counts()
    assert (counts["sinus bradycardia"], counts["atrial fibrillation"]) == (25, 9)


# PTB


def write_ptb(folder: Path) -> None:
    frank = np.random.default_rng(1).normal(0, 0.3, (3, 1000)).round(3)
    comments = ["age: 81", "sex: female", "ECG date: 01/10/1990", "Diagnose:"]
    comments += ["Reason for admission: Myocardial infarction", "Additional diagnoses: n/a", "Smoker: no"]
    write_record(
        folder / "patient001" / "s0010_re", np.r_[TWELVE, frank], 1000, [s.lower() for s in (*LEADS, *FRANK)], comments
    )
    header = folder / "patient001" / "s0010_re.hea"
    lines = header.read_text().splitlines()  # the release has Frank's leads in a file of their own
    lines[13:16] = [line.replace("s0010_re.dat", "s0010_re.xyz") for line in lines[13:16]]
    header.write_text("\n".join(lines) + "\n")
    samples = np.fromfile(header.with_suffix(".dat"), "<i2").reshape(-1, 15)
    header.with_suffix(".dat").write_bytes(samples[:, :12].tobytes())
    header.with_suffix(".xyz").write_bytes(samples[:, 12:].tobytes())


def test_ptb_has_fifteen_leads_and_a_folder_a_patient(tmp_path: Path) -> None:
    write_ptb(tmp_path)
    recording = only(tmp_path)
    assert (recording.id, recording.source, recording.fs) == ("ptb/patient001/s0010_re", "ptb", 1000)
    assert (recording.patient, recording.age, recording.sex) == ("patient001", 81, "F")
    assert recording.leads == (*LEADS, *FRANK)
    assert recording.statements == {"Reason for admission: Myocardial infarction"}
    np.testing.assert_allclose(recording.signal[:12], TWELVE, atol=6e-4)
    (tmp_path / "patient001/s0010_re.xyz").unlink()
    with pytest.raises(InputError, match=r"s0010_re.*\.xyz"):
        read(tmp_path)


# St. Petersburg


def test_st_petersburg_patients_come_from_the_header(tmp_path: Path) -> None:
    leads = [lead.upper() for lead in LEADS]
    person = "<age>: 65 <sex>: F <diagnoses> Coronary artery disease, arterial hypertension"
    write_record(tmp_path / "I01", TWELVE, 257, leads, [person, "patient 1", "PVCs, noise"], gain=306)
    write_record(tmp_path / "I02", TWELVE, 257, leads, ["<age>: 51 <sex>: F ", "patient 1", "bigeminy, "])
    first, second = read(tmp_path, warn=False).recordings
    assert (first.id, first.source, first.fs, first.leads) == ("st-petersburg/I01", "st-petersburg", 257, LEADS)
    assert (first.age, first.sex, first.patient) == (65, "F", "1")
    assert first.statements == {"Coronary artery disease", "arterial hypertension", "PVCs", "noise"}
    assert (second.age, second.statements, second.group) == (51, {"bigeminy"}, first.group)
    header = tmp_path / "I01.hea"
    header.write_text(header.read_text().replace("# patient 1", "# subject 1"))
    with pytest.raises(InputError, match=r"I01.hea: no comment line 'patient NUMBER' says whose record it is"):
        read(tmp_path)


def test_a_record_named_like_st_petersburgs_at_another_rate_is_not_theirs(tmp_path: Path) -> None:
    write_record(tmp_path / "set" / "I01", TWELVE, 500, LEADS)
    assert only(tmp_path).source == tmp_path.name


# All


def test_several_data_sets_in_one_folder_are_each_read_by_their_layout(tmp_path: Path) -> None:
    write_ptb(tmp_path / "b")
    write_record(tmp_path / "a" / "E00001", TWELVE, 500, LEADS, ["Dx: 426783006"])
    write_record(tmp_path / "c" / "I01", TWELVE, 257, LEADS, ["patient 3"])
    (tmp_path / "notes.csv").write_text("not a recording\n")
    assert [r.source for r in iterate(tmp_path)] == ["ptb", "st-petersburg", "georgia"]
    assert len(list(find(tmp_path))) == 3


def test_entries_can_be_sent_to_another_process(mimic: Path, tmp_path: Path) -> None:
    import pickle

    write_record(tmp_path / "more" / "1", TWELVE, 500, LEADS)
    entries = pickle.loads(pickle.dumps(list(find(tmp_path))))
    assert [r.id for entry in entries for r in entry.read()] == [r.id for r in iterate(tmp_path)]


def test_the_catalogue_is_the_published_table() -> None:
    assert len(CATALOGUE) == 10
    assert sum(data_set.records for data_set in CATALOGUE.values()) == 1_011_849
    assert sum(data_set.seconds for data_set in CATALOGUE.values()) == 10_394_994
    assert {name for name, data_set in CATALOGUE.items() if data_set.highpass_hz} == {"code-15", "st-petersburg"}
    for data_set in CATALOGUE.values():
        assert sorted(data_set.leads) == sorted(LEADS)
        assert all(len(values) == 12 for values in (data_set.mean, data_set.std, *(data_set.raw or ())))
    mimic = CATALOGUE["mimic-iv-ecg"]
    assert mimic.constants(("aVL", "aVF")) == ((0.014, 0.004), (0.141, 0.143))
