"""Readers of users: files of every modality, found by their ending, through the command line and from a package."""

from __future__ import annotations

import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run_cli

import anyjepa
from anyjepa import InputError, Reader, Recording, Series, parts
from anyjepa.data import readers
from anyjepa.data.ecg.reading import read as read_ecgs
from anyjepa.data.images.reading import read_images
from anyjepa.data.modalities import MODALITIES
from anyjepa.data.series.reading import read as read_series
from anyjepa.data.video.files import Decoding
from anyjepa.data.video.reading import read_files

PAGE = (Path(__file__).parents[2] / "docs/own-parts.md").read_text()
(XYZ,) = re.findall(r"`my_reader.py`:\n\n```python\n(.*?)```", PAGE, flags=re.S)
RNG = np.random.default_rng(0)
LEADS = ("I", "II", "V1")
MINE = f"{__name__}."


class Raw(Reader):
    """An image of bytes, 4 pixels wide."""

    modality = "images"
    endings = (".raw", ".raw.gz")

    def read(self, path: Path) -> np.ndarray:
        return np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 4)


class Frames(Reader):
    modality = "video"
    endings = (".frames",)

    def read(self, path: Path) -> np.ndarray:
        return np.frombuffer(path.read_bytes(), np.uint8).reshape(-1, 4, 4)


class Dat(Reader):
    modality = "series"
    endings = (".dat", ".csv")  # the package reads .csv, too

    def read(self, path: Path) -> Any:
        values = np.loadtxt(path, ndmin=2)
        return [Series("named", values), values] if path.suffix == ".csv" else values


OWN = {MINE + part.__name__: part for part in (Raw, Frames, Dat)}
for name in OWN:  # other tests read .csv files of series, too
    parts._OWN.pop(name)


