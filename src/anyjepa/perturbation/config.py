"""How predictions of perturbations are judged on a model's representation: the settings."""

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
        description="what is held out of data that the model was not trained on; of its own data what training held "
        "out",
    )
    splits: Repeats = Field(default=5, description="random splits of such data")
    seeds: Repeats = Field(default=3, description="heads a representation, each from other random numbers")
    head: HeadConfig = HeadConfig()
    components: PositiveInt = Field(
        default=100, description="of every representation that a head stands on, all tokens or expression (PCA)"
    )
    above: str | None = Field(
        default=None,
        description="a metric: conditions whose half-split ceiling is no better in it than the perturbed mean are left "
        f"out; one of {', '.join(METRICS)}",
    )
    bootstrap: NonNegativeInt = Field(
        default=1000, le=100_000, description="resamples of conditions for an interval; 0: none"
    )
