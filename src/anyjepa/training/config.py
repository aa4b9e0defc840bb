"""How a run is trained. Defaults are ECG-JEPA's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from anyjepa.config import Config, Share
from anyjepa.training.parameter_groups import DecayRule

Precision = Literal["auto", "32", "bf16"]


class OptimiserConfig(Config):
    """AdamW with a learning rate and a weight decay that follow the step."""

    lr: PositiveFloat = Field(default=1e-3, description="peak learning rate")
    start_lr: NonNegativeFloat = Field(default=1e-6, description="learning rate of the first step")
    final_lr: NonNegativeFloat = Field(default=1e-6, description="learning rate of the last step, after half a cosine")
    warmup: NonNegativeInt = Field(default=10_000, description="steps from start_lr to lr, linear")
    weight_decay: tuple[NonNegativeFloat, NonNegativeFloat] = Field(
        default=(0.01, 0.1), description="first and last step, half a cosine between"
    )
    decay_rule: DecayRule = Field(
        default="matrices", description="what decays: Linear weights, or all that is not one-dimensional"
    )
    betas: tuple[Share, Share] = (0.9, 0.99)
    eps: PositiveFloat = 1e-6
    clip: PositiveFloat | None = Field(
        default=None, description="largest norm of the whole gradient; none: no clipping"
    )


class TrainingConfig(Config):
    """Length, batches, optimiser, and what is written down on the way."""

    steps: PositiveInt = Field(default=100_000, description="optimiser steps")
    batch_size: PositiveInt = Field(
        default=2048, le=2**20, description="samples an optimiser step, over all ranks and micro-batches"
    )
    accumulation: PositiveInt = Field(default=1, description="micro-batches an optimiser step")
    order: Literal["shuffle", "replacement"] = Field(
        default="shuffle", description="every record once an epoch, or drawn anew each time (ECG-JEPA)"
    )
    optimiser: OptimiserConfig = OptimiserConfig()
    precision: Precision = Field(
        default="auto", description="auto: bf16 autocast where the hardware multiplies it fast"
    )
    compile: bool = Field(default=False, description="torch.compile the objective")
    seed: NonNegativeInt = 0
    workers: NonNegativeInt = Field(default=2, le=256, description="processes that load data; never changes a number")
    log_every: PositiveInt = Field(default=10, description="steps between rows of metrics.csv")
    monitor_every: PositiveInt = Field(default=100, description="steps between measurements of collapse")
    checkpoint_every: PositiveInt = Field(default=1000, description="steps between checkpoints")
    keep_checkpoints: PositiveInt = Field(default=2, description="newest checkpoints that stay")
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = Field(default=(), description="besides metrics.csv")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulation {self.accumulation}")
        if self.optimiser.warmup >= self.steps:
            raise ValueError(
                f"optimiser.warmup {self.optimiser.warmup} must be shorter than steps {self.steps}; set it, too"
            )
        return self
