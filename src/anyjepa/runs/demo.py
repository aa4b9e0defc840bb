"""The demonstration: everything from raw signals to a judged encoder, on simulated ECGs."""

from __future__ import annotations

from pathlib import Path

from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import Run
from anyjepa.runs.pretrain import pretrain


def demo(output: Path, seed: int = 0, progress: bool = False) -> Run:
    """Pretrain `ecg-jepa-demo`, then probe it with all labels and with five labels a class, controls beside."""
    recipe, _ = load_recipe("ecg-jepa-demo", [f"training.seed={seed}", f"data.simulator.seed={seed}"])
    run = pretrain(recipe, output=output, progress=progress)
    evaluate(run, protocol="linear")
    evaluate(run, protocol="linear", low_shot=5, from_scratch=True, seeds=1)  # training from scratch is slow
    return run
