"""A JEPA encoder of control cells only, for benchmarks in which every perturbed cell is tested in some split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from kept import kept_run

from anyjepa.data.cells.screen import Screen
from anyjepa.perturbation.methods.head import latent_head
from anyjepa.perturbation.methods.representations import all_tokens, components
from anyjepa.perturbation.scoring.effects import Fit
from anyjepa.runs.model import load

SMALL = [
    *(f"objective.encoder.{key}" for key in ("tokens=50", "dim=64", "depth=2", "heads=4", "dropout=0")),
    *(f"training.{key}" for key in ("steps=600", "batch_size=128", "checkpoint_every=600", "workers=0")),
    "training.optimiser.warmup=60",
    "data.hidden.steps=600",  # hidden genes all the way: there is no perturbed cell
    "data.split=null",
    "data.encoding.by=name",
]


def on_controls(screen: Screen, data: Path, folder: Path, edits: Sequence[str] = ()) -> Fit:
    """The head on 50 components of the tokens of an encoder that has seen no perturbed cell. A run there is taken."""
    perturbed = [screen.ids[row] for row in range(len(screen)) if screen.condition[row]]
    genes = f"data.genes={len(screen.genes)}"
    run = kept_run("perturb-jepa", data, folder, [*SMALL, genes, *edits], exclude=perturbed, progress=True)
    model = load(run.model)
    assert model.preprocessing.genes == screen.genes, "the encoder reads the screen's genes in their order"
    return lambda train: latent_head(components(train, 50, all_tokens(model.encoder)))(train)
