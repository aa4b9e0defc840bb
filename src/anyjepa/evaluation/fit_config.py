"""Settings for training a classifier; apart from the training, because importing Lightning takes seconds."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from anyjepa.config import Config, Share
from anyjepa.training.config import Precision


class FitConfig(Config):
    """Settings for training a classifier."""

    steps: PositiveInt | None = Field(default=500, description="optimiser steps; null: given by epochs")
    epochs: PositiveInt | None = Field(default=None, description="passes over the training part, if steps is null")
    batch: PositiveInt = Field(default=128, description="records per step; at most all training records")
    lr: PositiveFloat = Field(default=1e-3, description="peak learning rate of AdamW")
    final_lr: NonNegativeFloat = Field(default=1e-3, description="learning rate of the last step, after half a cosine")
    warmup: NonNegativeInt = Field(default=0, description="steps in which the learning rate rises from 0 to its peak")
    weight_decay: NonNegativeFloat = Field(default=0.01, description="weight decay of the weights of Linear layers")
    betas: tuple[Share, Share] = (0.9, 0.99)
    eps: PositiveFloat = 1e-8
    layer_decay: Annotated[Share, Field(gt=0)] = Field(
        default=1.0, description="ratio of the learning rates of a block and of the next; the head has `lr` (BEiT)"
    )
    pos_weight: PositiveFloat | Literal["balanced"] | None = Field(
        default=None,
        description="weight of positive labels in the loss of classes that are not exclusive; balanced: ratio of "
        "negatives to positives of the class in the training part",
    )
    ema: Share | None = Field(
        default=None,
        lt=1,
        description="decay of a moving average of the weights, which is validated and saved instead of the weights; at "
        "most (1 + step) / (10 + step) in the first steps",
    )
    drop_last: bool = Field(
        default=False, description="drop the last incomplete batch of an epoch; false: the next epoch completes it"
    )
    clip: PositiveFloat | None = Field(default=None, description="largest gradient norm; null: no clipping")
    validate_every: PositiveInt = Field(default=25, description="steps between validations; the best state is kept")
    patience: PositiveInt | None = Field(
        default=None, description="stop after this many steps without improvement; null: never"
    )
    precision: Precision = Field(default="auto", description="auto: bf16 if the hardware is fast at it")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("set one of steps and epochs, and set the other to null")
        return self

    def steps_for(self, records: int) -> int:
        """Number of optimiser steps for a number of training records."""
        if self.epochs is None:
            assert self.steps is not None, "validated"
            return self.steps
        batch = min(self.batch, records)
        return self.epochs * (records // batch) if self.drop_last else -(-self.epochs * records // batch)
