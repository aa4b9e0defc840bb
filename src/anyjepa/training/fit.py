"""Run a training with Lightning's Trainer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.nn.encoder import Encoder
from anyjepa.objectives.base import Objective
from anyjepa.training.checkpoint_files import newest_checkpoint, step_of
from anyjepa.training.checkpoints import Checkpoints, check_checkpoint
from anyjepa.training.config import TrainingConfig
from anyjepa.training.datamodule import PretrainingData
from anyjepa.training.interrupt import Interrupted, StopRequest
from anyjepa.training.launch import Launch
from anyjepa.training.logs import Log, Online
from anyjepa.training.module import Pretraining
from anyjepa.training.precision import lightning_precision
from anyjepa.training.quiet import quiet_lightning


def fit(
    objective: Objective,
    config: TrainingConfig,
    crops: Dataset,
    folder: Path,
    *,
    resume: bool = False,
    absolute_time: bool = False,
    shares: np.ndarray | None = None,
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    progress: bool = True,
    scores: Callable[[Encoder], dict[str, float]] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
) -> None:
    """Train `objective` in place, and write checkpoints and metrics.csv to `folder`.

    resume: continue from the newest checkpoint. The result is identical to that of a run without interruption.
    absolute_time: positions of a crop are its places in the record, instead of starting at 0 (ECG-JEPA).
    shares: (N,) unnormalised share of the draws per record; None: equal.
    scores: evaluates the model's encoder for `config.online`. hyperparameters: what loggers other than metrics.csv get.
    Raises DivergedError if the loss is not finite, InputError if a checkpoint cannot be read or written, and
    Interrupted after Ctrl-C, SIGTERM or another of `signals.SIGNALS`, once the current step is finished and saved.
    """
    checkpoints = folder / "checkpoints"
    newest = newest_checkpoint(checkpoints) if resume else None
    first_step = step_of(newest) if newest else 0
    module = Pretraining(objective, config, crops.ids)
    if newest:
        check_checkpoint(newest, module)
    with quiet_lightning(), StopRequest() as stop:
        saving = Checkpoints(checkpoints, config.checkpoint_every, config.keep_checkpoints, stop)
        online = Online(config.online, scores, saving.save_best) if config.online and scores else None
        launch = Launch()
        trainer = L.Trainer(
            accelerator="auto",
            devices=devices,
            num_nodes=nodes,
            strategy=strategy,
            precision=lightning_precision(config.precision),  # type: ignore[arg-type]
            max_steps=config.steps,
            accumulate_grad_batches=config.accumulation,
            use_distributed_sampler=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            logger=[_logger(name, folder) for name in config.loggers] or False,
            callbacks=[launch, Log(folder / "metrics.csv", progress, online), saving],
            default_root_dir=folder,
        )
        for logger in trainer.loggers if hyperparameters else ():
            logger.log_hyperparams(dict(hyperparameters or {}))
        loader = PretrainingData(config, crops, objective, first_step, absolute_time, shares)
        with launch.watched(trainer):
            trainer.fit(module, datamodule=loader, ckpt_path=newest, weights_only=True)
    if stop.by is not None and (done := saving.stopped or _done_before_end(checkpoints, config.steps)) is not None:
        raise Interrupted(folder, done, stop.by)
    module.check_finite()


def _done_before_end(checkpoints: Path, steps: int) -> int | None:
    """Number of finished steps if training ended early, which includes a signal before the first step."""
    newest = newest_checkpoint(checkpoints)
    done = step_of(newest) if newest else 0
    return done if done < steps else None


def _logger(name: str, folder: Path) -> Any:
    if name == "wandb":
        from lightning.pytorch.loggers import WandbLogger

        return WandbLogger(save_dir=folder)
    from lightning.pytorch.loggers import TensorBoardLogger

    return TensorBoardLogger(folder, name="tensorboard", version="")
