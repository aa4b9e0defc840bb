"""HDF5 files: whatever leaves the file, hangs, crashes or fills memory is refused in one line, before it is read."""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from anyjepa.data import hdf5
from anyjepa.data.hdf5 import check_memory, examine, open_hdf5
from anyjepa.errors import InputError
from anyjepa.limits import HDF5_SECONDS

TEXT = h5py.string_dtype()


def write(path: Path, fill: Callable[[h5py.File], object]) -> Path:
    with h5py.File(path, "w") as file:
        file["X"] = np.arange(6.0)
        fill(file)
    return path


def test_sizes_in_memory_are_those_of_numbers_and_texts(tmp_path: Path) -> None:
    def fill(file: h5py.File) -> None:
        file.create_dataset("obs/name", data=["a", "b" * 1000], dtype=TEXT)
        file.create_dataset("obs/one", data="c" * 500, dtype=TEXT)
        file["obs/pair"] = np.zeros(4, [("number", "f4"), ("text", "S6")])
        file["uns/none"] = h5py.Empty("f4")
        file.create_dataset("uns/large", (10,), "f4", maxshape=(None,), chunks=(5000,), compression="gzip")
        file["obs/name"].attrs["categories"] = file["obs/one"].ref

    sizes = examine(write(tmp_path / "a.h5", fill))
    assert (sizes["X"], sizes["obs/pair"], sizes["uns/none"], sizes["uns/large"]) == (48, 40, 0, 20_000)
    assert 1000 < sizes["obs/name"] < 1300
    assert 500 < sizes["obs/one"] < 700


def test_usual_storage_is_read(tmp_path: Path) -> None:
    values = np.arange(5000).reshape(50, 100)

    def fill(file: h5py.File) -> None:
        file.create_dataset("gzip", data=values, compression="gzip", shuffle=True, fletcher32=True, chunks=(7, 9))
        file.create_dataset("lzf", data=values, compression="lzf")

    with open_hdf5(write(tmp_path / "a.h5", fill)) as file:
        assert (file["gzip"][()] == values).all()
        assert (file["lzf"][()] == values).all()


def external_storage(file: h5py.File) -> None:
    Path("secret").write_bytes(bytes(48))
    file.create_dataset("obs/age", (6,), "f8", external=[(os.path.abspath("secret"), 0, 48)])


def external_fifo(file: h5py.File) -> None:
    os.mkfifo("fifo")
    file.create_dataset("layers/counts", (6,), "f8", external=[(os.path.abspath("fifo"), 0, 48)])


def virtual(file: h5py.File) -> None:
    os.mkfifo("other.h5")
    layout = h5py.VirtualLayout((6,), "f8")
    layout[:] = h5py.VirtualSource(os.path.abspath("other.h5"), "X", (6,))
    file.create_virtual_dataset("obsm/X_pca", layout)


