"""Settings for evaluating how well a model's representation predicts perturbations."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveInt

from anyjepa.config import Config, Repeats
from anyjepa.data.cells.splits import AnySplit, UnseenCombination
from anyjepa.perturbation.methods.head import HeadConfig
from anyjepa.perturbation.scoring.metrics import METRICS


class PerturbationConfig(Config):
    """Settings of `evaluate --protocol perturbation`."""

    split: AnySplit = Field(
        default=UnseenCombination(),
        description="which part of new data is held out; the training data keep the split that training used",
    )
    splits: Repeats = Field(default=5, description="number of random splits of new data")
    seeds: Repeats = Field(default=3, description="heads per representation, each with a different random seed")
    head: HeadConfig = HeadConfig()
    components: PositiveInt = Field(
        default=100, description="number of principal components of each representation that the heads are fitted to"
    )
    above: str | None = Field(
        default=None,
        description="a metric: exclude conditions whose half-split ceiling is no better than the perturbed mean in it; "
        f"one of {', '.join(METRICS)}",
    )
    bootstrap: NonNegativeInt = Field(
        default=1000,
        le=100_000,
        description="number of bootstrap resamples of conditions for the intervals; 0: no intervals",
    )
