"""Inspect the contents of a weights file or model folder, and whether it can be used."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.weights import ecg_jepa, meta_jepa, nepa
from anyjepa.weights.folder import TENSORS, find_model, load_model, read_config
from anyjepa.weights.foreign import Converted, read_foreign
from anyjepa.weights.meta_jepa import PARTS, TITLES, layout_of
from anyjepa.weights.model import fit_parts
from anyjepa.weights.tensors import read_tensors

if TYPE_CHECKING:
    from rich.console import RenderableType

LISTED = 2000
"""Largest number of tensors in the terminal: more than published models have, and printed within a second."""


def inspect_weights(path_or_id: Path | str) -> dict[str, object]:
    """Report on a model folder or Hugging Face id, a safetensors file or a PyTorch checkpoint, as JSON values.

    Keys: path; kind; fits (None if unknown); problem (the first mismatch); importer (its name, if one is needed); step;
    parameters (number per part); tensors (name to shape and dtype); and metadata of the file.
    Raises InputError if it cannot be read.
    """
    path = Path(path_or_id)
    if not path.is_file():
        return _folder(find_model(path_or_id))
    return _safetensors(path) if path.suffix == ".safetensors" else _foreign(path)


def render(report: Mapping[str, object]) -> RenderableType:
    """The report as tables for the terminal."""
    from rich.console import Group
    from rich.table import Table

    about = Table(show_header=False, box=None)
    for key, value in report.items():
        if key == "parameters" and isinstance(value, dict):
            about.add_row(key, ", ".join(f"{part} {count:,}" for part, count in value.items()))
        elif key != "tensors" and value is not None:
            about.add_row(key, json.dumps(value) if isinstance(value, (dict, list)) else str(value))
    tensors = Table("tensor", "shape", "type")
    held = report.get("tensors")
    rows = list(held.items()) if isinstance(held, dict) else []
    for name, tensor in rows[:LISTED]:
        tensors.add_row(name, " x ".join(map(str, tensor["shape"])), tensor["dtype"])
    more = f"and {len(rows) - LISTED:,} more tensors; --json lists all" if len(rows) > LISTED else ""
    return Group(about, tensors, more)


def _folder(folder: Path) -> dict[str, object]:
    config = None if nepa.is_nepa(folder) else read_config(folder)
    tensors, _ = read_tensors(folder / TENSORS)
    if config is None:
        report = _report(folder, "official NEPA folder", tensors, None)
        return _importable(report, "nepa", lambda: nepa.convert(folder, constants=False))
    try:
        load_model(folder)
        problem = None
    except InputError as error:
        problem = str(error)
    about = config.model_dump(mode="json", exclude={"provenance"})
    return {
        **_report(folder, "anyjepa model folder", tensors, problem),
        "step": config.provenance.steps,
        "provenance": config.provenance.model_dump(mode="json"),
        **about,
    }


def _safetensors(path: Path) -> dict[str, object]:
    tensors, metadata = read_tensors(path)
    ours = "anyjepa" in metadata
    kind = "tensors of an anyjepa model folder" if ours else "safetensors of unknown origin"
    return {**_report(path, kind, tensors, None), "fits": None, "metadata": metadata}


def _foreign(path: Path) -> dict[str, object]:
    checkpoint = read_foreign(path)
    if layout := layout_of(checkpoint):
        tensors = _tensors_in({part: checkpoint[part] for part in PARTS})
        report = _report(path, f"official {TITLES[layout]} checkpoint", tensors, None)
        return _importable(report, layout, lambda: meta_jepa.convert(str(path), checkpoint, layout))
    if ecg_jepa.is_ecg_jepa(checkpoint):
        kind = "classifier" if "eval_config" in checkpoint else "pretraining checkpoint"
        report = _report(path, f"official ECG-JEPA {kind}", _tensors_in(checkpoint["model"]), None)
        return _importable(report, "ecg-jepa", lambda: ecg_jepa.convert(str(path), checkpoint))
    return {**_report(path, "PyTorch checkpoint of unknown origin", _tensors_in(checkpoint), None), "fits": None}


def _importable(report: dict[str, object], importer: str, convert: Callable[[], Converted]) -> dict[str, object]:
    """Add to the report whether the importer can convert the file."""
    report["importer"] = importer
    try:
        made = convert()
        fit_parts(str(report["path"]), made.config, made.tensors)
    except InputError as error:
        return report | {"fits": False, "problem": str(error)}
    config = made.config
    return report | {"step": config.provenance.steps, "config": config.objective.model_dump(mode="json")}


def _report(path: Path, kind: str, tensors: Mapping[str, Tensor], problem: str | None) -> dict[str, object]:
    parameters: dict[str, int] = {}
    for name, tensor in tensors.items():
        part = name.partition(".")[0]
        parameters[part] = parameters.get(part, 0) + tensor.numel()
    shapes = {n: {"shape": list(t.shape), "dtype": str(t.dtype).removeprefix("torch.")} for n, t in tensors.items()}
    return {
        "path": str(path),
        "kind": kind,
        "fits": problem is None,
        "problem": problem,
        "importer": None,
        "step": None,
        "parameters": parameters,
        "tensors": shapes,
    }


def _tensors_in(value: object, prefix: str = "") -> dict[str, Tensor]:
    """Tensors of nested dictionaries, with names joined by dots."""
    if isinstance(value, Tensor):
        return {prefix: value}
    tensors: dict[str, Tensor] = {}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            tensors |= _tensors_in(inner, f"{prefix}.{key}" if prefix else str(key))
    return tensors
