"""Settings of training. The defaults are those of ECG-JEPA."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from anyjepa.config import Config, Share
from anyjepa.training.parameter_groups import DecayRule
from anyjepa.training.schedules import cosine, warmup_cosine

# A number on the command line and in YAML is 32, not "32".
Precision = Annotated[Literal["auto", "32", "bf16"], BeforeValidator(lambda value: "32" if value == 32 else value)]


class OptimiserConfig(Config):
    """AdamW or LARS, with schedules of the learning rate and the weight decay."""

    kind: Literal["adamw", "lars"] = Field(
        default="adamw",
        description="adamw, or lars (You et al. 2017): momentum, with one learning rate per layer, at most lr, for "
        "parameters with weight decay",
    )
    lr: PositiveFloat = Field(default=1e-3, description="peak learning rate")
    start_lr: NonNegativeFloat = Field(default=1e-6, description="learning rate of the first step")
    final_lr: NonNegativeFloat = Field(default=1e-6, description="learning rate of the last step, after half a cosine")
    warmup: NonNegativeInt = Field(default=10_000, description="steps from start_lr to lr, linear")
    weight_decay: tuple[NonNegativeFloat, NonNegativeFloat] = Field(
        default=(0.01, 0.1), description="values at the first and at the last step, half a cosine between"
    )
    decay_rule: DecayRule = Field(
        default="matrices",
        description="parameters with weight decay: weights of Linear layers and convolutions (matrices), all but "
        "one-dimensional ones (not_1d), or all",
    )
    first_step: Literal[0, 1] = Field(
        default=0,
        description="number of the first step in the schedules of learning rate and weight decay; 0: the first step "
        "has their first values and the last step their last (ECG-JEPA); 1: the schedules are one step ahead and one "
        "step longer (I-JEPA, V-JEPA)",
    )
    ends_after: bool = Field(
        default=False,
        description="the schedules reach their last values one step after the last step (Hugging Face, NEPA)",
    )
    betas: tuple[Share, Share] = Field(
        default=(0.9, 0.99), description="adamw only: decay rates of the averages of the gradient and of its square"
    )
    momentum: Share = Field(default=0.9, description="lars only: decay rate of the average of the updates")
    trust: PositiveFloat = Field(
        default=0.02,
        description="lars only: trust coefficient, which multiplies the ratio of the norms of weights and gradient",
    )
    eps: PositiveFloat = Field(default=1e-6, description="added to denominators, for numerical stability")
    clip: PositiveFloat | None = Field(default=None, description="largest norm of the gradient; null: no clipping")
    clip_parts: bool = Field(
        default=False, description="clip the gradients of encoder and predictor separately (V-JEPA)"
    )
    clip_from: NonNegativeInt = Field(default=0, description="steps at the start without clipping")

    def at(self, step: int, steps: int) -> tuple[float, float]:
        """Learning rate and weight decay at `step` (counted from 0) of schedules with `steps` steps."""
        step, steps = step + self.first_step, steps + self.first_step + self.ends_after
        lr = warmup_cosine(step, steps, self.lr, self.start_lr, self.final_lr, self.warmup)
        return lr, cosine(step, steps, *self.weight_decay)


class OnlineConfig(Config):
    """Evaluation with labels during training: a linear probe and nearest neighbours on a few training records."""

    every: PositiveInt = Field(default=1000, description="steps between evaluations")
    records: int = Field(default=500, ge=20, description="number of labelled records; half train the probe")
    task: str | None = Field(default=None, description="task of the data set; null: its only or first task")
    best: Literal["probe", "knn"] = Field(default="probe", description="score whose best checkpoint is kept")


class TrainingConfig(Config):
    """Length, batches, optimiser, logging and checkpoints."""

    steps: PositiveInt = Field(default=100_000, description="optimiser steps")
    stretch: float = Field(
        default=1.0,
        ge=1,
        description="the schedules of learning rate, weight decay and momentum are this many times as long as the run, "
        "so they do not reach their last values (V-JEPA: 1.25)",
    )
    batch_size: PositiveInt = Field(
        default=2048, le=2**20, description="samples per optimiser step, over all ranks and micro-batches"
    )
    accumulation: PositiveInt = Field(default=1, description="micro-batches per optimiser step")
    order: Literal["shuffle", "replacement"] = Field(
        default="shuffle", description="every record once per epoch, or random draws with replacement (ECG-JEPA)"
    )
    optimiser: OptimiserConfig = OptimiserConfig()
    precision: Precision = Field(
        default="auto", description="auto: bf16 autocast if the hardware supports fast bf16 multiplication"
    )
    compile: bool = Field(default=False, description="torch.compile the objective")
    checkpoint_activations: bool = Field(
        default=False,
        description="compute the activations in transformer blocks again in the backward pass instead of keeping them: "
        "less memory, more time, the same results",
    )
    seed: NonNegativeInt = 0
    workers: NonNegativeInt = Field(
        default=2, le=256, description="processes that load data; their number does not change any result"
    )
    log_every: PositiveInt = Field(default=10, description="steps between rows of metrics.csv")
    monitor_every: PositiveInt = Field(default=100, description="steps between measurements of collapse")
    stop_when_collapsed: bool = Field(
        default=False, description="stop with an error once the verdict is collapse at three measurements in a row"
    )
    online: OnlineConfig | None = Field(
        default=None, description="evaluate the model with labels during training; null: not at all"
    )
    checkpoint_every: PositiveInt = Field(default=1000, description="steps between checkpoints")
    keep_checkpoints: PositiveInt = Field(default=2, description="number of newest checkpoints to keep")
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        default=(), description="loggers in addition to metrics.csv"
    )

    @property
    def schedule_steps(self) -> int:
        """Length of the schedules, which may be longer than the run."""
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
