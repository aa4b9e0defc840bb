"""Summarise a set of images and its problems, as a dictionary and as text for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyjepa.data.images.reading import read_images
from anyjepa.data.modality import single
from anyjepa.data.summary import by_part, rendered

if TYPE_CHECKING:
    from rich.console import Group


def inspect(paths: Sequence[Path | str]) -> dict[str, Any]:
    """Decode every image of one set and describe it; files that cannot be read are listed as skipped.

    JSON-able: records (count), ids, source, split, sizes ('WIDTHxHEIGHT') and channels (counts), classes (for each task
    the counts of each class, by part of the split), duplicates (ids with the same pixels: all groups, and those with
    ids in several parts), remarks (files that are not read, or look wrong), skipped.
    """
    remarks: list[str] = []
    images = read_images(single(paths, "set of images"), on_error="skip", remarks=remarks)
    sizes, channels, same = Counter[str](), Counter[str](), dict[bytes, list[int]]()
    for row in range(len(images.ids)):
        image = images.images[row]
        sizes[f"{image.shape[1]}x{image.shape[0]}"] += 1
        channels[str(image.shape[2])] += 1
        digest = blake2b(image.tobytes(), digest_size=16, person=repr(image.shape).encode()[:16]).digest()
        same.setdefault(digest, []).append(row)
    split = images.split or ("all",) * len(images.ids)
    repeated = [rows for rows in same.values() if len(rows) > 1]
    across = [rows for rows in repeated if len({split[row] for row in rows}) > 1]
    return {
        "records": len(images.ids),
        "ids": list(images.ids),
        "source": images.name,
        "split": dict(Counter(split)),
        "sizes": dict(sizes.most_common()),
        "channels": dict(channels.most_common()),
        "classes": {
            task: by_part([names[number] for number in numbers], split, names)
            for task, (names, numbers) in images.labels.items()
        },
        "duplicates": [[images.ids[row] for row in rows] for rows in repeated],
        "duplicates_across_parts": [[images.ids[row] for row in rows] for rows in across],
        "remarks": remarks,
        "skipped": images.skipped,
    }


def render(summary: dict[str, Any]) -> Group:
    """The dictionary of `inspect` as a rich renderable."""
    problems = list(summary["remarks"])
    for key, meaning in (
        ("duplicates_across_parts", "images are in several parts of the split: a score on them says nothing"),
        ("duplicates", "images are there more than once"),
    ):
        if groups := summary[key]:
            problems += [f"{len(groups)} {meaning}", *(f"  {' = '.join(group)}" for group in groups[:3])]
    facts = {key: summary[key] for key in ("records", "source", "split", "sizes", "channels")}
    return rendered(facts, summary["classes"], problems, summary["skipped"])
