"""Members of archives, arrays, pickles and tensors changed; checksums and lengths are right again."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import tarfile
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from formats import knows, step, suffix_of
from mutations import WORDS, bytes_mutated, extreme_number, tree_mutated


@knows(".npz", ".pt", ".bin", ".pth.tar", ".ckpt", ".pth")
def zip_member(rng: Random, content: bytes, other: bytes) -> bytes:
    """A member of a ZIP archive changed, left out or there twice; with the right CRC."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    at = rng.randrange(len(members))
    name, inner = members[at]
    kind = rng.randrange(12)
    if kind == 0:
        del members[at]
    elif kind == 1:
        members.append((rng.choice(["x.npy", "../x.npy", "", "signals.npy"]), inner))
    elif kind == 2:
        members[at] = (rng.choice([*WORDS, "fs.npy", name.upper()]), inner)
    else:
        donor = rng.choice(members)[1]
        members[at] = (name, step(rng, inner, donor, suffix_of(name)))
    made = io.BytesIO()
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, inner in members:
            archive.writestr(zipfile.ZipInfo(name or "x"), inner, method)
    return made.getvalue()


@knows(".gz", ".tar.gz")
def gzipped(rng: Random, content: bytes, other: bytes) -> bytes:
    inner = bytes_mutated(rng, gzip.decompress(content), other)
    return gzip.compress(inner, 1) + (gzip.compress(inner[:10]) if rng.random() < 0.1 else b"")


@knows(".tar.gz")
def tar_member(rng: Random, content: bytes, other: bytes) -> bytes:
    """A member of a .tar.gz changed, or its kind (a link, a device), name or size."""
    made = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(content)) as old:
        members = [(info, old.extractfile(info).read() if info.isfile() else b"") for info in old]  # type: ignore
    at = rng.randrange(len(members))
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1) as new:
        for number, (info, inner) in enumerate(members):
            if number == at:
                kind = rng.randrange(8)
                if kind == 0:
                    continue
                if kind == 1:
                    info.type, info.linkname = rng.choice([tarfile.SYMTYPE, tarfile.LNKTYPE]), "/etc/passwd"
                elif kind == 2:
                    info.type = rng.choice([tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.GNUTYPE_SPARSE])
                elif kind == 3:
                    info.name = rng.choice(["../x", "/x", f"./{info.name}", info.name * 9, members[0][0].name])
                else:
                    inner = step(rng, inner, other, suffix_of(info.name))
                info.size = len(inner) if info.isfile() else 0
            new.addfile(info, io.BytesIO(inner))
    return made.getvalue()


# NumPy, pickles, tensors


@knows(".npy")
def npy(rng: Random, content: bytes, _: bytes) -> bytes:
    """The dictionary of an .npy header changed, in a header of the right length; or another array altogether."""
    if rng.random() < 0.5:
        array = array_mutated(rng, np.load(io.BytesIO(content), allow_pickle=False))
        made = io.BytesIO()
        np.save(made, array, allow_pickle=True)
        return made.getvalue()
    size = int.from_bytes(content[8:10], "little")
    header = content[10 : 10 + size]
    replaced = rng.choice(
        [
            (rb"\(.*?\)", rng.choice([b"()", b"(-1,)", b"(1, 1)", b"(0, 12)", b"(12, 0)", b"(2**40,)", b"(10**12,)"])),
            (rb"\(.*?\)", rng.choice([b"(9999999999999,)", b"(True, 1)", b"(1.5,)", b"(4000000000, 1)", b"[2]", b"5"])),
            (
                rb"'descr': '.*?'",
                b"'descr': '" + rng.choice([b"|O", b"<U9", b"<c16", b"<M8[s]", b"|V8", b"<f2"]) + b"'",
            ),
            (rb"'descr': '.*?'", b"'descr': " + rng.choice([b"[('a', '<f4')]", b"'>f8'", b"'<f4'", b"None", b"'|b1'"])),
            (rb"False|True", rng.choice([b"True", b"None", b"2"])),
        ]
    )
    header = re.sub(replaced[0], lambda _: replaced[1], header, count=1).rstrip() + b"\n"
    return content[:8] + len(header).to_bytes(2, "little") + header + content[10 + size :]


