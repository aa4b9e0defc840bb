"""Damage to bytes, to text and to trees of values. Every function draws from the generator that it is given."""

from __future__ import annotations

import copy
import re
import struct
from collections.abc import Callable
from random import Random
from typing import Any

Mutation = Callable[[Random, bytes, bytes], bytes]
"""(generator, content, content of another file of the same kind) -> damaged content."""

NUMBERS = [
    *["0", "-1", "1", "2", "-0", "1.5", "1e309", "-1e309", "1e308", "1e-320", "1e39", "1e5", "100000", "10000000"],
    *["nan", "NaN", "inf", "-Infinity", "1_000", "0x10", "1e", "1,5", "٣", "²", "½", "?"],
    *["32767", "-32768", "65536", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807"],
    *["9223372036854775808", "-9223372036854775809", "18446744073709551616"],
]
WORDS = [
    "",
    " ",
    "\0",
    "null",
    "None",
    "true",
    "[]",
    "{}",
    "~",
    "../x",
    "/",
    "x" * 5000,
    "é\u202e\x1b[2J",
    "[red]x[/]",
    "NaT",
]
_NUMBER = re.compile(rb"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_]\w*")


def bytes_mutated(rng: Random, content: bytes, other: bytes) -> bytes:
    return rng.choice(BYTES)(rng, content, other)


def text_mutated(rng: Random, content: bytes, other: bytes) -> bytes:
    return rng.choice(TEXT)(rng, content, other)


def extreme_number(rng: Random) -> str:
    return rng.choice(NUMBERS) if rng.random() < 0.9 else "9" * rng.choice([20, 400, 5000])


def place(rng: Random, size: int) -> int:
    """An offset: the beginning and the end of a file, where its structure mostly is, more often than its middle."""
    reach = rng.choice([min(size, 64), min(size, 1024), size])
    at = rng.randrange(reach + 1)
    return size - at if rng.random() < 0.25 else at


def _stretch(rng: Random, size: int) -> tuple[int, int]:
    start = place(rng, size)
    return start, min(size, start + rng.choice([1, 2, 4, 8, 64, 512, rng.randrange(1, size + 2)]))


def _flip(rng: Random, content: bytes, _: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8, 32]) if content else 0):
        changed[min(place(rng, len(content)), len(content) - 1)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _fill(rng: Random, content: bytes, _: bytes) -> bytes:
    start, end = _stretch(rng, len(content))
    filling = rng.choice([b"\0", b"\xff", b"\x80", b"\x7f", None])
    return (
        content[:start] + (rng.randbytes(end - start) if filling is None else filling * (end - start)) + content[end:]
    )


def _truncate(rng: Random, content: bytes, _: bytes) -> bytes:
    return content[: place(rng, len(content))]


def _extend(rng: Random, content: bytes, _: bytes) -> bytes:
    return content + rng.choice([b"\0", rng.randbytes(16), content[:64]]) * rng.choice([1, 2, 100])


def _delete(rng: Random, content: bytes, _: bytes) -> bytes:
    start, end = _stretch(rng, len(content))
    return content[:start] + content[end:]


def _repeat(rng: Random, content: bytes, _: bytes) -> bytes:
    start, end = _stretch(rng, len(content))
    return content[:end] + content[start:end] * rng.choice([1, 1, 3, 50 if end - start < 1024 else 1]) + content[end:]


def _swap(rng: Random, content: bytes, _: bytes) -> bytes:
    a, b, c, d = sorted(place(rng, len(content)) for _ in range(4))
    return content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


def _splice(rng: Random, content: bytes, other: bytes) -> bytes:
    if rng.random() < 0.5:  # at the same place, as one file written over another
        at = place(rng, min(len(content), len(other)))
        return content[:at] + other[at:]
    return content[: place(rng, len(content))] + other[place(rng, len(other)) :]


def _field(rng: Random, content: bytes, _: bytes) -> bytes:
    """A binary number replaced by an extreme one."""
    order, width = rng.choice("<>"), rng.choice("BHIQ")
    most = 256 ** struct.calcsize(width) - 1
    value = rng.choice([0, 1, 2, most, most - 1, most // 2, most // 2 + 1, rng.randrange(256), rng.randrange(most)])
    packed = struct.pack(order + width, value)
    if rng.random() < 0.15:
        packed = struct.pack(order + rng.choice("fd"), float(rng.choice(["nan", "inf", "-inf", "1e30", "-1", "0"])))
    at = place(rng, max(0, len(content) - len(packed)))
    at -= at % rng.choice([1, 2, 4])
    return content[:at] + packed + content[at + len(packed) :]


def _empty(rng: Random, content: bytes, other: bytes) -> bytes:
    return rng.choice([b"", other, b"\0" * len(content)])


BYTES: list[Mutation] = [
    *[_flip, _fill, _field, _field, _truncate, _extend, _delete, _repeat, _swap, _splice] * 4,
    _empty,
]


def _number(rng: Random, content: bytes, _: bytes) -> bytes:
    return _replaced(rng, _NUMBER, content, extreme_number(rng))


def _word(rng: Random, content: bytes, _: bytes) -> bytes:
    words = [match[0].decode("latin-1") for match in _WORD.finditer(content[:20_000])]
    return _replaced(rng, _WORD, content, rng.choice([*WORDS, *words[:20], *rng.sample(words, min(20, len(words)))]))


def _replaced(rng: Random, pattern: re.Pattern[bytes], content: bytes, by: str) -> bytes:
    found = list(pattern.finditer(content))
    if not found:
        return content + by.encode()
    chosen = rng.choice(found[: rng.choice([10, 60, len(found)])])
    return content[: chosen.start()] + by.encode() + content[chosen.end() :]


def _lines(rng: Random, content: bytes, other: bytes) -> bytes:
    lines = content.splitlines(keepends=True) or [b""]
    at = rng.randrange(min(len(lines), rng.choice([8, len(lines)])))
    kind = rng.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(rng.randrange(len(lines) + 1), lines[at])
    elif kind == 2:
        to = rng.randrange(len(lines))
        lines[at], lines[to] = lines[to], lines[at]
    elif kind == 3:
        lines.insert(at, rng.choice(other.splitlines(keepends=True) or [b"\n"]))
    elif kind == 4:
        lines[at] = lines[at].rstrip(b"\r\n")
    else:
        lines[at] = rng.choice([b"\r", b"\n", b"#", b"\t"]) + lines[at]
    return b"".join(lines)


def _insert(rng: Random, content: bytes, _: bytes) -> bytes:
    at = place(rng, len(content))
    inserted = rng.choice([*"\0\"',;:\t\n\r\ufeff([{<&%*-.|!@#\u2028\x85\x1c", ",,", "\r\n"]).encode()
    return content[:at] + (b"\xff" if rng.random() < 0.1 else inserted) + content[at:]


def _whole(rng: Random, content: bytes, _: bytes) -> bytes:
    """The same text in another form."""
    text = content.decode("latin-1")
    forms: list[Callable[[], bytes]] = [
        lambda: text.encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content.replace(b"\n", b"\r"),
        lambda: content.replace(b"\n", b"\r\n"),
        lambda: content.replace(b",", b";"),
        content.upper,
        content.swapcase,
        lambda: content.replace(b"\n", b"\n\n"),
        lambda: b"\n" + content,
    ]
    return rng.choice(forms)()


TEXT: list[Mutation] = [
    *[_number] * 6,
    *[_word] * 4,
    *[_lines] * 4,
    *[_insert] * 3,
    _whole,
    bytes_mutated,
    bytes_mutated,
]


def tree_mutated(rng: Random, tree: Any, leaf: Callable[[Random, Any], Any] | None = None) -> Any:
    """A tree of dictionaries and lists with one node changed; `leaf` may change what is neither."""
    tree = _copied(tree)
    nodes = list(_nodes(tree))
    if not nodes:
        return _value(rng)
    holder, key = rng.choice(nodes[: rng.choice([12, len(nodes), len(nodes)])])
    old = holder[key]
    kind = rng.randrange(10)
    if kind < 5:
        if leaf is not None and not isinstance(old, (dict, list, tuple)) and rng.random() < 0.8:
            holder[key] = leaf(rng, old)
        else:
            holder[key] = _value(rng, old)
    elif kind == 5:
        del holder[key]
    elif kind == 6:
        other, place = rng.choice(nodes)
        holder[key], other[place] = other[place], old
    elif kind == 7 and isinstance(holder, dict):
        holder[rng.choice([*WORDS, f"{key}x", 3, *list(holder)])] = holder.pop(key)
    elif kind == 8 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(old))
    elif kind == 8:
        holder[rng.choice(WORDS)] = old
    else:
        holder[key] = rng.choice([[old], {"x": old}, [old] * 3, {str(key): old}])
    return tree


def _copied(tree: Any) -> Any:
    """Copies of the containers, with lists for tuples so that they can be changed."""
    if isinstance(tree, dict):
        return type(tree)((key, _copied(value)) for key, value in tree.items())
    return [_copied(value) for value in tree] if isinstance(tree, (list, tuple)) else tree


def _nodes(tree: Any) -> list[tuple[Any, Any]]:
    found = []
    keys = tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    for key in keys:
        found += [(tree, key), *_nodes(tree[key])]
    return found


def _value(rng: Random, old: Any = None) -> Any:
    deep: Any = []
    for _ in range(rng.choice([50, 1100])):
        deep = [deep]
    plain = [
        *[None, True, False, 0, -1, 1, 2, 1.5, 1e308, float("nan"), float("inf"), 1e-320, 2**31, 2**63, 2**64, 10**30],
        *[65536, 10**6, 10**9, -(2**63), "", "x", "auto", [], {}, [[]], [1, 2, 3], {"kind": "x"}, "\ud800", "1e9"],
    ]
    if rng.random() < 0.03:
        return deep
    if isinstance(old, (int, float)) and not isinstance(old, bool) and rng.random() < 0.5:
        number = rng.choice([old * 2, -old, old + 1, old - 1, float(old), str(old), old * 1000])
        return number if not isinstance(number, float) or rng.random() < 0.9 else int(min(1e18, max(-1e18, number)))
    return rng.choice([*plain, extreme_number(rng), rng.choice(WORDS)])
