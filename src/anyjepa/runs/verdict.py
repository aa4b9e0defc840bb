"""The verdict on the training of a run."""

from __future__ import annotations

from anyjepa.diagnostics.verdict import Verdict, verdict_of
from anyjepa.runs.folder import Run
from anyjepa.training.metrics_file import read_metrics


def training_verdict(run: Run) -> Verdict:
    """The verdict on metrics.csv of a run. Raises InputError if it is damaged."""
    return verdict_of(read_metrics(run.folder / "metrics.csv"), run.recipe.model_dump(mode="json"))
