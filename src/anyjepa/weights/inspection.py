"""Inspect the contents of a weights file or model folder, and whether it can be used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from anyjepa.errors import InputError
from anyjepa.weights.folder import TENSORS, find_model, is_foreign, load_model, read_config
from anyjepa.weights.importers import Options, recognised
from anyjepa.weights.model import fit_parts
from anyjepa.weights.source import Source, find_source, tensors_in
from anyjepa.weights.tensors import read_tensors

if TYPE_CHECKING:
    from rich.console import RenderableType

LISTED = 2000
"""Largest number of tensors in the terminal: more than published models have, and printed within a second."""


def inspect_weights(path_or_id: Path | str) -> dict[str, object]:
    """Describe a model folder, a Hugging Face id, or weights of another program, as JSON values.

    Keys: path; kind; fits (None if unknown); problem (the first mismatch); importer (the published layout, if it is
    one); step; parameters (number per part); tensors (name to shape and dtype); and metadata of the file.
    Raises InputError if it cannot be read.
    """
    path = Path(path_or_id)
    if path.is_file():
        return _safetensors(path) if path.suffix == ".safetensors" else _foreign(find_source(path))
    folder = find_model(path_or_id)
    return _foreign(find_source(folder)) if is_foreign(folder) else _folder(folder)


def render(report: Mapping[str, object]) -> RenderableType:
    """Format the report as tables for the terminal."""
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
    config = read_config(folder)
    tensors, _ = read_tensors(folder / TENSORS)
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
    if "anyjepa" not in metadata:
        return _foreign(find_source(path)) | {"metadata": metadata}
    report = _report(path, "tensors of an anyjepa model folder", tensors, None)
    return report | {"fits": None, "metadata": metadata}


def _foreign(source: Source) -> dict[str, object]:
    path = Path(source.where)
    try:
        importer = recognised(source)
    except InputError:
        return _report(path, "weights of unknown origin", tensors_in(source.content), None) | {"fits": None}
    report = _report(path, f"published weights: {importer.name}", tensors_in(importer.networks(source)), None)
    report["importer"] = importer.name
    try:
        made = importer.convert(source, Options(constants=False))
        fit_parts(source.where, made.config, made.tensors)
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
