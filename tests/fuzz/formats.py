"""Damage that knows a format: members of archives, chunks, headers, values of tables; checksums are right again after it.

A function may raise whatever the library of its format raises on content that is already damaged; see `mutated`.
"""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import pickle
import re
import struct
import tarfile
import warnings
import zipfile
import zlib
from binascii import crc_hqx
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
from mutations import WORDS, Mutation, bytes_mutated, extreme_number, text_mutated, tree_mutated

TEXTS = (".hea", ".csv", ".tsv", ".xml", ".ts", ".json", ".yaml", ".txt", ".sets")


def mutated(rng: Random, content: bytes, other: bytes, name: str) -> bytes:
    """One to six mutations that suit the file's name, and mostly right checksums."""
    suffix = suffix_of(name)
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3, 6])):
        content = _step(rng, content, other, suffix)
    if suffix in REPAIRS and rng.random() < 0.7:
        content = _tried(REPAIRS[suffix], content)
    return content


def suffix_of(name: str) -> str:
    """What decides how a file is changed: the last suffix, or the name of files without one."""
    name = name.rpartition("/")[2].lower()
    for ending in (".tar.gz", ".pth.tar"):
        if name.endswith(ending):
            return ending
    if name.startswith(("data_batch_", "test_batch", "train", "test")) and name.endswith(".bin"):
        return ".batch"  # CIFAR's binary ones; other .bin are PyTorch's
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix}" if dot else stem


def _step(rng: Random, content: bytes, other: bytes, suffix: str) -> bytes:
    known = KNOWN.get(suffix, [])
    if known and rng.random() < 0.65:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return rng.choice(known)(rng, content, other)
        except Exception:  # what is damaged already cannot always be taken apart; any library raises its own
            pass
    return (text_mutated if suffix in TEXTS else bytes_mutated)(rng, content, other)


def _tried(repair: Callable[[bytes], bytes], content: bytes) -> bytes:
    try:
        return repair(content)
    except Exception:  # as above
        return content


# Archives and compressed files


def _zip(rng: Random, content: bytes, other: bytes) -> bytes:
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
        members[at] = (name, _step(rng, inner, donor, suffix_of(name)))
    made = io.BytesIO()
    method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
    with zipfile.ZipFile(made, "w", method) as archive:
        for name, inner in members:
            archive.writestr(zipfile.ZipInfo(name or "x"), inner, method)
    return made.getvalue()


def _gzip(rng: Random, content: bytes, other: bytes) -> bytes:
    inner = bytes_mutated(rng, gzip.decompress(content), other)
    return gzip.compress(inner, 1) + (gzip.compress(inner[:10]) if rng.random() < 0.1 else b"")


def _tar(rng: Random, content: bytes, other: bytes) -> bytes:
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
                    inner = _step(rng, inner, other, suffix_of(info.name))
                info.size = len(inner) if info.isfile() else 0
            new.addfile(info, io.BytesIO(inner))
    return made.getvalue()


# NumPy, pickles, tensors


def _npy(rng: Random, content: bytes, _: bytes) -> bytes:
    """The dictionary of an .npy header changed, in a header of the right length; or another array altogether."""
    if rng.random() < 0.5:
        array = _array(rng, np.load(io.BytesIO(content), allow_pickle=False))
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


def _array(rng: Random, array: np.ndarray) -> Any:
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
        return _array(rng, value)
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


def _pickle(rng: Random, content: bytes, _: bytes) -> bytes:
    """A pickle of the suite's own, with other values or of another protocol."""
    return pickle.dumps(tree_mutated(rng, pickle.loads(content), _leaf), protocol=rng.randrange(2, 6))


def _torch(rng: Random, content: bytes, _: bytes) -> bytes:
    import torch

    tree = torch.load(io.BytesIO(content), map_location="cpu", weights_only=False)
    made = io.BytesIO()
    torch.save(tree_mutated(rng, tree, _leaf), made, _use_new_zipfile_serialization=rng.random() < 0.8)
    return made.getvalue()


