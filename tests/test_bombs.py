"""Small files that would fill the memory are refused in one line, and refusing them takes little memory itself."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import re
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

ZEROS = bytes(2**22)
GROWTH = 120 * 2**20  # bytes of memory that all refusals together may take
LEADS = [f"V{n}" for n in range(1, 7)]


def header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def npz(path: Path, shape: tuple[int, ...], megabytes: int, kind: str = "<f4", name: str = "signals") -> None:
    """An archive of zeros; its directory says that they are so many, a small part is there."""
    content = header(shape, kind)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", content + bytes(megabytes * 2**10))
        archive.filelist[0].file_size = len(content) + megabytes * 2**20


def lying_npz(path: Path) -> None:
    """Its directory says 200 bytes, its header 4 TB."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("signals.npy", header((1, 12, 10**11)) + bytes(72))


def long_header(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("signals.npy", "w") as file:
        file.write(np.lib.format.magic(2, 0) + struct.pack("<I", 2**30))
        file.write(ZEROS)


def overlapping(path: Path) -> None:
    """A hundred arrays that are one: each entry of the directory leads to the same bytes."""
    npz(path, (4, 2**22), 64, name="a")
    with zipfile.ZipFile(path, "a") as archive:
        for _ in range(100):
            copy = zipfile.ZipInfo("a.npy")
            for field in ("compress_type", "header_offset", "compress_size", "file_size", "CRC"):
                setattr(copy, field, getattr(archive.infolist()[0], field))
            archive.filelist.append(copy)
        archive._didModify = True  # type: ignore[attr-defined]


def idx(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(struct.pack(">HBB3I", 0, 8, 3, 100, 2**11, 2**11) + ZEROS)


def tar(path: Path, members: list[tuple[str, int]]) -> None:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for name, size in members:
            info = tarfile.TarInfo(name)
            info.size = size
            file.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(-(-size // 2**22)):
                file.write(ZEROS)


def long_pax_header(path: Path) -> None:
    with gzip.open(path, "wb") as file:
        info = tarfile.TarInfo("a")
        info.size, info.type = 2**28, tarfile.XHDTYPE
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def sparse_tar(path: Path) -> None:
    """A list of 21 pieces in each block of 200 MB."""
    info = tarfile.TarInfo("a")
    info.type = tarfile.GNUTYPE_SPARSE
    start = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    start[482] = 1  # more pieces follow
    start[148:156] = b"%06o\0 " % tarfile.calc_chksums(start)[0]
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(start)
        for _ in range(100):
            file.write((b"00000000001\0" * 42 + b"\1" + bytes(7)) * 2**12)


def declared_tar(path: Path) -> None:
    with gzip.open(path, "wb") as file:
        info = tarfile.TarInfo("data_batch_1.bin")
        info.size = 10**12
        file.write(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def checkpoint(path: Path, change: Callable[[str, bytes], bytes]) -> None:
    file = io.BytesIO()
    torch.save({"a": torch.zeros(2**10)}, file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))


def zeros(path: Path) -> None:
    checkpoint(path, lambda name, old: bytes(300_000_000) if "data/0" in name else old)


def with_pickle(content: bytes) -> Callable[[Path], None]:
    return lambda path: checkpoint(path, lambda name, old: content if name.endswith(".pkl") else old)


def shared(path: Path) -> None:
    value: object = torch.zeros(1)
    for _ in range(40):
        value = {"a": value, "b": value}
    torch.save(value, path)


def png(path: Path) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    size = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    content = zlib.compress(ZEROS, 1)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", content) + chunk(b"IEND", b""))


def channels(path: Path) -> None:
    path.write_text("@univariate false\n@classLabel false\n@data\n" + "1:" * 5000 + "1\n")


def laughs(path: Path) -> None:
    lines = ["base: ecg-jepa-demo", "data:", "  kind: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"  {chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]" for n in range(9)]
    path.write_text("\n".join(lines))


ECG, IMAGES = "from anyjepa.data.ecg.reading import read", "from anyjepa.data.images.reading import read_images as read"
SERIES = "from anyjepa.data.series.arrays import read_npz as read"
VIDEO = "from anyjepa.data.video.reading import read_npz as read"
TS = "from anyjepa.data.series.ts_files import read_ts as read"
IDX = "from anyjepa.data.images.sets.mnist import read_idx as read"
TORCH, RECIPE = (
    "from anyjepa.weights.foreign import read_foreign as read",
    "from anyjepa.recipes.schema import load_recipe as read",
)
PICKLE = (
    "from anyjepa.data.images.sets.cifar_pickle import unpickled\ndef read(path): unpickled(path.read_bytes(), path)"
)
ENCODES = b"\x80\x02c_codecs\nencode\nq\x00X@B\x0f\x00" + b"a" * 10**6 + b"q\x01X\x06\x00\x00\x00latin1q\x02](" + (
    b"h\x00h\x01h\x02\x86R" * 5000 + b"e."
)  # fmt: skip
NESTED = b"\x80\x02})" + b"2\x86" * 60 + b"K\x01s."  # {((((), ()), ...), ...): 1}, whose hash takes 2^60 steps
MEMOISED = b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"K\x01s."

BOMBS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "many zeros.npz": (ECG, lambda p: npz(p, (1, 12, 2**23), 384), " times the size of its file"),
    "many zeros .npz": (SERIES, lambda p: npz(p, (1, 12, 2**23), 384, name="series"), "ANYJEPA_LIMIT_EXPANSION="),
    "video.npz": (VIDEO, lambda p: npz(p, (96, 2**11, 2**11), 384, "|u1", "a"), "ANYJEPA_LIMIT_EXPANSION="),
    "many records.npz": (ECG, lambda p: npz(p, (2**22, 1, 1), 4, "|u1"), "ANYJEPA_LIMIT_MEMORY="),
    "no bytes.npz": (ECG, lambda p: npz(p, (2**40, 1, 1), 0, "<U0"), "ANYJEPA_LIMIT_MEMORY="),
    "declares.npz": (ECG, lying_npz, "takes 4800000000000 bytes, but the file has 72"),
    "declares.npy": (ECG, lambda p: p.write_bytes(header((12, 10**12))), "takes 48000000000000 bytes, but"),
    "long header.npz": (ECG, long_header, "the header of 'signals' has 1073741824 bytes"),
    "overlapping.npz": (VIDEO, overlapping, "two of its arrays have the same name"),
    "x-idx3-ubyte.gz": (IDX, idx, "ANYJEPA_LIMIT_EXPANSION="),
    "repeated.tar.gz": (IMAGES, lambda p: tar(p, [("data_batch_1.bin", 2**27)] * 3), "ANYJEPA_LIMIT_EXPANSION="),
    "skipped.tar.gz": (IMAGES, lambda p: tar(p, [("other", 2**28), ("b", 0)]), "ANYJEPA_LIMIT_EXPANSION="),
    "declares.tar.gz": (IMAGES, declared_tar, "ends inside 'data_batch_1.bin'"),
    "long pax header.tar.gz": (IMAGES, long_pax_header, "a header of over 65536 bytes"),
    "sparse.tar.gz": (IMAGES, sparse_tar, "a header of over 65536 bytes"),
    "many members.tar.gz": (IMAGES, lambda p: tar(p, [("a", 0)] * 1001), "ANYJEPA_LIMIT_COLUMNS="),
    "dictionaries.pkl": (PICKLE, lambda p: p.write_bytes(b"(" + b"}" * 3_000_000), "more than 1,000,000 parts"),
    "encodes.pkl": (PICKLE, lambda p: p.write_bytes(ENCODES), "it contains a list"),
    "hash.pkl": (PICKLE, lambda p: p.write_bytes(MEMOISED), "a key in it is not text"),
    "copied.pkl": (PICKLE, lambda p: p.write_bytes(NESTED), "cannot be read as a python"),
    "protocol 5.pkl": (PICKLE, lambda p: p.write_bytes(pickle.dumps(bytearray(9), 5)), "cannot be read as a python"),
    "zeros.pth": (TORCH, zeros, "ANYJEPA_LIMIT_EXPANSION="),
    "dictionaries.pth": (TORCH, with_pickle(b"\x80\x02](" + b"}" * 2**23 + b"e."), "ANYJEPA_LIMIT_EXPANSION="),
    "bytearray.pth": (TORCH, with_pickle(b"\x80\x02c__builtin__\nbytearray\nJ\0\0\0\x70\x85R."), "a bytearray"),
    "encodes.pth": (TORCH, with_pickle(ENCODES), "ANYJEPA_LIMIT_MEMORY="),
    "view.ckpt": (TORCH, lambda p: torch.save({"a": torch.zeros(1).expand(10**6, 10**6)}, p), "ANYJEPA_LIMIT_MEMORY="),
    "shared.pt": (TORCH, shared, "ANYJEPA_LIMIT_MEMORY="),
    "photos": (IMAGES, lambda p: (p.mkdir(), png(p / "a.png")), "ANYJEPA_LIMIT_PIXELS=144000000"),
    "channels.ts": (TS, channels, "line 4 needs 5,001 columns, .*ANYJEPA_LIMIT_COLUMNS=5001"),
    "laughs.yaml": (RECIPE, laughs, "with its aliases expanded, it needs .*ANYJEPA_LIMIT_RECIPE="),
    "deep.yaml": (RECIPE, lambda p: p.write_text("a: " + "[" * 60 + "]" * 60), "nested more than 50 levels deep"),
    "long.yaml": (RECIPE, lambda p: p.write_text("#" * 300_000), "ANYJEPA_LIMIT_RECIPE=300kB"),
}  # fmt: skip

READ_ALL = """
import json, resource, sys, time, warnings
from pathlib import Path
import torch, PIL.Image, anyjepa.recipes.schema, anyjepa.data.ecg.reading
warnings.simplefilter("ignore")
found = {}
for name, (code, path) in json.load(sys.stdin).items():
    exec(code)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    try:
        read(Path(path))
        message = "it was read"
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found[name] = message, growth * 1024, time.monotonic() - start
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, int, float]]:
    """Message, growth of the largest memory in use (bytes) and time (s) of each, in one process of its own."""
    folder, paths = tmp_path_factory.mktemp("bombs"), {}
    for name, (code, write, _) in BOMBS.items():
        write(folder / name)
        paths[name] = code, str(folder / name)
    environment = os.environ | {"ANYJEPA_LIMIT_COLUMNS": "1000"}
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL], input=json.dumps(paths), capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_would_fill_the_memory_is_refused(
    name: str, refused: dict[str, tuple[str, int, float]]
) -> None:
    message, growth, seconds = refused[name]
    assert message.startswith("InputError: "), message
    assert re.search(BOMBS[name][2], message), message
    assert "\n" not in message
    assert growth < GROWTH
    assert seconds < 20


def test_refusing_takes_little_memory(refused: dict[str, tuple[str, int, float]]) -> None:
    assert sum(growth for _, growth, _ in refused.values()) < GROWTH
