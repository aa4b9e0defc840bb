"""How a run is trained. Defaults are ECG-JEPA's."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from anyjepa.config import Config, Share
from anyjepa.training.parameter_groups import DecayRule
from anyjepa.training.schedules import cosine, warmup_cosine

Precision = Literal["auto", "32", "bf16"]


class OptimiserConfig(Config):
    """AdamW or LARS, with a learning rate and a weight decay that follow the step."""

    kind: Literal["adamw", "lars"] = Field(
        default="adamw",
        description="lars: momentum, and what weight decay pulls at gets a rate a layer, at most lr (You et al. 2017)",
    )
    lr: PositiveFloat = Field(default=1e-3, description="peak learning rate")
    start_lr: NonNegativeFloat = Field(default=1e-6, description="learning rate of the first step")
    final_lr: NonNegativeFloat = Field(default=1e-6, description="learning rate of the last step, after half a cosine")
    warmup: NonNegativeInt = Field(default=10_000, description="steps from start_lr to lr, linear")
    weight_decay: tuple[NonNegativeFloat, NonNegativeFloat] = Field(
        default=(0.01, 0.1), description="first and last step, half a cosine between"
    )
    decay_rule: DecayRule = Field(
        default="matrices", description="what decays: Linear weights, all that is not one-dimensional, or everything"
    )
    first_step: Literal[0, 1] = Field(
        default=0,
        description="the first step's number in the schedules of learning rate and weight decay: 0, it has their first "
        "values and the last step their last (ECG-JEPA); 1, they are one step ahead and one longer (I-JEPA, V-JEPA)",
    )
    ends_after: bool = Field(
        default=False,
        description="the schedules' last values are of the step after the last one (Hugging Face, NEPA)",
    )
    betas: tuple[Share, Share] = Field(
        default=(0.9, 0.99), description="adamw only: share of the past in the averages of gradient and its square"
    )
    momentum: Share = Field(default=0.9, description="lars only: share of the past in the average of the updates")
    trust: PositiveFloat = Field(
        default=0.02, description="lars only: a layer's rate is this times the norm of its weights over its gradient's"
    )
    eps: PositiveFloat = Field(default=1e-6, description="added to what is divided by")
    clip: PositiveFloat | None = Field(default=None, description="largest norm of the gradient; none: no clipping")
    clip_parts: bool = Field(
        default=False, description="encoder and predictor are clipped each by its own norm (V-JEPA), not as a whole"
    )
    clip_from: NonNegativeInt = Field(default=0, description="steps at the start without clipping")

    def at(self, step: int, steps: int) -> tuple[float, float]:
        """Learning rate and weight decay of a step, its number counted from 0, in schedules of `steps` steps."""
        step, steps = step + self.first_step, steps + self.first_step + self.ends_after
        lr = warmup_cosine(step, steps, self.lr, self.start_lr, self.final_lr, self.warmup)
        return lr, cosine(step, steps, *self.weight_decay)


class TrainingConfig(Config):
    """Length, batches, optimiser, and what is written down on the way."""

    steps: PositiveInt = Field(default=100_000, description="optimiser steps")
    stretch: float = Field(
        default=1.0,
        ge=1,
        description="schedules (learning rate, weight decay, momentum) are those of a run this many times as long, so "
        "their last values are never reached (V-JEPA: 1.25)",
    )
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

    @property
    def schedule_steps(self) -> int:
        """Length of the schedules, which may go on beyond the run."""
        return round(self.steps * self.stretch)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.batch_size % self.accumulation:
            raise ValueError(f"batch_size {self.batch_size} is not a multiple of accumulation {self.accumulation}")
        if self.optimiser.warmup >= self.steps:
            raise ValueError(
                f"optimiser.warmup {self.optimiser.warmup} must be shorter than steps {self.steps}; "
                f"set it, too: training.optimiser.warmup={self.steps // 10}"
            )
        return self