def plugin(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((6,))
    creation.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    h5py.h5d.create(file.id, b"zstd", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((6,)), creation)


def twice_compressed(file: h5py.File) -> None:
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk((6,))
    creation.set_deflate(9)
    creation.set_deflate(9)
    h5py.h5d.create(file.id, b"twice", h5py.h5t.NATIVE_DOUBLE, h5py.h5s.create_simple((6,)), creation)


def bomb(file: h5py.File) -> None:
    """A chunk of 2 MB that inflates to 400 MB."""
    data = file.create_dataset("bomb", (2**21,), "u1", chunks=(2**21,), compression="gzip")
    squeeze = zlib.compressobj(9)
    begin, more = (squeeze.compress(bytes(10**7)) + squeeze.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    data.id.write_direct_chunk((0,), begin + 39 * more)


def nested(file: h5py.File) -> None:
    file.create_group("/".join("a" * 40))


def hard_loop(file: h5py.File) -> None:
    more = file.create_group("uns/more")
    more["uns"] = file["uns"]


def reference_to_group(file: h5py.File) -> None:
    file["X"].attrs["categories"] = file.create_group("obs").ref


REFUSED = {
    "external storage": (external_storage, "'obs/age' stores its values in other files; store them in this one"),
    "external storage in a FIFO": (external_fifo, "'layers/counts' stores its values in other files"),
    "virtual data set": (virtual, "'obsm/X_pca' stores its values in other files"),
    "soft link": (lambda f: f.__setitem__("uns/a", h5py.SoftLink("/X")), "'uns/a' is a link, which is not followed"),
    "soft link to itself": (lambda f: f.__setitem__("a", h5py.SoftLink("/a")), "'a' is a link"),
    "external link": (lambda f: f.__setitem__("var", h5py.ExternalLink("b.h5", "/X")), "'var' is a link"),
    "group within itself": (hard_loop, "group 'uns/more/uns' occurs twice, or contains itself"),
    "nested groups": (nested, "is nested more than 32 groups deep"),
    "filter of a plugin": (
        plugin,
        "'zstd' uses HDF5 filter 32015; save it with gzip, lzf or no",
    ),
    "compressed twice": (twice_compressed, "'twice' is compressed more than once"),
    "chunk bomb": (bomb, "'bomb' has a chunk that holds more than its 2097152 bytes"),
    "reference to a group": (reference_to_group, "'X' has an attribute that refers to something other than a data set"),
}


@pytest.mark.parametrize(("fill", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(
    fill: Callable[[h5py.File], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        examine(write(Path("a.h5"), fill))
    assert str(error.value).startswith("a.h5: ")
    assert message in str(error.value)


def test_what_is_not_a_whole_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", lambda file: file.create_dataset("b", data=np.ones(1000)))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match=r"a.h5: cannot be read as HDF5 \(it is truncated\)"):
        examine(path)
    path.write_text("Dear reader")
    with pytest.raises(InputError, match=r"a.h5: is not an HDF5 file"):
        examine(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=r"a.h5: is a FIFO"):
        examine(path)


def test_texts_that_share_one_place_in_the_file_count_each(tmp_path: Path) -> None:
    """100,000 names of 60 kB, of which the file holds one."""

    def fill(file: h5py.File) -> None:
        data = file.create_dataset("obs/_index", (100_000,), TEXT, chunks=(100_000,), compression="gzip")
        data[0] = "x" * 60_000
        packed = bytearray(zlib.decompress(data.id.read_direct_chunk((0,))[1]))
        packed[:] = packed[:16] * 100_000
        data.id.write_direct_chunk((0,), zlib.compress(bytes(packed)))

    path = write(tmp_path / "a.h5", fill)
    assert path.stat().st_size < 10**6
    with pytest.raises(InputError, match=r"a.h5: obs needs .* MB, \d+ times the size of its file"):
        check_memory(path, "obs")


def test_a_declared_size_is_compared_with_the_limit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5", lambda file: file.create_dataset("obs/n", (10**12,), "f8", chunks=(1000,)))
    with pytest.raises(InputError, match=r"a.h5: obs needs 8 TB"):
        check_memory(path, "obs")
    check_memory(path, "X")


def test_too_many_objects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5", lambda file: [file.create_group(f"g{n}") for n in range(20)])
    monkeypatch.setenv("ANYJEPA_LIMIT_COLUMNS", "20")
    with pytest.raises(InputError, match="holds more than 20 objects and attributes"):
        examine(path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import time; time.sleep(60)", r"within 1 s, .* to wait longer, set ANYJEPA_LIMIT_HDF5_SECONDS=2"),
        ("import os; os.abort()", r"HDF5 crashed while reading the structure of the file \(signal 6\)"),
        ("raise SystemExit('no memory')", r"HDF5 crashed .* \(no memory\)"),
    ],
)
def test_a_reader_that_hangs_or_crashes_is_ended(
    code: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "probe.py").write_text(code)
    monkeypatch.setattr(hdf5, "_PROBE", tmp_path / "probe.py")
    monkeypatch.setenv(HDF5_SECONDS.variable, "1")
    path = write(tmp_path / "a.h5", lambda file: None)
    started = time.monotonic()
    with pytest.raises(InputError, match=message):
        examine(path)
    assert time.monotonic() - started < 20


def test_a_file_is_examined_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.h5", lambda file: None)
    first = examine(path)
    monkeypatch.setattr(hdf5, "_PROBE", tmp_path / "gone.py")
    assert examine(path) is first
    os.utime(path, (1, 1))
    with pytest.raises(InputError, match="crashed"):
        examine(path)


@pytest.mark.realdata
@pytest.mark.long
def test_a_damaged_heap_that_keeps_hdf5_from_returning(
    test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray((test_data / "papalexi2021" / "papalexi2021.h5ad").read_bytes())
    for place in (5542, 5544, 5552, *range(5560, 5567), 5568):
        content[place] = 0
    path = tmp_path / "screen.h5ad"
    path.write_bytes(content)
    monkeypatch.setenv(HDF5_SECONDS.variable, "3")
    with pytest.raises(InputError, match="HDF5 did not finish reading the structure of the file within 3 s"):
        examine(path)
