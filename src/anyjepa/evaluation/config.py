"""Settings of every protocol that evaluates encoders with labels."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from anyjepa.config import Config, Repeats
from anyjepa.evaluation.attentive import AttentiveProbe
from anyjepa.evaluation.finetune import Finetune
from anyjepa.evaluation.probes import KnnProbe, LinearProbe
from anyjepa.evaluation.result import PROTOCOLS
from anyjepa.evaluation.splits import AnySplit, OpenShare
from anyjepa.evaluation.windows import Windows
from anyjepa.training.config import Precision


class EvaluationConfig(Config):
    """How encoders are evaluated with labels. Settings of protocols that are not chosen have no effect."""

    protocol: Literal["linear", "knn", "attentive", "finetune", "supervised", "dense"] = Field(
        default="linear",
        description="model that is trained on the labels; supervised: the whole network, from random weights; dense: a "
        "linear probe on single tokens, for data with labels per place",
    )
    preset: str = Field(default="", description="name of the published protocol whose settings these are")
    split: AnySplit | None = Field(default=None, description="null: the split of the label table, else 5 folds")
    seeds: Repeats = Field(default=3, description="repeats, each with new folds, low-shot draws and random encoders")
    low_shot: PositiveInt | OpenShare | None = Field(
        default=None,
        description="labels per class (integer; dense: labelled groups, such as patients) or a share of the training "
        "part; null: all",
    )
    min_count: NonNegativeInt = Field(default=10, description="classes with fewer records are excluded and listed")
    from_scratch: bool = Field(
        default=False, description="add a row for the same network trained from random weights on the labels"
    )
    precision: Precision = Field(
        default="32",
        description="of the frozen encoder; auto: bf16 autocast if the hardware is fast at it, as in pretraining",
    )
    windows: Windows = Windows()
    linear: LinearProbe = LinearProbe()
    knn: KnnProbe = KnnProbe()
    attentive: AttentiveProbe = AttentiveProbe()
    dense_offsets: PositiveInt = Field(
        default=5, description="dense: how often per token onsets and offsets of events are predicted"
    )
    finetune: Finetune = Finetune()
    supervised: Finetune = Finetune()
    raw_dimensions: PositiveInt = Field(default=1000, description="largest number of features of the raw input")
    bootstrap: NonNegativeInt = Field(
        default=500, le=100_000, description="bootstrap resamples of the groups for intervals; 0: none"
    )

    @model_validator(mode="after")
    def _same_head(self) -> Self:
        if self.finetune.after == "attentive" and self.finetune.head.kind != self.attentive.head:
            raise ValueError(f"finetune.head.kind is {self.finetune.head.kind}, attentive.head {self.attentive.head}")
        return self

    @property
    def title(self) -> str:
        """Title, such as 'attentive probe (ecg-linear)'."""
        return PROTOCOLS[self.protocol] + (f" ({self.preset})" if self.preset else "")
