"""Detect video files that are shorter than the sizes of their outermost parts."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from anyjepa.data.files import opened, regular_size

MP4_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"uuid", b"sidx", b"mfra", b"pdin")
MATROSKA = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"  # ids of the header and the segment
ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
MOST_PARTS = 100_000  # fragments of a file; later ones are not checked


def ends_early(path: Path) -> bool:
    """Whether a part of an MP4, MOV, AVI, Matroska, ASF, FLV or GIF file extends beyond the end of the file.

    False for MPEG streams, which declare no size.
    """
    size = regular_size(path)
    with opened(path) as file:
        head = file.read(16)
        ends = {b"RIFF": _riff, b"FLV\x01": _flv, b"GIF8": _gif, MATROSKA[0]: _matroska}.get(head[:4])
        ends = _asf if head == ASF else _mp4 if head[4:8] in MP4_BOXES else ends
        return ends is not None and any(end > size for end, _ in zip(ends(file), range(MOST_PARTS), strict=False))


def _mp4(file: BinaryIO) -> Iterator[int]:
    """Ends of the known boxes; cameras may append anything after them."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(16)
        if 0 < len(head) < 8:  # an incomplete head
            yield start + 8
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if head[4:8] not in MP4_BOXES or length < 8:  # 0: to the end of the file
            return
        yield (start := start + length)


def _riff(file: BinaryIO) -> Iterator[int]:
    """Ends of the chunks of an AVI file, one per GB."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(8)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or length in (0, 2**32 - 1):  # written to a pipe, size unknown
            return
        yield (start := start + 8 + length)


def _matroska(file: BinaryIO) -> Iterator[int]:
    start = 0
    for part in MATROSKA:
        file.seek(start)
        head = file.read(12)
        width = 9 - head[4].bit_length() if len(head) == 12 else 9  # bytes of the size field, from its leading zeros
        length = int.from_bytes(head[4 : 4 + width], "big") - (1 << 7 * width)
        if head[:4] != part or width > 8 or length == (1 << 7 * width) - 1:  # all ones: unknown when written
            return
        yield (start := start + 4 + width + length)


def _flv(file: BinaryIO) -> Iterator[int]:
    """The file size in the metadata that most programs write, a number of type 0."""
    head = file.read(2**16)
    if (start := head.find(b"filesize\0") + 9) >= 9 and len(head) >= start + 8:
        size = struct.unpack(">d", head[start : start + 8])[0]
        yield int(size) if 0 < size < 2**53 else 0


def _asf(file: BinaryIO) -> Iterator[int]:
    file.seek(0)
    head = file.read(2**16)
    if (start := head.find(ASF_PROPERTIES)) >= 0:
        yield int.from_bytes(head[start + 40 : start + 48], "little")


def _gif(file: BinaryIO) -> Iterator[int]:
    """End of the blocks; the last one says that no more follow."""
    file.seek(0)
    content = file.read()
    place = 13
    try:
        place += _palette(content[10])
        while content[place] in b"\x21\x2c":  # an extension, a picture
            place += 11 + _palette(content[place + 9]) if content[place] == 0x2C else 2
            while content[place]:  # parts of up to 255 bytes
                place += 1 + content[place]
            place += 1
    except IndexError:
        yield place + 1


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0