def array_mutated(rng: Random, array: np.ndarray) -> Any:
    """An array with other values, another type or another shape."""
    kinds: list[Callable[[], Any]] = [
        lambda: array.astype(rng.choice(["f2", "f4", "f8", "i8", "u1", "?", "c8", "U20", ">f4", "u8", "O", "M8[s]"])),
        lambda: array[..., None],
        lambda: array.ravel()[0],
        lambda: array[:0],
        lambda: array[..., :0],
        lambda: np.swapaxes(array, 0, -1),
        lambda: array[::-1].repeat(rng.choice([1, 2, 3]), axis=0),
        lambda: array * rng.choice([0, -1, 1e30, 1e-30, 1e300, 255]),
        lambda: _some(rng, array, rng.choice([np.nan, np.inf, -np.inf, 1e38, 1e300, -1, 2**31, 0, -32768])),
        lambda: np.full(array.shape, rng.choice([0, np.nan, 1, 1e38, -1])),
        lambda: np.array(rng.choice([*WORDS, "1e9", -1, 0, 1.5, None, True, 10**18, ["a", "b"], [1, 2], "ümV"])),
    ]
    return rng.choice(kinds)()


def _some(rng: Random, array: np.ndarray, value: float) -> np.ndarray:
    changed = np.array(array, np.float64)
    generator = np.random.default_rng(rng.randrange(2**32))
    changed[generator.random(changed.shape) < rng.choice([0.001, 0.1, 0.9])] = value
    return changed if rng.random() < 0.5 else changed.astype(array.dtype)


def _leaf(rng: Random, value: Any) -> Any:
    """What is neither a dictionary nor a list, changed."""
    if isinstance(value, np.ndarray):
        return array_mutated(rng, value)
    if type(value).__module__.startswith("torch"):
        return _tensor(rng, value)
    if isinstance(value, bytes):
        return bytes_mutated(rng, value, value)
    return rng.choice([None, -1, 0, 2**40, 1e308, float("nan"), "x", b"x", [], {}, extreme_number(rng)])


def _tensor(rng: Random, value: Any) -> Any:
    import torch

    if not isinstance(value, torch.Tensor):
        return None
    kinds: list[Callable[[], Any]] = [
        lambda: value.to(rng.choice([torch.float16, torch.float64, torch.int64, torch.bool, torch.complex64])),
        lambda: value.bfloat16(),
        lambda: value[..., None],
        lambda: value.flatten(),
        lambda: value[:0],
        lambda: value.transpose(0, -1),
        lambda: value * rng.choice([float("nan"), float("inf"), 1e38, 0.0]),
        lambda: value.flatten()[:1].expand(2 ** rng.choice([3, 20, 33])),
        lambda: value.float().to_sparse(),
        lambda: torch.quantize_per_tensor(value.float(), 0.1, 0, torch.qint8),
        lambda: torch.nn.Parameter(value.float()),
        lambda: torch.empty(value.shape, device="meta"),
        lambda: torch.empty(rng.choice([(0,), (), (1, 0, 3), (2**40, 0)])),
        lambda: value.numpy(),
    ]
    return rng.choice(kinds)()


@knows(
    ".meta",
    "test_batch",
    "train",
    "test",
    "meta",
    "data_batch_1",
    "data_batch_2",
    "data_batch_3",
    "data_batch_4",
    "data_batch_5",
)
def pickled(rng: Random, content: bytes, _: bytes) -> bytes:
    """A pickle of the suite's own, with other values or of another protocol."""
    return pickle.dumps(tree_mutated(rng, pickle.loads(content), _leaf), protocol=rng.randrange(2, 6))


@knows(".pt", ".bin", ".pth.tar", ".ckpt", ".pth")
def checkpoint(rng: Random, content: bytes, _: bytes) -> bytes:
    import torch

    tree = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    made = io.BytesIO()
    torch.save(tree_mutated(rng, tree, _leaf), made, _use_new_zipfile_serialization=rng.random() < 0.8)
    return made.getvalue()


@knows(".safetensors")
def safetensors(rng: Random, content: bytes, _: bytes) -> bytes:
    """The JSON header or the tensors changed; the length of the header is right."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    if rng.random() < 0.6:
        header.pop("__metadata__", None)  # it has a checksum, and the config that the tensors were saved with
    if rng.random() < 0.4:
        values = np.frombuffer(content[end:].ljust(-(-len(content[end:]) // 4) * 4, b"\0"), "<f4")
        values = _some(rng, values, rng.choice([np.nan, np.inf, 1e38, 0, -1e20])).astype("<f4")
        return _with_header(header, values.tobytes())
    return _with_header(tree_mutated(rng, header), content[end:])


def _with_header(header: Any, rest: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest
