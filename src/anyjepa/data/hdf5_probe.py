"""Read the structure of an HDF5 file in a separate process, which can be killed.

A damaged file can make libhdf5 crash or never return. `anyjepa.data.hdf5` runs this file as a script, so it imports
h5py and the standard library only:

    python hdf5_probe.py FILE OBJECTS BYTES

It prints one line of JSON: `{"sizes": {name: bytes in memory}}` for each data set, or `{"problem": text}`. It visits
every object, reads every attribute and every text, and lists every chunk: all that libhdf5 decodes except the
numbers themselves. OBJECTS: how many objects and attributes there may be. BYTES: where to stop counting texts.
"""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import h5py
import numpy as np
from h5py import h5d, h5l, h5o, h5z  # type: ignore[attr-defined]

DEEPEST = 32  # groups within groups; AnnData needs about five
LARGEST_ATTRIBUTE = 2**26  # bytes; column names take less than a megabyte
LARGEST_INFLATED = 256 * 10**6  # bytes that a chunk may take without being checked
BLOCK = 4096  # texts read at a time; each may be as long as the file
CHUNK_CACHE = 2**26  # bytes, so that each chunk is inflated only once
DEFLATE_RATIO = 1032  # the most that zlib can compress
COMPRESSORS = {h5z.FILTER_DEFLATE, h5z.FILTER_LZF}
FILTERS = COMPRESSORS | {h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}


class Refused(Exception):
    """The reason why a file is not read."""


def probe(path: str, objects: int, most: int) -> dict[str, int]:
    """Memory that each data set takes, in bytes. Raises Refused for unsafe files, and the errors of h5py."""
    sizes: dict[str, int] = {}
    addresses: set[int] = set()  # of data sets
    referenced: list[tuple[str, int]] = []
    count = 0
    with h5py.File(path, "r", rdcc_nbytes=CHUNK_CACHE) as file:
        for name, item in _objects(file):
            count += 1 + len(item.attrs)
            if count > objects:
                raise Refused(f"holds more than {objects} objects and attributes")
            referenced += [(name, address) for address in _references(file, name, item)]
            if isinstance(item, h5py.Dataset):
                _check_storage(name, item)
                sizes[name] = _size(item, most)
                addresses.add(_address(item))
    for name, address in referenced:
        if address not in addresses:
            raise Refused(f"'{name}' has an attribute that refers to something other than a data set")
    return sizes


def _objects(file: h5py.File) -> Iterator[tuple[str, Any]]:
    """Every object with its path, groups before their members. Raises Refused for links, loops and deep nesting."""
    yield "", file
    groups = {_address(file)}
    waiting: list[tuple[str, Any, int]] = [("", file, 0)]
    while waiting:
        path, group, depth = waiting.pop()
        for key in group:
            name = f"{path}/{key}".lstrip("/")
            if group.id.links.get_info(key.encode("utf-8", "surrogateescape")).type != h5l.TYPE_HARD:
                raise Refused(f"'{name}' is a link, which is not followed; store the data in its place")
            item = group[key]
            if isinstance(item, h5py.Group):
                if _address(item) in groups:
                    raise Refused(f"group '{name}' occurs twice, or contains itself")
                if depth == DEEPEST:
                    raise Refused(f"'{name[:60]}' is nested more than {DEEPEST} groups deep")
                groups.add(_address(item))
                waiting.append((name, item, depth + 1))
            yield name, item


def _address(item: Any) -> int:
    return h5o.get_info(item.id).addr


def _references(file: h5py.File, name: str, item: Any) -> Iterator[int]:
    """Read all attributes, and return the targets of references."""
    for key in item.attrs:
        attribute = item.attrs.get_id(key)
        size = attribute.get_space().get_simple_extent_npoints() * attribute.get_type().get_size()
        if size > LARGEST_ATTRIBUTE:
            raise Refused(f"attribute '{key}' of '{name}' takes {size} bytes")
        value = item.attrs[key]
        if isinstance(value, h5py.RegionReference):
            raise Refused(f"attribute '{key}' of '{name}' is a region reference, which is not read")
        if isinstance(value, h5py.Reference):
            yield _address(file[value])


