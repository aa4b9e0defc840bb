"""Diagnose a model: the signs of collapse on some records, and a verdict in words."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from torch import Tensor

from anyjepa.data.dataset import Dataset
from anyjepa.data.modalities import evaluation_data, training_data
from anyjepa.data.records import Records, as_paths
from anyjepa.data.samples import Samples
from anyjepa.diagnostics.attention import attention_signs
from anyjepa.diagnostics.collapse import collapse_metrics
from anyjepa.diagnostics.inputs import input_signs
from anyjepa.diagnostics.prediction import cosine
from anyjepa.diagnostics.signs import sign_of
from anyjepa.diagnostics.spectrum import lidar
from anyjepa.diagnostics.verdict import Verdict, verdict_of
from anyjepa.errors import DataWarning, InputError
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.vit import ViT
from anyjepa.objectives.base import Objective, Weights
from anyjepa.objectives.batch import Batch
from anyjepa.randomness import generator
from anyjepa.runs.folder import Run
from anyjepa.runs.model import Model, run_and_model
from anyjepa.runs.place_pictures import batch_of_pairs
from anyjepa.runs.verdict import training_verdict
from anyjepa.torch_defaults import torch_defaults
from anyjepa.training.monitor import SLOW, examined_signs, zero_weights
from anyjepa.weights.objective import load_objective

CHUNK, VIEWS, LEAST = 16, 4, 8  # samples per forward, views of a sample for LiDAR, fewest records


@dataclass(frozen=True)
class Diagnosis:
    """Signs by name, and the verdicts on them and on the log of the run, if it is one."""

    model: str
    records: int
    signs: dict[str, float]
    verdict: Verdict
    training: Verdict | None = None

    @property
    def healthy(self) -> bool:
        """Whether neither the model nor its log has a fault."""
        return self.verdict.healthy and (self.training is None or not self.training.findings)

    def plain(self) -> dict[str, Any]:
        """For JSON, which has no NaN."""
        signs = {name: value if math.isfinite(value) else None for name, value in self.signs.items()}
        verdicts = {"verdict": self.verdict, "training": self.training}
        faults = {name: None if one is None else [vars(f) for f in one.findings] for name, one in verdicts.items()}
        return {"model": self.model, "records": self.records, "healthy": self.healthy, "signs": signs, **faults}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table("sign", "value", "meaning", title=f"{self.model} on {self.records} records", title_justify="left")
        for name, value in self.signs.items():
            sign = sign_of(name)
            table.add_row(name, f"{value:.4g}", f"{sign.meaning} {sign.source}".strip() if sign else "")
        yield table
        yield f"verdict: {self.verdict}"
        if self.training is not None:
            yield f"training log: {self.training}"


@torch_defaults()
def diagnose(
    model: str | Path | Run | Model,
    data: Any = (),
    *,
    samples: int = 200,
    weights: Weights | None = None,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
) -> Diagnosis:
    """Measure signs of collapse of a model, and give a verdict.

    model: a run, a run or model folder, a Hugging Face id, or a loaded model.
    data: files or folders, or records in memory as for `pretrain`. Default for a run: the simulated data set of its
        recipe.
    samples: number of records to use, evenly spaced.
    weights, fs, leads, unit: see `embed`.

    Signs that need the predictor are missing if the model has none. Raises InputError for data that cannot be used, and
    for fewer than 8 records.
    """
    run, loaded = run_and_model(model, weights)
    options = {"fs": fs, "leads": leads, "unit": unit}
    paths = as_paths(data)
    prepared = _prepared(loaded, run, data, paths, options)
    chosen = np.unique(np.linspace(0, len(prepared) - 1, min(samples, len(prepared))).round().astype(int))
    if len(chosen) < LEAST:
        raise InputError(f"diagnose: needs at least {LEAST} records, got {len(chosen)}")
    x, start = _inputs(loaded, prepared, chosen)
    signs = _encoder_signs(loaded.loaded.weights, loaded.encoder, x, start)
    if (objective := load_objective(loaded.loaded)) is not None:
        objective = objective.to(next(loaded.encoder.parameters()).device)
        signs |= _objective_signs(objective, x, start, _pairs(objective, run, paths, chosen))
    settings = {"objective": loaded.loaded.config.objective.model_dump(mode="json")}
    training = None if run is None else training_verdict(run)
    made = loaded.loaded.config.provenance
    verdict = verdict_of([signs], settings, None if made.start else made.steps)  # steps before the start are unknown
    return Diagnosis(str(run.folder if run else loaded.loaded.folder), len(x), signs, verdict, training)


def _prepared(model: Model, run: Run | None, data: Any, paths: list[Path] | None, options: dict[str, Any]) -> Samples:
    if paths is None:
        records = Records.of(data)
        return model.prepared(records.raw, **options)
    if not paths and run is None:
        raise InputError("diagnose: a model folder needs --data; only the recipe of a run has simulated data")
    if run is not None and not paths and (origin := run.environment()["data"]["paths"]) != ["embedded"]:
        message = f"pretrained on {', '.join(origin)}, but diagnosed on simulated data; pass other data with --data"
        warnings.warn(DataWarning(message), stacklevel=4)
    dataset = evaluation_data(model.preprocessing, paths, run.recipe.data if run else None, "raise", options)
    return dataset.without_short(model.encoder.config.patch[0], "raise")


def _inputs(model: Model, samples: Samples, chosen: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """The middle of each record, as long as the model's input or the shortest record: (B, C, *samples), (B,) starts."""
    records = [samples[int(place)] for place in chosen]
    patch = model.encoder.config.patch[0]
    shortest = min(record.shape[1] for record in records)
    length = min(model.preprocessing.size[0], max(1, shortest // patch) * patch)
    starts = [(record.shape[1] - length) // 2 for record in records]
    x = np.stack([record[:, start : start + length] for record, start in zip(records, starts, strict=True)])
    device = next(model.encoder.parameters()).device
    start = torch.tensor(starts, dtype=torch.float32, device=device) / patch if model.preprocessing.absolute else None
    return torch.as_tensor(x, dtype=torch.float32, device=device), start


@torch.inference_mode()
def _encoder_signs(name: str, encoder: Encoder, x: Tensor, start: Tensor | None) -> dict[str, float]:
    encoder.eval()
    parts = list(_chunks(x, start))
    tokens = torch.cat([encoder.features(*part)[1].float() for part in parts])
    signs = {f"{name}_{sign}": value for sign, value in collapse_metrics(tokens).items()}
    if isinstance(encoder, ViT) and tokens.shape[1] >= 2 * VIEWS:
        signs[f"{name}_lidar"] = lidar(_views(encoder, parts)).item()
    signs |= attention_signs(encoder, lambda: encoder.features(*parts[0]))
    return signs | input_signs(x) | {"zero_weights": zero_weights(encoder)}


def _views(encoder: ViT, parts: list[tuple[Tensor, Tensor | None]]) -> Tensor:
    """Mean tokens of `VIEWS` views per sample, (B, VIEWS, D). A view is a random half of the patches."""
    views = []
    for number, (x, start) in enumerate(parts):
        tokens = math.prod(encoder.grid_of(x))
        of_part = []
        for view in range(VIEWS):
            order = generator(0, "views", number * VIEWS + view).random((len(x), tokens)).argsort(1)[:, : tokens // 2]
            keep = torch.as_tensor(np.sort(order, 1), device=x.device)
            of_part.append(encoder(x, keep, start=start).padded().float().mean(1))
        views.append(torch.stack(of_part, 1))
    return torch.cat(views)


@torch.inference_mode()
def _objective_signs(objective: Objective, x: Tensor, start: Tensor | None, pairs: Batch | None) -> dict[str, float]:
    """Signs of the predictions, averaged over chunks, and of the student beside the teacher."""
    signs: dict[str, float] = {}
    encoders = objective.encoders()
    if (name := next(iter(encoders))) in SLOW:
        pair = encoders[name], objective.student
        both = [torch.cat([encoder.features(*part)[1] for part in _chunks(x, start)]) for encoder in pair]
        signs["teacher_cosine"] = cosine(*both)
        signs |= {f"student_{sign}": value for sign, value in collapse_metrics(both[1]).items()}
    if objective.pairs:
        if pairs is None:
            return signs
        batches = [pairs]
    else:
        batches = []
        for number, (part, first) in enumerate(_chunks(x, start)):
            rng = generator(0, "masks", number)
            grid = objective.student.grid_of(part)
            masks = [] if objective.masks is None else objective.masks.draw(grid, len(part), rng)
            batches.append(Batch.whole(part, [group.on(part.device) for group in masks], first))
    measured = [examined_signs(objective, batch) for batch in batches if len(batch.x) > 1]
    return signs | {name: sum(one[name] for one in measured) / len(measured) for name in (measured or [{}])[0]}


def _pairs(objective: Objective, run: Run | None, paths: list[Path] | None, chosen: np.ndarray) -> Batch | None:
    """As many pairs as records, for an objective that learns from them; None if only a run knows how to make them."""
    if not objective.pairs or run is None or paths is None:
        return None
    dataset: Dataset = training_data(run.recipe.data, paths, ())
    return batch_of_pairs(objective, dataset, chosen[chosen < len(dataset)].tolist())


def _chunks(x: Tensor, start: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    rows = [slice(first, first + CHUNK) for first in range(0, len(x), CHUNK)]
    return [(x[part], None if start is None else start[part]) for part in rows]