def _safetensors(rng: Random, content: bytes, _: bytes) -> bytes:
    """The JSON header or the tensors changed; the length of the header is right."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    if rng.random() < 0.3:
        header.get("__metadata__", {}).pop("anyjepa", None)  # else any other config is refused for it
    if rng.random() < 0.4:
        values = np.frombuffer(content[end:].ljust(-(-len(content[end:]) // 4) * 4, b"\0"), "<f4")
        values = _some(rng, values, rng.choice([np.nan, np.inf, 1e38, 0, -1e20])).astype("<f4")
        return _with_header(header, values.tobytes())
    return _with_header(tree_mutated(rng, header), content[end:])


def _with_header(header: Any, rest: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + rest


# Trees and tables


def _json(rng: Random, content: bytes, _: bytes) -> bytes:
    tree = json.loads(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        tree = tree_mutated(rng, tree)
    return json.dumps(tree, ensure_ascii=rng.random() < 0.9).encode("utf-8", "surrogatepass")


def _yaml(rng: Random, content: bytes, _: bytes) -> bytes:
    import yaml

    tree = yaml.safe_load(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        tree = tree_mutated(rng, tree)
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass")


def _yaml_text(rng: Random, content: bytes, _: bytes) -> bytes:
    """What YAML has beside plain values."""
    odd = rng.choice(
        [b"&a [*a]", b"&a {x: *a}", b"!!python/object/apply:os.system [x]", b"!!binary eA==", b"2020-99-99", b"<<: 3"]
        + [b"!!set {a}", b"!!timestamp 2001-01-01", b"12:30:45", b"0o17", b"1_0", b"- - -", b"? x", b"|\n  x", b".inf"]
    )
    lines = content.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = lines[at].partition(b":")[0] + b": " + odd
    return b"\n".join(lines)


def _table(rng: Random, content: bytes, _: bytes) -> bytes:
    """A cell, a row or a column of a CSV changed."""
    text = content.decode("latin-1")
    delimiter = "\t" if "\t" in text.partition("\n")[0] else ","
    rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
    at = rng.randrange(min(len(rows), rng.choice([1, 3, len(rows)])))
    column = rng.randrange(len(rows[at]))
    kind = rng.randrange(8)
    if kind < 3:
        rows[at][column] = rng.choice([extreme_number(rng), rng.choice(WORDS)])
    elif kind == 3:
        value = rng.choice([extreme_number(rng), rng.choice(WORDS)])
        rows[1:] = [[*row[:column], value, *row[column + 1 :]] for row in rows[1:]]
    elif kind == 4:
        rows = [row[:column] + row[column + 1 :] for row in rows]
    elif kind == 5:
        rows = [[*row, row[column % max(1, len(row))] if row else ""] for row in rows]
    elif kind == 6:
        rows[at].append("x")
    else:
        rows[at] = rows[at][:-1]
    made = io.StringIO()
    csv.writer(made, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return made.getvalue().encode("utf-8", "replace")


def _parquet(rng: Random, content: bytes, _: bytes) -> bytes:
    """A column with other values or of another type, twice or not there; other metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(io.BytesIO(content)).read(use_threads=False)
    at = rng.randrange(table.num_columns)
    name, values = table.column_names[at], table.column(at).to_pylist()
    odd = [
        None,
        -1,
        0,
        2**40,
        1e308,
        float("nan"),
        float("inf"),
        "x",
        b"x",
        [1],
        [None],
        {"a": 1},
        True,
        [float("inf")],
    ]
    kind = rng.randrange(7)
    if kind == 0:
        table = table.remove_column(at)
    elif kind == 1:
        table = table.append_column(rng.choice([name, "x", "", "fs"]), table.column(at))
    elif kind == 2:
        table = table.rename_columns(
            [rng.choice([*WORDS, "fs"]) if n == at else c for n, c in enumerate(table.column_names)]
        )
    elif kind == 3:
        table = table.replace_schema_metadata({rng.choice(["fs", "unit", "pandas"]): rng.choice([*WORDS, "nan", "{}"])})
    elif kind == 4:
        values[rng.randrange(len(values))] = rng.choice([*odd, *(values[:1])])
        like = table.schema.field(at).type
        try:
            column = pa.array(values, like)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            column = pa.array(values)
        table = table.set_column(at, name, column)
    elif kind == 5:
        table = table.set_column(at, name, pa.array([rng.choice(odd)] * len(table)))
    else:
        table = rng.choice([table.slice(0, 0), pa.concat_tables([table, table]), table.slice(1)])
    made = io.BytesIO()
    pq.write_table(table, made, compression=rng.choice(["none", "snappy", "gzip"]))
    return made.getvalue()