def _check_storage(name: str, data: h5py.Dataset) -> None:
    """Raise Refused for values in other files, filters that need a plugin, and chunks that inflate too much."""
    layout = data.id.get_create_plist()
    if layout.get_layout() == h5d.VIRTUAL or layout.get_external_count():
        raise Refused(f"'{name}' stores its values in other files; store them in this one")
    filters = [layout.get_filter(place)[0] for place in range(layout.get_nfilters())]
    if unknown := [number for number in filters if number not in FILTERS]:
        raise Refused(f"'{name}' uses HDF5 filter {unknown[0]}; save it with gzip, lzf or no compression")
    if len(set(filters)) < len(filters) or len(COMPRESSORS.intersection(filters)) > 1:
        raise Refused(f"'{name}' is compressed more than once")
    if layout.get_layout() != h5d.CHUNKED or not hasattr(data.id, "chunk_iter"):  # HDF5 before 1.12.3
        return
    deflate = filters.index(h5z.FILTER_DEFLATE) if h5z.FILTER_DEFLATE in filters else None
    suspects: list[Any] = []

    def look(chunk: Any) -> None:
        packed = deflate is not None and not chunk.filter_mask & 1 << deflate
        if packed and chunk.size * DEFLATE_RATIO > LARGEST_INFLATED:
            suspects.append(chunk.chunk_offset)

    data.id.chunk_iter(look)
    whole = math.prod(data.chunks or ()) * data.id.get_type().get_size()
    for place in suspects:  # libhdf5 inflates to the end, beyond the size of a chunk
        if _inflates_beyond(data.id.read_direct_chunk(place)[1], whole):
            raise Refused(f"'{name}' has a chunk that holds more than its {whole} bytes")


def _inflates_beyond(packed: bytes, size: int) -> bool:
    inflater, inflated = zlib.decompressobj(), 0
    while packed and inflated <= size:
        inflated += len(inflater.decompress(packed, 2**20))
        packed = inflater.unconsumed_tail
    return inflated > size


def _size(data: h5py.Dataset, most: int) -> int:
    """Bytes in memory, of at least one chunk. Texts, which are stored elsewhere in the file, are read to count them."""
    values = 0 if data.shape is None else math.prod(data.shape)
    size = max(values, math.prod(data.chunks or (0,))) * data.dtype.itemsize
    if not data.dtype.hasobject or not values or size > most:
        return size
    if not data.shape:
        return size + _held(np.asarray(data[()], data.dtype))
    for start in range(0, len(data), BLOCK):
        size += _held(data[start : start + BLOCK])
        if size > most:
            break
    return size


def _held(values: np.ndarray) -> int:
    """Bytes of the objects in an array."""
    if values.dtype.names:
        return sum(_held(values[name]) for name in values.dtype.names)
    return sum(map(sys.getsizeof, values.ravel())) if values.dtype.hasobject else 0


def _bound_memory(most: int) -> None:
    """Limit the memory where the system can, so that damage that asks for terabytes ends in an error."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(path: str, objects: str, most: str) -> None:
    _bound_memory(int(most) + 2**32)
    try:
        if not h5py.is_hdf5(path):
            raise Refused("is not an HDF5 file")
        report: dict[str, Any] = {"sizes": probe(path, int(objects), int(most))}
    except Refused as error:
        report = {"problem": str(error)}
    except Exception as error:  # whatever h5py and HDF5 raise
        text = " ".join(str(error).split())[:200] or type(error).__name__
        report = {"problem": f"cannot be read as HDF5 ({'it is truncated' if 'truncated' in text else text})"}
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
