"""The model card: README.md of a model folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from anyjepa.errors import printable
from anyjepa.weights.model import ModelConfig

WEIGHTS = {
    "teacher": "the EMA teacher's (`student.safetensors` holds the student's, where it was kept)",
    "average": "an average over the steps of training (`student.safetensors` holds the last step's, where it was kept)",
    "target": "of the encoder that saw whole inputs (`student.safetensors` holds the other one, where it was kept)",
    "student": "the student's; this model has no teacher",
    "fine-tuned": "fine-tuned together with the classifier head",
}

RAW = {  # by kind of data: what `embed` takes, and its layout
    "ecg": ('signals, fs=500, leads=leads, unit="mV"', "(records, leads, samples) as recorded"),
    "images": ("images", "(images, height, width, channels) uint8, or a list of images of any size"),
    "video": ("videos", "(videos, frames, height, width, channels) uint8, or a list of videos of any length and size"),
    "series": ("series", "(series, channels, samples) as recorded, or a list of series of any length"),
    "cells": ("adata", "AnnData with the model's genes, or log1p expression (cells, genes) in its order"),
}
MARKS = re.compile(r"([\\`*\[\]|#~$]|(?<!\w)_|_(?!\w)|:(?=//))")  # characters with a meaning in Markdown
LISTED = 24  # entries of a list that are written out


def model_card(
    name: str, config: ModelConfig, preprocessing: Mapping[str, object], parameters: Mapping[str, int]
) -> str:
    """Markdown. parameters: their number in each part."""
    encoder, made = config.objective.encoder, config.provenance
    rows = [
        ("weights", f"the encoder's are {WEIGHTS[config.weights]}"),
        ("parameters", ", ".join(f"{part} {count:,}" for part, count in parameters.items())),
        *(_cells(config) if preprocessing.get("kind") == "cells" else _signals(config)),
        ("encoder", f"width {encoder.dim}, {encoder.depth} blocks, {encoder.heads} heads"),
        ("trained on", _text(made.data)),
        ("optimiser steps", "unknown" if made.steps is None else f"{made.steps:,}"),
        *([("recipe", _text(made.recipe))] if made.recipe else []),
        *([("imported from", _text(made.origin))] if made.origin else []),
        ("written by", f"anyjepa {_text(config.anyjepa)}"),
    ]
    if config.classifier is not None:
        kind = "exactly one applies" if config.classifier.exclusive else "each on its own"
        rows.append(("classes", f"{_text(', '.join(config.classifier.classes))} ({kind})"))
        if config.classifier.thresholds is not None:
            rows.append(("thresholds", _plain(config.classifier.thresholds)))
    return "\n".join(
        [
            "---\nlibrary_name: anyjepa\ntags: [self-supervised, jepa]\n---",
            f"# {_text(name)}\n",
            "An encoder pretrained by predicting representations of hidden tokens (joint-embedding predictive).\n",
            *_table(rows),
            "\n## Preprocessing\n\nThe input is prepared as `preprocessing.json` says:\n",
            *_table([(_text(key), _text(_plain(value))) for key, value in preprocessing.items()]),
            "\n## Use\n",
            *_usage(name, preprocessing, config.classifier is not None),
            "\n## Limits\n",
            *(f"- {_text(note)}" for note in made.notes),
            "- Inputs with another rate, unit, order of channels or scale give meaningless results, without an error.",
            "- It knows its training data; nothing here says how well it does on others. Evaluate it on yours.",
            *(["- It is not a medical device."] if preprocessing.get("kind") == "ecg" else []),
            "",
        ]
    )


def _signals(config: ModelConfig) -> list[tuple[str, str]]:
    size, patch = (" x ".join(map(str, lengths)) for lengths in (config.size, config.objective.encoder.patch))
    return [
        ("input", f"{config.channels} channels, {size} samples; shorter inputs are allowed in whole patches"),
        ("token", f"{patch} samples of all channels"),
    ]


def _cells(config: ModelConfig) -> list[tuple[str, str]]:
    return [("input", f"{config.size[0]} genes of a cell, all of them, in the order of `preprocessing.json`")]


def _usage(name: str, preprocessing: Mapping[str, object], classifier: bool) -> list[str]:
    given, layout = RAW.get(str(preprocessing.get("kind")), ("", ""))
    if not given:
        call = "tokens = model.encode(x)  # (B, C, *samples), already prepared, to (B, N, D)"
    elif classifier:
        call = f"found = model.predict_classes({given})  # found.table() has one row each"
    else:
        call = f"vectors = model.embed({given})  # {layout}"
    return [
        "```python",
        "import anyjepa",
        f"model = anyjepa.load({json.dumps(name, ensure_ascii=not name.isprintable())})",
        call,
        "```",
    ]


def _table(rows: list[tuple[str, str]]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)]


def _text(text: str) -> str:
    """Untrusted text as one line of Markdown that shows it literally, without markup, HTML or links."""
    marked = MARKS.sub(r"\\\1", printable(" ".join(text.split())))
    return marked.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(value: object) -> str:
    if isinstance(value, (list, tuple)):
        more = f" ... ({len(value)})" if len(value) > LISTED else ""
        return ", ".join(map(_plain, value[:LISTED])) + more
    if isinstance(value, Mapping):
        return ", ".join(value) or "None"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
