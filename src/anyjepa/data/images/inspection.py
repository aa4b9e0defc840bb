"""What a set of images holds and what is wrong with it, as a dictionary and as text for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyjepa.data.images.image_set import ImageSet
from anyjepa.data.images.reading import read_images
from anyjepa.data.modality import single
from anyjepa.errors import one_line

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
        "classes": {task: _classes(images, task, split) for task in images.labels},
        "duplicates": [[images.ids[row] for row in rows] for rows in repeated],
        "duplicates_across_parts": [[images.ids[row] for row in rows] for rows in across],
        "remarks": remarks,
        "skipped": images.skipped,
    }


def render(summary: dict[str, Any], most: int = 15) -> Group:
    """The dictionary of `inspect` as a rich renderable; at most `most` classes and sizes."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def counts(table: dict[str, int]) -> str:
        shown = ", ".join(f"{name} ({count})" for name, count in list(table.items())[:most])
        return one_line(shown + (f" and {len(table) - most} more" if len(table) > most else ""))

    facts = Table("", "", show_header=False, box=None)
    facts.add_row("records", str(summary["records"]))
    facts.add_row("source", Text(one_line(summary["source"])))
    for key in ("split", "sizes", "channels"):
        facts.add_row(key, Text(counts(summary[key])))
    parts, tables = list(summary["split"]), []
    for task, classes in summary["classes"].items():
        table = Table(task, *parts, box=None)
        for name, by_part in list(classes.items())[:most]:
            table.add_row(Text(one_line(name)), *(str(by_part.get(part, 0)) for part in parts))
        if len(classes) > most:
            table.add_row(f"... and {len(classes) - most} more", "")
        tables += [table, Text()]
    wrong = [Text(one_line(remark), style="yellow") for remark in summary["remarks"]]
    for key, meaning in (
        ("duplicates_across_parts", "images are in several parts of the split: a score on them says nothing"),
        ("duplicates", "images are there more than once"),
    ):
        if groups := summary[key]:
            wrong.append(Text(f"{len(groups)} {meaning}", style="yellow"))
            wrong += [Text(one_line(f"  {' = '.join(group)}")) for group in groups[:3]]
    if summary["skipped"]:
        wrong.append(Text(f"skipped: {len(summary['skipped'])} files", style="red"))
        wrong += [Text(f"  {reason}") for reason in list(summary["skipped"].values())[:10]]
    return Group(facts, Text(), *tables, *(wrong or [Text("no problem found", style="green")]))


def _classes(images: ImageSet, task: str, split: Sequence[str]) -> dict[str, dict[str, int]]:
    names, numbers = images.labels[task]
    counts = Counter(zip(numbers.tolist(), split, strict=True))
    parts = dict.fromkeys(split)
    return {name: {part: counts[number, part] for part in parts} for number, name in enumerate(names)}