def _hdf5(rng: Random, content: bytes, _: bytes) -> bytes:
    """A data set, group or attribute replaced, left out, linked elsewhere."""
    import h5py

    made = io.BytesIO(content)
    with h5py.File(made, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        node: Any = file[name]
        kind = rng.randrange(9)
        if kind == 0:
            del file[name]
        elif kind == 1 and len(node.attrs):
            key = rng.choice(list(node.attrs))
            if rng.random() < 0.3:
                del node.attrs[key]
            else:
                node.attrs[key] = rng.choice(
                    ["", "array", "csc_matrix", "dataframe", "x", -1, [1, 2], [2**40, 2**40], 0.5]
                )
        elif kind == 2:
            target = rng.choice(
                [h5py.SoftLink(f"/{rng.choice(names)}"), h5py.SoftLink("/"), h5py.ExternalLink("x.h5", "/")]
            )
            del file[name]
            file[name] = target
        elif kind == 3 and isinstance(node, h5py.Dataset):
            del file[name]
            file.create_group(name)
        elif kind == 4:
            file.move(name, rng.choice(["x", f"{name}x", f"x/{name}"]))
        elif kind == 5:
            copied = rng.choice(names)
            del file[name]
            if copied in file:
                file.copy(copied, name)
        elif isinstance(node, h5py.Dataset):
            attributes, value = dict(node.attrs), node[()]
            del file[name]
            if isinstance(value, np.ndarray) and value.dtype.kind in "iufb":
                file[name] = _array(rng, value)
            else:
                file[name] = rng.choice(
                    [0, "x", [1.5], ["a", "b"], np.zeros((2, 0)), np.zeros(3, "S0".replace("0", "4"))]
                )
            for key, attribute in attributes.items():
                file[name].attrs[key] = attribute
    return made.getvalue()


# XML, chunks, DICOM, SCP


def _xml(rng: Random, content: bytes, _: bytes) -> bytes:
    """An element's text, an attribute or an element changed."""
    kind = rng.randrange(5)
    if kind == 0:
        found = list(re.finditer(rb">([^<>]+)<", content))
        chosen = rng.choice(found)
        text = rng.choice(
            [extreme_number(rng).encode(), rng.choice(WORDS).encode(), bytes_mutated(rng, chosen[1], content)]
        )
        return content[: chosen.start(1)] + text + content[chosen.end(1) :]
    if kind == 1:
        chosen = rng.choice(list(re.finditer(rb'="([^"]*)"', content)))
        return (
            content[: chosen.start(1)]
            + rng.choice([extreme_number(rng), "V", "s", "ms"]).encode()
            + content[chosen.end(1) :]
        )
    if kind == 2:
        chosen = rng.choice(list(re.finditer(rb"<(\w+)[^<>/]*>.*?</\1>", content, re.DOTALL)))
        return content[: chosen.start()] + rng.choice([b"", chosen[0] * 2]) + content[chosen.end() :]
    if kind == 3:
        odd = [
            b'<!DOCTYPE a [<!ENTITY b "c">]>',
            b"<?x y?>",
            b"<![CDATA[<]]>",
            b"<!--" + b"-" * 99,
            b"<a>" * 2000,
            b"&#0;",
            b"&x;",
        ]
        at = rng.choice([match.end() for match in re.finditer(rb">", content)])
        return content[:at] + rng.choice(odd) + content[at:]
    return _base64(rng, content)


def _base64(rng: Random, content: bytes) -> bytes:
    """Samples of GE MUSE changed, with the right CRC and, mostly, the right counts."""
    chosen = rng.choice(list(re.finditer(rb"<LeadData>.*?</LeadData>", content, re.DOTALL)))
    lead = chosen[0]
    data = re.search(rb"<WaveFormData>(.*?)</WaveFormData>", lead, re.DOTALL)
    assert data is not None
    samples = bytes_mutated(rng, base64.b64decode(data[1]), content)
    lead = lead.replace(data[1], base64.encodebytes(samples))
    lead = re.sub(rb"(<LeadDataCRC32>)\d+", b"\\g<1>%d" % zlib.crc32(samples), lead)
    if rng.random() < 0.7:
        lead = re.sub(rb"(<LeadByteCountTotal>)\d+", b"\\g<1>%d" % len(samples), lead)
        lead = re.sub(rb"(<LeadSampleCountTotal>)\d+", b"\\g<1>%d" % (len(samples) // 2), lead)
    return content[: chosen.start()] + lead + content[chosen.end() :]


def _chunk(rng: Random, content: bytes, _: bytes) -> bytes:
    """Near a name of four letters, as chunks and boxes of PNG, RIFF and MP4 have: the size before or after it, or itself."""
    found = list(re.finditer(rb"[A-Za-z0-9 ]{4}", content))
    names = [match for match in found if match[0].isalnum() or match[0].rstrip().isalnum()]
    at = rng.choice(names[: rng.choice([5, 30, len(names)])]).start()
    kind = rng.randrange(4)
    if kind == 0:
        other = rng.choice(names[:40])
        return content[:at] + other[0] + content[at + 4 :]
    size = rng.choice([0, 1, 7, 8, 9, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 8, len(content), rng.randrange(256)])
    start = at - 4 if kind == 1 and at >= 4 else at + 4 * rng.randrange(1, 6)
    return content[:start] + size.to_bytes(4, rng.choice(["big", "little"])) + content[start + 4 :]


def _png(rng: Random, content: bytes, other: bytes) -> bytes:
    """A chunk changed, left out, there twice or moved; the pixels changed below their compression."""
    chunks = _png_chunks(content)
    at = rng.randrange(len(chunks))
    kind, body = chunks[at]
    what = rng.randrange(6)
    if kind == b"IDAT" and what < 3:
        chunks[at] = (kind, zlib.compress(bytes_mutated(rng, zlib.decompress(body), other)))
    elif what == 0:
        del chunks[at]
    elif what == 1:
        chunks.insert(rng.randrange(len(chunks)), chunks[at])
    elif what == 2:
        odd = [
            (b"tRNS", b"\0\1"),
            (b"PLTE", b"\1\2\3"),
            (b"eXIf", b"II*\0\x08\0\0\0\1\0"),
            (b"acTL", b"\0\0\0\2\0\0\0\0"),
        ]
        chunks.insert(1, rng.choice([*odd, (b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6))), (b"iCCP", b"a\0\0x")]))
    else:
        chunks[at] = (kind, bytes_mutated(rng, body, other))
    return _png_file(chunks)


def _png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 8 <= len(content):
        size, kind = struct.unpack(">I4s", content[at : at + 8])
        chunks.append((kind, content[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def _png_file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _jpeg(rng: Random, content: bytes, _: bytes) -> bytes:
    """A marker's length or its segment."""
    markers = [m.start() for m in re.finditer(rb"\xff[\xc0-\xfe]", content)][:30]
    at = rng.choice(markers)
    if rng.random() < 0.3:
        return content[:at] + bytes([0xFF, rng.randrange(0xC0, 0xFF)]) + content[at + 2 :]
    start = at + rng.choice([2, 4, 5, 6, 7, 8, 9, 10])
    size = rng.choice([0, 1, 2, 3, 0xFFFF, rng.randrange(2**16)])
    return content[:start] + size.to_bytes(2, "big") + content[start + 2 :]


def _dicom(rng: Random, content: bytes, _: bytes) -> bytes:
    """An element with another value, or left out."""
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(content))
    holders = [dataset, *[item for element in dataset.iterall() if element.VR == "SQ" for item in element.value]]
    holder = rng.choice(holders)
    element = rng.choice(list(holder))
    old = element.value
    kind = rng.randrange(4)
    if kind == 0:
        del holder[element.tag]
    elif isinstance(old, bytes):
        element.value = bytes_mutated(rng, old, old)
    elif element.VR == "SQ":
        element.value = rng.choice([[], list(old)[:1], list(old) * 2])
    elif kind == 1:
        element.VR, element.value = rng.choice(
            [("LO", "x"), ("US", 65535), ("FD", float("nan")), ("DS", "1e308"), ("UN", b"x")]
        )
    else:
        numbers = [0, -1, 1, 65535, 2**31, float("nan"), float("inf"), 1e308]
        element.value = rng.choice(
            [None, "", rng.choice(numbers), str(rng.choice(numbers)), [old, old], extreme_number(rng)]
        )
    made = io.BytesIO()
    dataset.save_as(made)
    return made.getvalue()


def _signed_scp(content: bytes) -> bytes:
    """The CRC of every section and of the whole file, as far as the sections go."""
    changed, at = bytearray(content), 6
    while at + 16 <= len(changed):
        size = int.from_bytes(changed[at + 4 : at + 8], "little")
        if size < 16 or at + size > len(changed):
            break
        changed[at : at + 2] = crc_hqx(bytes(changed[at + 2 : at + size]), 0xFFFF).to_bytes(2, "little")
        at += size
    changed[:2] = crc_hqx(bytes(changed[2:]), 0xFFFF).to_bytes(2, "little")
    return bytes(changed)


def _scp(rng: Random, content: bytes, other: bytes) -> bytes:
    """Within one section, whose length stays."""
    starts, at = [], 6
    while at + 16 <= len(content):
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        starts.append((at, size))
        at += max(size, 16)
    start, size = rng.choice(starts)
    body = bytes_mutated(rng, content[start + 16 : start + size], other)[: size - 16].ljust(size - 16, b"\0")
    return content[: start + 16] + body + content[start + size :]


def _sets(rng: Random, content: bytes, other: bytes) -> bytes:
    """Lines of `--set`: a value of one key for another, an odd value, an odd key."""
    lines = content.decode("utf-8", "replace").splitlines()
    at = rng.randrange(len(lines))
    key, _, value = lines[at].partition("=")
    odd = ["[1, 2]", "{a: 1}", "null", ".nan", ".inf", "-1", "0", "1e400", "2**3", "!!python/name:os.system", "*x", "'"]
    kind = rng.randrange(4)
    if kind == 0:
        value = rng.choice(lines).partition("=")[2]
    elif kind == 1:
        value = rng.choice([*odd, extreme_number(rng), *WORDS])
    elif kind == 2:
        key = rng.choice(
            [key + ".x", key.rpartition(".")[0], "." + key, key.replace(".", ".."), rng.choice(WORDS), "x"]
        )
    else:
        key = f"{key.rpartition('.')[0]}.kind" if "." in key else "kind"
        value = rng.choice(
            ["ecg", "images", "cells", "series", "video", "paired", "next_embedding", "spans", "blocks", "tubes"]
        )
    lines[at] = f"{key}={value}"
    return "\n".join(lines).encode("utf-8", "surrogatepass")


_ZIPS = [_zip]
KNOWN: dict[str, list[Mutation]] = {
    ".npz": _ZIPS,
    ".npy": [_npy],
    ".gz": [_gzip],
    ".tar.gz": [_tar, _gzip],
    ".pt": [_torch, _zip],
    ".bin": [_torch, _zip],
    ".pth.tar": [_torch, _zip],
    ".ckpt": [_torch, _zip],
    ".pth": [_torch, _zip],
    ".meta": [_pickle],
    "test_batch": [_pickle],
    **{f"data_batch_{n}": [_pickle] for n in range(1, 6)},
    "train": [_pickle],
    "test": [_pickle],
    "meta": [_pickle],
    ".safetensors": [_safetensors],
    ".json": [_json],
    ".yaml": [_yaml, _yaml, _yaml_text],
    ".csv": [_table],
    ".tsv": [_table],
    ".parquet": [_parquet],
    ".h5ad": [_hdf5],
    ".hdf5": [_hdf5],
    ".xml": [_xml],
    ".png": [_png, _chunk],
    ".jpg": [_jpeg],
    ".webp": [_chunk],
    ".mp4": [_chunk],
    ".avi": [_chunk],
    ".mkv": [],
    ".dcm": [_dicom],
    ".scp": [_scp],
    ".sets": [_sets],
}
REPAIRS: dict[str, Callable[[bytes], bytes]] = {
    ".png": lambda content: _png_file(_png_chunks(content)),
    ".scp": _signed_scp,
}
