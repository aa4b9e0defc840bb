"""Settings of every protocol that evaluates encoders with labels."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from anyjepa.config import Config, Repeats
from anyjepa.evaluation.attentive import AttentiveProbe
from anyjepa.evaluation.finetune import Finetune
from anyjepa.evaluation.probes import KnnProbe, LinearProbe
from anyjepa.evaluation.result import PROTOCOLS
from anyjepa.evaluation.splits import OpenShare, SplitConfig
from anyjepa.evaluation.windows import Windows


class EvaluationConfig(Config):
    """How encoders are evaluated with labels. Settings of protocols that are not chosen have no effect."""

    protocol: Literal["linear", "knn", "attentive", "finetune", "supervised"] = Field(
        default="linear",
        description="what is trained on the labels; supervised: the network itself, from random weights",
    )
    preset: str = Field(default="", description="name of the published protocol whose settings these are")
    split: SplitConfig | None = Field(default=None, description="none: the label table's own split, else 5 folds")
    seeds: Repeats = Field(default=3, description="repeats: new folds, low-shot draws and random encoders each")
    low_shot: PositiveInt | OpenShare | None = Field(
        default=None, description="labels a class (integer) or a share of the training part; none: all"
    )
    min_count: NonNegativeInt = Field(default=10, description="classes with fewer records are left out and named")
    from_scratch: bool = Field(
        default=False, description="the same network trained on the labels alone as one more row"
    )
    windows: Windows = Windows()
    linear: LinearProbe = LinearProbe()
    knn: KnnProbe = KnnProbe()
    attentive: AttentiveProbe = AttentiveProbe()
    finetune: Finetune = Finetune()
    supervised: Finetune = Finetune()
    raw_dimensions: PositiveInt = Field(default=1000, description="largest size of raw input as features")
    bootstrap: NonNegativeInt = Field(
        default=500, le=100_000, description="resamples of the groups for an interval; 0: none"
    )

    @model_validator(mode="after")
    def _same_head(self) -> Self:
        if self.finetune.after == "attentive" and self.finetune.head.kind != self.attentive.head:
            raise ValueError(f"finetune.head.kind is {self.finetune.head.kind}, attentive.head {self.attentive.head}")
        return self

    @property
    def title(self) -> str:
        """'attentive probe (ecg-linear)'."""
        return PROTOCOLS[self.protocol] + (f" ({self.preset})" if self.preset else "")
