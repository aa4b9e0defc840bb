"""Settings for evaluating how well a model's representation predicts perturbations."""

from __future__ import annotations

from pydantic import Field, NonNegativeInt, PositiveInt

from anyjepa.config import Config, Repeats
from anyjepa.data.cells.splits import SplitConfig, UnseenCombination
from anyjepa.perturbation.methods.head import HeadConfig
from anyjepa.perturbation.scoring.metrics import METRICS


class PerturbationConfig(Config):
    """Settings of `evaluate --protocol perturbation`."""

    split: SplitConfig = Field(
        default=UnseenCombination(),
        description="what is held out of data that the model was not trained on; its own data keep the split of "
        "training",
    )
    splits: Repeats = Field(default=5, description="random splits of such data")
    seeds: Repeats = Field(default=3, description="heads per representation, each from other random numbers")
    head: HeadConfig = HeadConfig()
    components: PositiveInt = Field(
        default=100, description="principal components of each representation that a head is fitted on"
    )
    above: str | None = Field(
        default=None,
        description="a metric; leave out conditions whose half-split ceiling does not beat the perturbed mean in it; "
        f"one of {', '.join(METRICS)}",
    )
    bootstrap: NonNegativeInt = Field(
        default=1000, le=100_000, description="resamples of conditions for an interval; 0: none"
    )
