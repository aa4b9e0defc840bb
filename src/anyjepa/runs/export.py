"""Export a model as one graph from raw records to embeddings and class probabilities, for use without anyjepa."""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
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
from anyjepa.parts import is_own, place
from anyjepa.runs.model import Model, run_and_model
from anyjepa.torch_defaults import torch_defaults
from anyjepa.writing import replacing

SUFFIXES = (".onnx", ".pt2")
TOLERANCE = 1e-4
INT8_TOLERANCE = 0.1
"""Of embeddings with int8, relative to their length. What this does to probabilities depends on the head."""


@torch_defaults()
def export(
    model: str | Path | Model,
    output: Path,
    *,
    weights: Weights | None = None,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    int8: bool = False,
) -> Path:
    """Write a model as .onnx (ONNX) or .pt2 (`torch.export`), and next to it NAME.golden.npz to check other runtimes.

    The graph takes raw records, in batches of any size, and gives `embedding` (B, D) and, for a classifier,
    `probabilities` (B, C) and `decisions`. The file describes its input and its classes in metadata under the key
    'anyjepa', as JSON. fs, leads, unit: of ECGs; by default those of the model and mV. int8: linear layers of the
    encoder have weights of 8 bits, and their inputs are rounded to 8 bits when the graph runs (ONNX only); golden
    outputs are those before rounding. An ONNX file is checked in onnxruntime. Raises InputError for a model that cannot
    be exported.
    """
    if output.suffix not in SUFFIXES:
        raise InputError(f"{output}: models are exported as {', '.join(SUFFIXES)}")
    if int8 and output.suffix != ".onnx":
        raise InputError(f"{output}: int8 is for .onnx files only")
    _, loaded = run_and_model(model, weights, device="cpu")
    classifier = loaded.loaded.config.classifier
    if classifier is not None and classifier.joint:
        raise InputError("export: the classifier reads all windows of a record at once, which a graph cannot")
    longest = (classifier and classifier.window) or loaded.preprocessing.size[0]
    patch = loaded.encoder.config.patch[0]
    source = graph_of(loaded.preprocessing, patch, longest, {"fs": fs, "leads": leads, "unit": unit})
    network = Graph(loaded, source).cpu().eval()
    names = {0: torch.export.Dim("batch", min=1, max=65536)}
    names |= {axis: torch.export.Dim(name, min=low, max=high) for axis, (name, low, high) in source.axes.items()}
    own = [part.config.kind for part in (loaded.encoder, loaded.head) if part and is_own(type(part.config))]
    with _quiet(), torch.no_grad(), _naming(own):
        program = torch.export.export(
            network, (source.example,), dynamic_shapes=(names,), prefer_deferred_runtime_asserts_over_guards=True
        )
        expected = dict(zip(network.outputs, network(source.example), strict=True))
    precision = {"precision": "int8", "tolerance": INT8_TOLERANCE} if int8 else {}
    about = json.dumps(_about(loaded, source) | precision)
    if output.suffix == ".pt2":
        with replacing(output) as new:
            torch.export.save(program, new, extra_files={"anyjepa.json": about})
    else:
        with _naming(own):
            _write_onnx(output, program, about, source.example, expected, int8)
    golden = {"input": source.example.numpy(), **{name: value.numpy() for name, value in expected.items()}}
    with replacing(output.with_suffix(".golden.npz")) as new:
        np.savez_compressed(new, **golden)  # pyright: ignore[reportArgumentType]
    return output


@contextmanager
def _naming(own: Sequence[str]) -> Iterator[None]:
    """Turn what PyTorch says of a network with parts of the user into an InputError that names these parts."""
    try:
        yield
    except Exception as error:
        if not own or isinstance(error, (InputError, OSError)):  # an OSError is about the file, such as a full disk
            raise
        raise InputError(f"export: {' and '.join(own)} cannot be exported: {place(error)}{reason(error)}") from error


class Graph(nn.Module):
    """Raw records (B, ...) to embeddings and, with a classifier, probabilities and decisions."""

    thresholds: Tensor

    def __init__(self, model: Model, source: GraphInput):
        super().__init__()
        self.prepare = source.prepare
        self.encoder, self.head = copy.deepcopy(model.encoder), copy.deepcopy(model.head)
        classifier = model.loaded.config.classifier
        self.exclusive = classifier is not None and classifier.exclusive
        self.outputs = ["embedding"]
        if classifier is not None:
            self.outputs += ["probabilities"] if self.exclusive else ["probabilities", "decisions"]
            self.register_buffer("thresholds", torch.tensor(classifier.thresholds or [0.5] * len(classifier.classes)))
        config = self.encoder.config
        self.multiple = config.multiple if len(config.patch) == 1 else 1
        if len(config.patch) == 1 and isinstance(self.encoder, ViT) and self.encoder.positions is not None:
            self.encoder.positions = _Beginning(self.encoder.positions(self.encoder.grid))  # type: ignore[assignment]

    def forward(self, raw: Tensor) -> tuple[Tensor, ...]:
        x = self.prepare(raw)
        if self.multiple > 1:  # without an incomplete last token
            x = x.unfold(-1, self.multiple, self.multiple).flatten(-2)
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
        return self.table[: prod(grid)]


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
    output: Path, program: Any, about: str, example: Tensor, expected: dict[str, Tensor], int8: bool
) -> None:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError("export to ONNX needs packages: pip install 'anyjepa[export]'") from error
    names = list(expected)
    with _quiet():
        made = torch.onnx.export(program, dynamo=True, input_names=["input"], output_names=names, verbose=False)
    assert made is not None
    made.model.metadata_props["anyjepa"] = about
    with replacing(output) as new:
        if int8:
            _quantise(output, made.model_proto, new)
        else:
            made.save(new, external_data=False)
        computed = onnxruntime.InferenceSession(new).run(names, {"input": example.numpy()})
        for name, value in zip(names, computed, strict=True):
            if name == "decisions" or (int8 and name == "probabilities"):
                continue
            theirs = expected[name].double().numpy()
            off = np.abs(np.asarray(value, float) - theirs)
            if int8:
                off = np.linalg.norm(off, axis=1) / np.linalg.norm(theirs, axis=1)
            if not off.max() <= (INT8_TOLERANCE if int8 else TOLERANCE):
                fix = "export without --int8" if int8 else "export as .pt2 instead"
                raise InputError(f"{output}: onnxruntime's {name} differs by {off.max():.2g}; {fix}")


def _quantise(output: Path, graph: Any, new: Path) -> None:
    """Write a graph with weights of 8 bits, one scale per output, in the linear layers of the encoder.

    Weights are unsigned, because sums of products with signed ones overflow on x86 processors without VNNI.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.quantize import quantize_dynamic

    matrices = {one.name for one in graph.graph.initializer if one.name.startswith("encoder.") and len(one.dims) == 2}
    multiply = [node for node in graph.graph.node if node.op_type in ("MatMul", "Gemm")]
    others = [node.name for node in multiply if matrices.isdisjoint(node.input)]
    if len(others) == len(multiply):
        raise InputError(f"{output}: the encoder has no linear layers, which int8 is for; export without --int8")
    spared = [*others, *(f"{name}_MatMul" for name in others)]  # new name of a Gemm
    how = {"op_types_to_quantize": ["MatMul"], "nodes_to_exclude": spared, "per_channel": True}
    with _quiet():
        quantize_dynamic(graph, new, weight_type=QuantType.QUInt8, **how)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without warnings of torch.onnx about its own future and of packages that it misses."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.disable(before)
