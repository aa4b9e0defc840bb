"""Export a model as one graph from raw records to embeddings and class probabilities, for use without anyjepa."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from anyjepa import __version__
from anyjepa.data.graph import GraphInput
from anyjepa.data.modalities import graph_of, modality_of
from anyjepa.errors import InputError, reason
from anyjepa.nn.vit import ViT
from anyjepa.objectives.base import Weights
from anyjepa.runs.model import Model, load
from anyjepa.torch_defaults import torch_defaults
from anyjepa.writing import replacing

SUFFIXES = (".onnx", ".pt2")
TOLERANCE = 1e-4


@torch_defaults()
def export(
    model: str | Path | Model,
    output: Path,
    *,
    weights: Weights | None = None,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> Path:
    """Write a model as .onnx (ONNX) or .pt2 (`torch.export`), and next to it NAME.golden.npz to check other runtimes.

    The graph takes raw records, in batches of any size, and gives `embedding` (B, D) and, for a classifier,
    `probabilities` (B, C) and `decisions`. The file describes its input and its classes in metadata under the key
    'anyjepa', as JSON. fs, leads, unit: of ECGs; by default those of the model and mV. An ONNX file is checked in
    onnxruntime. Raises InputError for a model that cannot be exported.
    """
    if output.suffix not in SUFFIXES:
        raise InputError(f"{output}: models are exported as {', '.join(SUFFIXES)}")
    loaded = model if isinstance(model, Model) else load(model, weights, device="cpu")
    classifier = loaded.loaded.config.classifier
    if classifier is not None and classifier.joint:
        raise InputError("export: the classifier reads all windows of a record at once, which a graph cannot")
    longest = (classifier and classifier.window) or loaded.preprocessing.size[0]
    patch = loaded.encoder.config.patch[0]
    source = graph_of(loaded.preprocessing, patch, longest, {"fs": fs, "leads": leads, "unit": unit})
    network = Graph(loaded, source).eval()
    names = {0: torch.export.Dim("batch", min=1, max=65536)}
    names |= {axis: torch.export.Dim(name, min=low, max=high) for axis, (name, low, high) in source.axes.items()}
    with warnings.catch_warnings(action="ignore"), torch.no_grad():  # of torch.onnx about its own future
        program = torch.export.export(
            network, (source.example,), dynamic_shapes=(names,), prefer_deferred_runtime_asserts_over_guards=True
        )
        expected = dict(zip(network.outputs, network(source.example), strict=True))
    about = json.dumps(_about(loaded, source))
    if output.suffix == ".pt2":
        with replacing(output) as new:
            torch.export.save(program, new, extra_files={"anyjepa.json": about})
    else:
        _write_onnx(output, program, network.outputs, about, source.example, expected)
    golden = {"input": source.example.numpy(), **{name: value.numpy() for name, value in expected.items()}}
    with replacing(output.with_suffix(".golden.npz")) as new:
        np.savez_compressed(new, **golden)  # pyright: ignore[reportArgumentType]
    return output


class Graph(nn.Module):
    """Raw records (B, ...) to embeddings and, with a classifier, probabilities and decisions."""

    thresholds: Tensor

    def __init__(self, model: Model, source: GraphInput):
        super().__init__()
        self.prepare, self.encoder, self.head = source.prepare, copy.deepcopy(model.encoder).cpu(), model.head
        classifier = model.loaded.config.classifier
        self.exclusive = classifier is not None and classifier.exclusive
        self.outputs = ["embedding"]
        if classifier is not None:
            self.outputs += ["probabilities"] if self.exclusive else ["probabilities", "decisions"]
            self.register_buffer("thresholds", torch.tensor(classifier.thresholds or [0.5] * len(classifier.classes)))
        self.patch = self.encoder.config.patch if len(self.encoder.config.patch) == 1 else None
        if self.patch and isinstance(self.encoder, ViT) and self.encoder.positions is not None:
            self.encoder.positions = _Beginning(self.encoder.positions(self.encoder.grid))  # type: ignore[assignment]

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        x = self.prepare(raw)
        if self.patch:  # without an incomplete last token
            x = x.unfold(-1, self.patch[0], self.patch[0]).flatten(-2)
        prefix, patches = self.encoder.features(x)
        embedding = patches.mean(1)
        if self.head is None:
            return (embedding,)
        logits = self.head(prefix, patches)
        if self.exclusive:
            return embedding, logits.softmax(-1)
        probabilities = logits.sigmoid()
        return embedding, probabilities, probabilities >= self.thresholds


class _Beginning(nn.Module):
    """Positions of a series of tokens, which may be shorter than the table."""

    table: Tensor

    def __init__(self, table: Tensor):
        super().__init__()
        self.register_buffer("table", table.detach())

    def forward(self, grid: Sequence[int], start: Tensor | None = None) -> Tensor:
        return self.table[: grid[0]]


def _about(model: Model, source: GraphInput) -> dict[str, Any]:
    config = model.loaded.config
    fields, classifier = {"classes", "exclusive", "thresholds"}, config.classifier
    classes = {} if classifier is None else classifier.model_dump(include=fields)
    return {
        "anyjepa": __version__,
        "kind": modality_of(model.preprocessing).kind,
        "input": source.layout,
        "axes": {name: [low, high] for name, low, high in source.axes.values()},
        **source.about,
        **classes,
        "weights": model.loaded.weights,
        "trained_on": config.provenance.data,
        "steps": config.provenance.steps,
    }


def _write_onnx(
    output: Path, program: Any, outputs: Sequence[str], about: str, example: Tensor, expected: dict[str, Tensor]
) -> None:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError("export to ONNX needs packages: pip install 'anyjepa[export]'") from error
    with warnings.catch_warnings(action="ignore"):
        made = torch.onnx.export(program, dynamo=True, input_names=["input"], output_names=list(outputs), verbose=False)
    assert made is not None
    made.model.metadata_props["anyjepa"] = about
    with replacing(output) as new:
        made.save(new, external_data=False)
        computed = onnxruntime.InferenceSession(new).run(list(outputs), {"input": example.numpy()})
        for name, value in zip(outputs, computed, strict=True):
            off = np.abs(np.asarray(value, float) - expected[name].double().numpy()).max()
            if name != "decisions" and not off <= TOLERANCE:
                raise InputError(f"{output}: onnxruntime's {name} differs by {reason(off)}; export as .pt2 instead")
