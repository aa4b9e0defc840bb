"""Embedding and predicting large collections: processes that read, how often files are opened, and Arrow output."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from faults import Faults, in_a_child, killed
from PIL import Image
from video_writing import write

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.images import image_files
from anyjepa.data.samples import SelectedSamples
from anyjepa.data.workers import reading_ahead
from anyjepa.errors import InputError
from anyjepa.evaluation.features import window_features
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.vit import ViTConfig
from anyjepa.runs.applying import ApplyOptions
from anyjepa.runs.table_writing import STDOUT, check_outputs

KILLED = """
import os
from anyjepa.data.readers import Reader

class Killed(Reader):
    modality = "images"
    endings = (".killed",)

    def read(self, path):
        os.kill(os.getpid(), 9)
"""


@pytest.fixture(scope="module")
def images_run(tmp_path_factory) -> Path:
    edits = ["training.steps=2", "data.simulator.train=64", "data.simulator.test=8", "objective.encoder.depth=1"]
    return anyjepa.pretrain("ijepa-demo", output=tmp_path_factory.mktemp("images") / "run", edits=edits).folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """1,030 files of two classes, more than a part has."""
    folder, rng = tmp_path_factory.mktemp("photos") / "photos", np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
    for place, pixels in enumerate(rng.integers(0, 256, (1030, 12, 9, 3), np.uint8)):
        Image.fromarray(pixels).save(folder / ("cat", "dog")[place % 2] / f"{place}.{('png', 'jpg')[place % 3 == 0]}")
    return folder


@pytest.fixture(scope="module")
def ecg_files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ecgs")
    for place, record in enumerate(simulate(SimulatorConfig(patients=10, fs=100, duration_s=6))):
        np.savez(
            folder / f"{place}.npz", signals=record.signal[None], fs=100.0, leads=LEADS, unit="mV", ids=[f"r{place}"]
        )
    return folder


def test_records_that_are_read_in_advance_keep_their_sources(images_run, photos):
    model = anyjepa.load(images_run)
    with ApplyOptions().reading(model, [photos / "cat"]) as dataset, reading_ahead(dataset, 1) as samples:
        assert samples is not dataset
        assert SelectedSamples(samples, [3]).source == dataset.source[3:4] != ("",)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["images", "ecgs"])
def test_processes_that_read_change_no_byte(cli, images_run, photos, tiny_run, ecg_files, tmp_path, kind):
    model, data = {"images": (images_run, photos), "ecgs": (tiny_run, ecg_files)}[kind]
    for workers in (0, 2):
        done = cli("embed", model, data, "-o", tmp_path / f"{workers}.parquet", "--workers", workers)
        assert done.code == 0, done.err
    assert (tmp_path / "2.parquet").read_bytes() == (tmp_path / "0.parquet").read_bytes()


@pytest.mark.long
@pytest.mark.parametrize("ending", ["zip", "tar", "gztar"])
def test_an_archive_gives_the_bytes_of_its_folder(cli, images_run, photos, tmp_path, ending):
    archive = shutil.make_archive(str(tmp_path / "photos"), ending, photos)
    for data, name, workers in ((photos, "folder", 0), (archive, "archive", 1)):
        done = cli("embed", images_run, data, "-o", tmp_path / f"{name}.csv", "--workers", workers)
        assert done.code == 0, done.err
    assert (tmp_path / "archive.csv").read_bytes() == (tmp_path / "folder.csv").read_bytes()


def test_a_killed_command_resumes_an_archive(cli, images_run, photos, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "photos"), "zip", photos)
    command = ["embed", images_run, archive, "-o", tmp_path / "out.parquet"]
    with Faults() as faults:
        assert cli(*command).code == 0
    whole = (tmp_path / "out.parquet").read_bytes()
    (tmp_path / "out.parquet").unlink()
    assert in_a_child(command, Faults(killed, faults.count - 4)) == 9
    assert (tmp_path / ".anyjepa-parts-out.parquet" / "000000000").exists()
    assert cli(*command).code == 0
    assert (tmp_path / "out.parquet").read_bytes() == whole


def test_a_video_in_an_archive_is_embedded(cli, tmp_path):
    edits = ["training.steps=2", "data.moving_digits.clips=60"]
    model = anyjepa.pretrain("vjepa-demo", output=tmp_path / "run", edits=edits).folder
    (tmp_path / "clips").mkdir()
    write(tmp_path / "clips" / "a.mp4")
    archive = shutil.make_archive(str(tmp_path / "clips"), "tar", tmp_path / "clips")
    for data, name in ((tmp_path / "clips", "folder"), (archive, "archive")):
        done = cli("embed", model, data, "-o", tmp_path / f"{name}.csv")
        assert done.code == 0, done.err
    assert (tmp_path / "archive.csv").read_bytes() == (tmp_path / "folder.csv").read_bytes()


def test_each_image_is_opened_twice(cli, images_run, photos, tmp_path):
    opens = Counter[Path]()

    def counted(path: Path):
        opens[path] += 1
        return opened(path)

    opened = image_files.opened
    with mock.patch.object(image_files, "opened", counted):  # for its header, and to decode it
        assert cli("embed", images_run, photos, "-o", tmp_path / "out.parquet").code == 0
    assert len(opens) == 1030
    assert set(opens.values()) == {2}


@pytest.mark.long
def test_an_error_of_a_process_is_the_same_line(cli, images_run, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    Image.fromarray(np.full((200, 200, 3), 9, np.uint8)).save(data / "a.png")
    (data / "b.png").write_bytes((data / "a.png").read_bytes()[:-30])
    lines = [cli("embed", images_run, data, "-o", tmp_path / "out.npz", "--workers", workers).err for workers in (0, 1)]
    assert lines[0] == lines[1]
    assert lines[0].startswith(f"anyjepa: {data / 'b.png'}: cannot be read as PNG")
    assert lines[0].count("\n") == 1


@pytest.mark.long
def test_a_killed_process_is_one_line(cli, images_run, tmp_path):
    (tmp_path / "killed_reader.py").write_text(KILLED)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.killed").touch()
    command = ["embed", images_run, tmp_path / "data", "-o", tmp_path / "out.npz", "--workers", 1]
    done = cli(*command, "--import", tmp_path / "killed_reader.py")
    assert (done.code, done.err) == (
        2, "anyjepa: a process was killed, perhaps out of memory; start again with fewer --workers\n"
    )  # fmt: skip


def test_only_the_records_of_the_windows_are_read():
    class Counted:
        ids, lengths = tuple("abcde"), np.array([40, 80, 40, 60, 40])

        def __init__(self) -> None:
            rng = np.random.default_rng(0)
            self.reads, self.values = 0, [rng.normal(size=(2, n)).astype("f4") for n in self.lengths]

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> np.ndarray:
            self.reads += 1
            return self.values[index]

    encoder = ViTConfig(patch=(5,), dim=8, depth=1, heads=2).build(2, (20,))
    whole = window_features(encoder, Counted(), Windows(length=20))
    assert len(whole[0]) == 3 + 7 + 3 + 5 + 3
    samples = Counted()
    part = window_features(encoder, samples, Windows(length=20), range(9, 14))
    assert samples.reads == 3
    for columns, expected in zip(part, whole, strict=True):
        np.testing.assert_allclose(columns, expected[9:14], atol=1e-6)


@pytest.mark.long
def test_arrow_files_and_streams_have_the_table(cli, images_run, photos, tmp_path):
    for name in ("out.parquet", "out.arrow"):
        assert cli("embed", images_run, photos, "-o", tmp_path / name).code == 0
    expected = pd.read_parquet(tmp_path / "out.parquet")
    with pa.ipc.open_file(tmp_path / "out.arrow") as file:
        assert file.num_record_batches == 2
        pd.testing.assert_frame_equal(file.read_all().to_pandas(), expected)
    command = [sys.executable, "-m", "anyjepa", "embed", images_run, photos, "-o", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stderr is not None
        with pa.ipc.open_stream(other.stdout) as stream:
            pd.testing.assert_frame_equal(stream.read_all().to_pandas(), expected)
        assert other.stderr.read().decode().splitlines()[-1] == "-: 1030 records"
    assert other.returncode == 0


@pytest.mark.long
def test_a_closed_pipe_ends_quietly(images_run, photos):
    command = [sys.executable, "-m", "anyjepa", "embed", images_run, photos, "-o", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stderr is not None
        other.stdout.close()
        assert other.stderr.read() == b""
    assert other.returncode == 1


def test_outputs_that_would_spoil_something_are_refused(cli, images_run, tmp_path, monkeypatch):
    (tmp_path / "in.npz").touch()
    model = images_run / "model"
    refusals = {
        model / "z.parquet": f"{model / 'z.parquet'}: {model} is a model folder, which holds nothing else",
        tmp_path / "in.npz": "is one of the input files",
        tmp_path / "out.txt": "embeddings are written as .parquet, .arrow, .csv, .npz",
    }
    for output, message in refusals.items():
        done = cli("embed", images_run, tmp_path / "in.npz", "-o", output)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert message in done.err
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    with pytest.raises(InputError, match="a terminal cannot show"):
        check_outputs([STDOUT], (".csv",), "embeddings are", [])


def test_predict_has_the_settings_of_embed(cli, tiny_run, ecg_files, tmp_path):
    classifier = tmp_path / "classifier"
    anyjepa.evaluate(tiny_run, bootstrap=0, name="large", save_classifier=classifier)
    tables = {}
    for name, options in {"plain": (), "few": ("--batch", 3), "half": ("--precision", "bf16")}.items():
        done = cli("predict", classifier, ecg_files, "-o", tmp_path / f"{name}.parquet", *options)
        assert done.code == 0, done.err
        tables[name] = pd.read_parquet(tmp_path / f"{name}.parquet").filter(like=".probability").to_numpy()
    np.testing.assert_allclose(tables["few"], tables["plain"], atol=1e-5)
    assert 0 < np.abs(tables["half"] - tables["plain"]).max() < 0.1
    done = cli("predict", classifier, ecg_files, "-o", tmp_path / "out.csv", "--device", "abacus")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "device 'abacus': cannot be used" in done.err


@pytest.mark.long
def test_surprise_resumes_with_the_same_bytes(cli, tmp_path):
    edits = ["training.steps=2", "data.simulator.patients=44", "objective.encoder.depth=1"]
    model = anyjepa.pretrain("ecg-nepa-demo", output=tmp_path / "run", edits=edits).folder
    made = np.concatenate([r.signal for r in simulate(SimulatorConfig(patients=44, fs=100, duration_s=10))], axis=1)
    signals = np.lib.stride_tricks.sliding_window_view(made, 200, axis=1)[:, ::35][:, :1050].swapaxes(0, 1)
    np.savez(tmp_path / "x.npz", signals=signals, fs=100.0, leads=LEADS, unit="mV")
    names = ("s.parquet", "c.parquet", "s.png")
    command = ["predict", model, tmp_path / "x.npz", "--horizon", 2, "-o", tmp_path / names[0]]
    command += ["--continued", tmp_path / names[1], "--draw", tmp_path / names[2], "--precision", "bf16"]
    with Faults() as faults:
        done = cli(*command)
        assert done.code == 0, done.err
    whole = [(tmp_path / name).read_bytes() for name in names[:2]]
    for name in names:
        (tmp_path / name).unlink()
    assert in_a_child(command, Faults(killed, faults.count // 2)) == 9
    assert (tmp_path / ".anyjepa-parts-s.parquet").exists()
    assert cli(*command).code == 0
    assert [(tmp_path / name).read_bytes() for name in names[:2]] == whole
    assert (tmp_path / names[2]).read_bytes()[:4] == b"\x89PNG"
