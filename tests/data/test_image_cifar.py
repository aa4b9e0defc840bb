"""CIFAR's four published forms: what is read, and that nothing in a file is run or half read."""

from __future__ import annotations

import gzip
import io
import pickle
import tarfile
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anyjepa.data.images.reading import read_images
from anyjepa.data.images.sets.cifar import LAYOUTS, recognise
from anyjepa.data.images.sets.cifar_pickle import as_array, unpickled
from anyjepa.data.sources import readable
from anyjepa.errors import DataWarning, InputError
from anyjepa.limits import MEMORY

A_BATCH = 3  # images
pytestmark = pytest.mark.filterwarnings("ignore::anyjepa.errors.DataWarning")  # of few images


def write_cifar(folder: Path, layout, seed: int = 0, protocol: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """A set of 3 images a batch in one of the layouts: its images and the labels of its last task."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    made, classes = [], 10 if layout.name == "cifar10" else 5
    for name in layout.batches:
        pixels = rng.integers(0, 256, (A_BATCH, 3072), dtype=np.uint8)
        labels = rng.integers(0, classes, (A_BATCH, len(layout.tasks)), dtype=np.uint8)
        made.append((pixels, labels))
        if layout.meta:
            lists = {key.encode(): labels[:, k].tolist() for k, (key, _) in enumerate(layout.tasks.values())}
            content = pickle.dumps({b"data": pixels, **lists, b"filenames": [b"x.png"] * A_BATCH}, protocol=protocol)
        else:
            content = np.concatenate([labels, pixels], 1).tobytes()
        (folder / name).write_bytes(content)
    words = [[f"{'ab'[k]}{i}" for i in range(classes)] for k in range(len(layout.tasks))]
    if layout.meta:
        names = {key: row for (_, key), row in zip(layout.tasks.values(), words, strict=True)}
        (folder / layout.meta).write_bytes(pickle.dumps(names, protocol=protocol))
    else:
        for name, row in zip(layout.names, words, strict=True):
            (folder / name).write_text("\n".join(row) + "\n\n")
    images = np.concatenate([pixels for pixels, _ in made]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return images, np.concatenate([labels for _, labels in made])[:, -1]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.folder)
def test_every_layout_in_a_folder_and_in_an_archive(layout, tmp_path):
    images, labels = write_cifar(tmp_path / "set" / layout.folder, layout)
    with tarfile.open(tmp_path / layout.archive, "w:gz") as archive:
        archive.add(tmp_path / "set" / layout.folder, layout.folder)
    for place in (tmp_path / "set", tmp_path / "set" / layout.folder, tmp_path / layout.archive):
        found = read_images(place)
        assert found.name == layout.name
        assert found.ids[0] == "train/00000"
        assert found.ids[-1] == "test/00002"
        assert found.split == ("train",) * (len(images) - A_BATCH) + ("test",) * A_BATCH
        assert np.array_equal(found.images, images)
        assert np.array_equal(found.labels["class"].numbers, labels)
        assert set(found.labels) == set(layout.tasks)


@pytest.mark.parametrize("protocol", range(5))
def test_pickles_of_the_protocols_that_are_used(protocol, tmp_path):
    images, _ = write_cifar(tmp_path / "set", LAYOUTS[0], protocol=protocol)
    assert np.array_equal(read_images(tmp_path / "set").images, images)


def test_a_pickle_as_python_2_wrote_it():
    """Protocol 2 with byte strings, as the published batches."""
    text = b"\x80\x02}q\x00(U\x04dataq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85"
    text += b"U\x01b\x87Rq\x04(K\x01K\x01K\x02\x86cnumpy\ndtype\nq\x05U\x02u1K\x00K\x01\x87Rq\x06(K\x03U\x01|NNN"
    text += b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x02\x07\xfftbu."
    assert np.array_equal(as_array(unpickled(text, Path("x"))["data"]), [[7, 255]])
    assert pickle.loads(text, encoding="bytes")[b"data"].tolist() == [[7, 255]]


class Attack:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the file was run')",))


@pytest.mark.parametrize("value", [Attack(), {"data": Attack()}, [1], {1: np.zeros(3, np.uint8)}, {1: np.array([{}])}])
def test_a_pickle_with_anything_else_is_refused_in_one_line(value):
    with pytest.raises(InputError, match="cannot be read as a python batch"):
        unpickled(pickle.dumps(value), Path("data_batch_1"))


@pytest.mark.parametrize("code", [b"}r" + (2**31).to_bytes(4, "little"), b"\x96" + (2**40).to_bytes(8, "little")])
def test_a_few_bytes_cannot_take_all_memory(code):
    """A memo place or a length of gigabytes, in a pickle of some bytes."""
    tracemalloc.start()
    try:
        with suppress(InputError):
            unpickled(b"\x80\x05" + code + b".", Path("batches.meta"))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_pickles_never_fail_otherwise(data):
    content = bytearray(pickle.dumps({b"data": np.arange(6, dtype=np.uint8).reshape(2, 3), b"labels": [1, 2]}))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(InputError):
        unpickled(bytes(content[: data.draw(st.integers(0, len(content)))]), Path("x"))


@settings(deadline=None, max_examples=20)
@given(cut=st.integers(1, A_BATCH * 3073 - 1))
def test_a_truncated_binary_batch_is_refused(cut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cifar") / "set"
    write_cifar(folder, LAYOUTS[1])
    batch = folder / "data_batch_4.bin"
    batch.write_bytes(batch.read_bytes()[:-cut])
    if cut % 3073:
        with pytest.raises(InputError, match=r"data_batch_4\.bin: has \d+ bytes, not a multiple of the 3073"):
            read_images(folder)
    else:
        with pytest.warns(DataWarning, match="images in its train part; cifar10 has 50000"):
            read_images(folder)


def test_wrong_contents_are_named(tmp_path):
    binary, python = tmp_path / "binary", tmp_path / "python"
    write_cifar(binary, LAYOUTS[1])
    write_cifar(python, LAYOUTS[0])
    (binary / "test_batch.bin").write_bytes(bytes([10]) + bytes(3072))
    with pytest.raises(InputError, match=r"test_batch\.bin: label 10 in a set of 10 classes"):
        read_images(binary)
    (python / "batches.meta").rename(tmp_path / "batches.meta")
    with pytest.raises(InputError, match=r"batches\.meta: there is no such file"):
        read_images(python)
    (tmp_path / "batches.meta").rename(python / "batches.meta")
    (binary / "test_batch.bin").unlink()
    with pytest.raises(InputError, match=r"test_batch\.bin: there is no such file"):
        read_images(binary)
    (binary / "test_batch.bin").write_bytes(bytes(3073))
    (binary / "batches.meta.txt").write_text("cat dog cat")
    with pytest.raises(InputError, match="two of its classes are called 'cat'"):
        read_images(binary)
    pixels = np.zeros((2, 3072), np.uint8)
    for wrong, message in (
        ({b"data": pixels, b"labels": [1]}, "'labels' must be a list of 2"),
        ({b"data": pixels, b"labels": [1, "2"]}, "'labels' must be a list of 2"),
        ({b"data": pixels[:, :7], b"labels": [1, 2]}, "'data' must be bytes of shape"),
        ({b"data": pixels}, "has no 'labels'"),
        ({b"data": pixels[:0], b"labels": []}, "contains no image"),
    ):
        (python / "data_batch_5").write_bytes(pickle.dumps(wrong))
        with pytest.raises(InputError, match=f"data_batch_5: {message}"):
            read_images(python)


def test_other_bytes_than_the_published_archive_are_told(tmp_path):
    layout = LAYOUTS[1]
    write_cifar(tmp_path / "set", layout)
    path = tmp_path / "cifar.tgz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "set", "set")
    with pytest.warns(DataWarning, match=r"is not the published cifar-10-binary\.tar\.gz"):
        read_images(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(InputError, match=r"cifar\.tgz: cannot be read, so the archive is damaged"):
        read_images(path)


def pack(path: Path, names: list[str]) -> Path:
    """An archive of files of one image, without pixels."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 3074
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def test_an_archive_without_one_of_the_files(tmp_path):
    path = pack(tmp_path / "cifar.tar.gz", ["any/train.bin", "any/coarse_label_names.txt"])
    assert recognise(path)
    with pytest.raises(InputError, match=r"cifar\.tar\.gz/any/test\.bin: there is no such file"):
        read_images(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["any/train.bin", "any/test.bin", "any/train.bin"], "'any/train.bin' occurs twice"),
        (["a/train.bin", "b/train.bin"], "contains two sets, with 'a/train.bin' and 'b/train.bin'"),
        (["../train.bin", "../test.bin"], "'../train.bin' is not the name of a file inside it"),
    ],
)
def test_an_ambiguous_or_unsafe_archive(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        read_images(pack(tmp_path / "cifar.tar.gz", names))


def test_an_archive_that_would_fill_the_memory(tmp_path, monkeypatch):
    path = pack(tmp_path / "cifar.tar.gz", list(LAYOUTS[3].files))
    monkeypatch.setenv(MEMORY.variable, "12295")  # of 4 x 3074 bytes
    with pytest.raises(InputError, match=r"its content needs 12 kB, .* ANYJEPA_LIMIT_MEMORY"):
        read_images(path)


def test_an_archive_is_decompressed_once_and_leaves_nothing(tmp_path, monkeypatch):
    path, temporary, unpack, times = tmp_path / "cifar.tar.gz", tmp_path / "temporary", gzip.open, []
    images, _ = write_cifar(tmp_path / "set", LAYOUTS[3])
    with tarfile.open(path, "w:gz") as archive:
        archive.add(tmp_path / "set", "set")
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr("anyjepa.data.archives.gzip.open", lambda file: times.append(file) or unpack(file))
    assert np.array_equal(read_images(path).images, images)
    with readable([path]) as (mounted,):  # as `embed` does
        assert np.array_equal(read_images(mounted).images, images)
    assert len(times) == 2
    assert not list(temporary.iterdir())


@pytest.mark.realdata
def test_real_images_in_the_published_order(test_data, tmp_path):
    """The first 30 images of every batch, through JPEG and the binary layout, against official pixels and labels."""
    stored = np.load(test_data / "cifar10" / "cifar10_jpeg.npz")
    header, scan, ends = stored["header"].tobytes(), stored["scan"].tobytes(), np.cumsum(stored["length"].astype(int))
    layout, names = LAYOUTS[1], "airplane automobile bird cat deer dog frog horse ship truck"
    for batch, name in enumerate(layout.batches):
        with (tmp_path / name).open("wb") as file:
            for row in range(10_000 * batch, 10_000 * batch + 30):
                jpeg = header + scan[ends[row] - stored["length"][row] : ends[row]] + b"\xff\xd9"
                pixels = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).transpose(2, 0, 1)
                file.write(bytes([stored["label"][row]]) + pixels.tobytes())
    (tmp_path / "batches.meta.txt").write_text("\n".join(names.split()))
    found = read_images(tmp_path)
    official = np.load(test_data / "cifar10" / "cifar10_lossless_subset.npz")
    places = {"train": np.arange(50_000).reshape(5, -1)[:, :30].ravel(), "test": np.arange(30)}
    for part, order in places.items():
        rows = np.flatnonzero(np.array(found.split) == part)
        there = {int(index): place for place, index in enumerate(official[f"index_{part}"])}
        pairs = [(row, there[index]) for row, index in zip(rows, order.tolist(), strict=True) if index in there]
        assert len(pairs) >= 30
        ours, theirs = map(list, zip(*pairs, strict=True))
        assert np.array_equal(found.labels["class"].numbers[ours], official[f"y_{part}"][theirs])
        assert np.abs(found.images[ours].astype(int) - official[f"x_{part}"][theirs]).mean() < 8