@pytest.fixture(autouse=True)
def only_mine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The readers of this file, and no others, are imported."""
    monkeypatch.setattr(parts, "_OWN", {**OWN})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reader of the page as `my_reader.py`, and 24 files that it reads."""
    (tmp_path / "my_reader.py").write_text(XYZ)
    for number in range(24):
        path = tmp_path / f"ecgs/{'ab'[number % 2]}/{number}.xyz"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = RNG.normal(0, 300, (600, 3)) * (1 + number % 2)
        path.write_text("100 I II V1\n" + "\n".join(" ".join(f"{value:.0f}" for value in line) for line in lines))
    rows = [f"{'ab'[number % 2]}/{number},{'ab'[number % 2]},{number // 4}" for number in range(24)]
    (tmp_path / "labels.csv").write_text("\n".join(["id,class,patient", *rows]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(parts, "_FILES", {})
    monkeypatch.delitem(sys.modules, "my_reader", raising=False)
    return tmp_path


RECIPE = """
name: xyz
description: ECGs of three leads
data: {fs: 100, duration_s: 4, leads: [I, II, V1]}
objective:
  encoder: {patch: [20], dim: 8, depth: 1, heads: 2}
  predictor: {dim: 8, depth: 1, heads: 2}
  masks: {min_span: 2}
training: {steps: 2, batch_size: 4, workers: 0, precision: "32", optimiser: {warmup: 1}}
"""


def test_a_file_of_the_user_goes_from_inspection_to_embeddings(folder: Path) -> None:
    (folder / "xyz.yaml").write_text(RECIPE)
    without = run_cli("data", "inspect", "ecgs")
    assert without.code == 2
    assert "has no ECG; files ending in .hea" in without.err
    evaluation = ["--labels", "labels.csv", "--target", "class", "--group", "patient", "--protocol", "knn"]
    for words in (
        ["data", "inspect", "ecgs"],
        ["pretrain", "xyz.yaml", "--data", "ecgs", "--output", "run"],
        ["evaluate", "run", "--data", "ecgs", *evaluation, "--set", "evaluation.bootstrap=0"],
        ["report", "run"],
        ["embed", "run", "ecgs/a/0.xyz", "-o", "one.npz"],
    ):
        done = run_cli(*words, "--import", "my_reader")
        assert done.code == 0, done.err
    with np.load("one.npz") as one:
        assert one["id"].tolist() == ["0"]
        record = read_ecgs(folder / "ecgs/a/0.xyz").recordings[0]
        vectors = anyjepa.embed("run", record.signal[None], fs=100, leads=LEADS)
        np.testing.assert_allclose(one["embedding"], vectors, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_other_processes_prepare_a_store(folder: Path) -> None:
    words = ["data", "prepare", "ecgs", "-o", "store", "--fs", "100", "--leads", "I,II,V1", "--workers", "2"]
    done = run_cli(*words, "--import", "my_reader")
    assert done.code == 0, done.err
    assert "store: 24 records" in done.out


def test_an_id_is_the_path_in_the_folder_unless_the_reader_gives_one(folder: Path) -> None:
    parts.import_parts("my_reader")
    recordings = read_ecgs(folder / "ecgs").recordings
    assert [r.id for r in recordings] == sorted(f"{'ab'[n % 2]}/{n}" for n in range(24))
    assert {(r.source, r.leads, r.fs) for r in recordings} == {("ecgs", LEADS, 100.0)}
    assert recordings[0].file == str(folder / "ecgs/a/0.xyz")


def test_a_folder_is_recognised_with_one_look_at_the_installed_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not with one per file: a look takes milliseconds, and a data set has thousands of files."""
    looks = []
    monkeypatch.setattr(readers, "entry_points", lambda **_: looks.append(1) or ())
    for n in range(20):
        (tmp_path / f"{n}.hea").touch()
    for modality in MODALITIES.values():
        if modality.inspection:
            before = len(looks)
            modality.inspection.recognise(tmp_path)
            assert len(looks) - before <= 1, modality.kind


def test_images_video_and_series(tmp_path: Path) -> None:
    for name in ("one/a.raw", "two/b.RAW", "one/c.raw.gz"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "images" / name).write_bytes(bytes(range(12)))
    images = read_images(tmp_path / "images")
    assert images.ids == ("one/a.raw", "one/c.raw.gz", "two/b.RAW")
    np.testing.assert_array_equal(images.images[0][..., 0], np.arange(12).reshape(3, 4))
    assert read_images(tmp_path / "images/one/a.raw").ids == ("a.raw",)
    (tmp_path / "a.frames").write_bytes(bytes(range(48)))
    video = read_files(tmp_path / "a.frames", "raise", Decoding("grey", 4, "lazily"))
    np.testing.assert_array_equal(video.videos.read(0, np.array([1]))[0, ..., 0], np.arange(16, 32).reshape(4, 4))
    (tmp_path / "a.dat").write_text("1 2 3\n4 5 6")
    for name, kind in (("images", "images"), ("a.frames", "video"), ("a.dat", "series")):
        recognising = [m.kind for m in MODALITIES.values() if m.inspection and m.inspection.recognise(tmp_path / name)]
        assert recognising == [kind]
    (tmp_path / "b.csv").write_text("1 2 3\n4 5 6")
    series, _ = read_series([tmp_path / "a.dat", tmp_path / "b.csv"])
    assert [one.id for one in series] == ["a", "named", "b/1"]
    assert all(one.values.tolist() == [[1, 2, 3], [4, 5, 6]] for one in series)


def test_a_folder_with_the_ending_of_a_reader_is_not_a_file_of_series(tmp_path: Path) -> None:
    recognise = MODALITIES["series"].inspection.recognise
    for name in ("a.dat", "b.ts"):
        (tmp_path / name).mkdir()
    assert not recognise(tmp_path)
    (tmp_path / "b.ts" / "c.DAT").touch()
    assert recognise(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"12345", "Raw: test_readers.py line [0-9]+: cannot reshape array of size 5"),
        (b"", "Raw: an image has shape"),
    ],
)
def test_what_a_reader_cannot_read_is_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(content)
    with pytest.raises(InputError, match=f"^{tmp_path}/a.raw: {MINE}{message}") as error:
        read_images(tmp_path / "a.raw").images[0]
    assert "\n" not in str(error.value)
    assert len(read_images(tmp_path / "a.raw").ids) == 1  # only what is used is read


def test_an_ecg_reader_returns_recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = type("Odd", (Reader,), {"modality": "ecg", "endings": (".odd",), "__module__": __name__})
    made.read = lambda self, path: RETURNED[path.stem]
    made.__abstractmethods__ = frozenset()
    for name in RETURNED:
        (tmp_path / f"{name}.odd").touch()
    assert [r.id for r in read_ecgs(tmp_path / "two.odd", warn=False).recordings] == ["x", "y"]
    for name in ("array", "none"):
        with pytest.raises(InputError, match=f"{name}.odd: .*Odd: it must return a Recording or a list of them"):
            read_ecgs(tmp_path / f"{name}.odd")


FLAT = np.ones((3, 100))
RETURNED: dict[str, Any] = {
    "two": [Recording("x", FLAT, 100, LEADS), Recording("y", FLAT, 100, LEADS)],
    "array": FLAT,
    "none": [],
}


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"endings": (".a",)}, "class Bad: set modality = 'ecg' .* and endings"),
        ({"modality": "ecg"}, "class Bad: set modality"),
        ({"modality": "ecg", "endings": ".a"}, "class Bad: set modality"),
        ({"modality": "ecg", "endings": ("a",)}, "class Bad: ending 'a' must begin with a dot, in lower case"),
        ({"modality": "ecg", "endings": (".A",)}, "class Bad: ending '.A' must begin with a dot, in lower case"),
    ],
)
def test_a_reader_says_what_it_reads(attributes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        type("Bad", (Reader,), {"__module__": __name__, **attributes})


def test_an_installed_package_offers_a_reader(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is imported by the first file with its ending, and never for an ending that the package reads."""
    offers = [EntryPoint("xyz", "my_reader:Xyz", ""), EntryPoint("csv", "nowhere:Csv", "")]
    monkeypatch.setattr(readers, "entry_points", lambda group: offers if group == "anyjepa.readers.ecg" else [])
    monkeypatch.syspath_prepend(folder)
    (folder / "table.csv").write_text("I,II,V1\n" + "1,2,3\n" * 300)
    assert len(read_ecgs(folder / "table.csv", fs=100, unit="mV", warn=False).recordings) == 1
    assert "my_reader" not in sys.modules
    assert len(read_ecgs(folder / "ecgs").recordings) == 24
    assert "my_reader" in sys.modules
