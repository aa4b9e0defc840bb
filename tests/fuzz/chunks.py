"""Chunks, markers, elements and sections changed; checksums are right again."""

from __future__ import annotations

import io
import re
import struct
import zlib
from binascii import crc_hqx
from random import Random

from formats import knows, repairs
from mutations import bytes_mutated, extreme_number


@knows(".png", ".webp", ".mp4", ".avi")
def chunk_size(rng: Random, content: bytes, _: bytes) -> bytes:
    """Near a name of four letters, as chunks of PNG, RIFF and MP4 have: the size before or after it, or itself."""
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


@knows(".png")
def png(rng: Random, content: bytes, other: bytes) -> bytes:
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


@repairs(".png")
def with_checksums(content: bytes) -> bytes:
    return _png_file(_png_chunks(content))


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


@knows(".jpg")
def jpeg(rng: Random, content: bytes, _: bytes) -> bytes:
    """A marker's length or its segment."""
    markers = [m.start() for m in re.finditer(rb"\xff[\xc0-\xfe]", content)][:30]
    at = rng.choice(markers)
    if rng.random() < 0.3:
        return content[:at] + bytes([0xFF, rng.randrange(0xC0, 0xFF)]) + content[at + 2 :]
    start = at + rng.choice([2, 4, 5, 6, 7, 8, 9, 10])
    size = rng.choice([0, 1, 2, 3, 0xFFFF, rng.randrange(2**16)])
    return content[:start] + size.to_bytes(2, "big") + content[start + 2 :]


@knows(".dcm")
def dicom(rng: Random, content: bytes, _: bytes) -> bytes:
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


@repairs(".scp")
def signed_scp(content: bytes) -> bytes:
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


@knows(".scp")
def scp(rng: Random, content: bytes, other: bytes) -> bytes:
    """Within one section, whose length stays."""
    starts, at = [], 6
    while at + 16 <= len(content):
        size = max(16, min(int.from_bytes(content[at + 4 : at + 8], "little"), len(content) - at))
        starts.append((at, size))
        at += size
    start, size = rng.choice(starts)
    body = bytes_mutated(rng, content[start + 16 : start + size], other)[: size - 16].ljust(size - 16, b"\0")
    return content[: start + 16] + body + content[start + size :]
