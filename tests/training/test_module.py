"""The training step: global loss, EMA's place, decay groups, the guard against non-finite losses, checkpoints."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from anyjepa.data.dataset import Dataset
from anyjepa.errors import InputError
from anyjepa.masks.spans import SpanConfig
from anyjepa.nn.predictor import PredictorConfig
from anyjepa.nn.vit import ViTConfig
from anyjepa.objectives.masked import MaskedPrediction, MaskedPredictionConfig
from anyjepa.objectives.targets import TeacherConfig
from anyjepa.training.checkpoints import list_checkpoints
from anyjepa.training.config import OptimiserConfig, TrainingConfig
from anyjepa.training.fit import fit
from anyjepa.training.logs import read_metrics
from anyjepa.training.module import DivergedError, Pretraining
from anyjepa.training.parameter_groups import decay_groups
from anyjepa.training.precision import lightning_precision


class Noise(Dataset):
    """Twenty records of two leads."""

    def __init__(self, bad: int | None = None):
        ids = tuple(f"record-{i}" for i in range(20))
        super().__init__(ids=ids, groups=ids, groups_known=False, source=("",) * 20, preprocessing=None)
        signals = np.random.default_rng(0).standard_normal((20, 2, 120)).astype(np.float32)
        if bad is not None:
            signals[bad] = np.inf
        vars(self)["signals"] = signals  # a data set is frozen

    def __getitem__(self, index: int) -> np.ndarray:
        return vars(self)["signals"][index]

    @property
    def longest(self) -> int:
        return 120

    def crops(self, indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> tuple[np.ndarray, np.ndarray]:
        starts = np.array([rng.integers(20) for rng in rngs])
        return np.stack([self[i][:, s : s + 100] for i, s in zip(indices, starts, strict=True)]), starts


def objective(update: str = "before", registers: int = 1, regulariser: str | None = None) -> MaskedPrediction:
    torch.manual_seed(0)
    without_teacher = {"target": {"kind": "shared"}, "regulariser": {"kind": regulariser}}
    config = MaskedPredictionConfig(
        encoder=ViTConfig(patch=(5,), dim=16, depth=1, heads=2, registers=registers),
        predictor=PredictorConfig(dim=8, depth=1, heads=2),
        masks=SpanConfig(min_span=2),
        target=TeacherConfig(momentum=(0.5, 0.5), update=update),  # type: ignore[arg-type]
    )
    if regulariser:
        config = MaskedPredictionConfig.model_validate({**config.model_dump(), **without_teacher})
    return MaskedPrediction(config, 2, (100,))


def config(**changes: object) -> TrainingConfig:
    optimiser = OptimiserConfig(lr=1e-2, warmup=1, start_lr=1e-2, weight_decay=(0.0, 0.0))
    common = {"steps": 4, "batch_size": 8, "workers": 0, "precision": "32", "log_every": 1, "optimiser": optimiser}
    return TrainingConfig(**{**common, "checkpoint_every": 2, **changes})  # type: ignore[arg-type]


def trained(folder: Path, update: str = "before", **changes: object) -> MaskedPrediction:
    model = objective(update)
    fit(model, config(**changes), Noise(), folder, progress=False)
    return model


def test_accumulation_changes_nothing_but_rounding(tmp_path: Path) -> None:
    one, four = trained(tmp_path / "a"), trained(tmp_path / "b", accumulation=4)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(four.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    losses = [[row["loss"] for row in read_metrics(tmp_path / f / "metrics.csv")] for f in "ab"]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


# registers, log_every, regulariser, checkpoint_activations of the ranks
RANKED = [(1, 1, None, False), (0, 3, None, True), (1, 1, "vicreg", True), (0, 1, "sigreg", False)]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder for each of RANKED, trained by two processes of four samples each."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "two.py").write_text(
        f"""
import sys, torch
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_module import RANKED, Noise, config, fit, objective
if __name__ == "__main__":
    torch.set_num_threads(1)
    for place, (registers, log_every, regulariser, checkpointed) in enumerate(RANKED):
        model, run = objective(registers=registers, regulariser=regulariser), Path({str(folder)!r}) / str(place)
        settings = config(log_every=log_every, checkpoint_activations=checkpointed)
        fit(model, settings, Noise(), run, devices=2, strategy="ddp", progress=False)
"""
    )
    command = [sys.executable, "-W", "ignore", str(folder / "two.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.mark.parametrize("place", range(len(RANKED)))
def test_two_ranks_change_nothing_but_rounding(tmp_path: Path, two_ranks: Path, place: int) -> None:
    """Against one process of eight samples: rare logging, no prefix, statistics of the batch, recomputation."""
    registers, log_every, regulariser, _ = RANKED[place]
    one = objective(registers=registers, regulariser=regulariser)
    fit(one, config(log_every=log_every), Noise(), tmp_path, progress=False)
    two = two_ranks / str(place)
    saved = torch.load(two / "checkpoints/step-00000004.ckpt", weights_only=True)["state_dict"]
    assert saved.keys() == {f"objective.{name}" for name in one.state_dict()}
    for name, value in one.state_dict().items():
        torch.testing.assert_close(saved[f"objective.{name}"], value, rtol=1e-3, atol=1e-4)
    losses = [[row["loss"] for row in read_metrics(run / "metrics.csv")] for run in (tmp_path, two)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_a_regulariser_is_refused_with_accumulation(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"accumulation=2: a regulariser compares all samples of a batch"):
        fit(objective(regulariser="vicreg"), config(accumulation=2), Noise(), tmp_path, progress=False)


@pytest.mark.parametrize("regulariser", ["vicreg", "sigreg"])
def test_one_sample_cannot_be_compared(tmp_path: Path, regulariser: str) -> None:
    with pytest.raises(InputError, match=r"batch_size: a regulariser or BatchNorm compares samples"):
        fit(objective(regulariser=regulariser), config(batch_size=1), Noise(), tmp_path, progress=False)


def test_collapse_is_measured_as_often_as_asked_for(tmp_path: Path) -> None:
    """Also between the steps that are logged."""
    trained(tmp_path, steps=5, log_every=3, monitor_every=2)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["step"] for row in rows if "teacher_rank" in row] == [1, 2, 4, 5]


def test_bf16_can_clip(tmp_path: Path) -> None:
    optimiser = OptimiserConfig(lr=1e-2, start_lr=1e-2, warmup=0, clip=1e-9, weight_decay=(0.0, 0.0))
    start, model = objective().state_dict(), trained(tmp_path, precision="bf16", steps=1, optimiser=optimiser)
    # A gradient of norm 1e-9 is far below AdamW's eps, so almost nothing moves.
    key = "student.transformer.blocks.0.mlp.fc1.weight"
    torch.testing.assert_close(model.state_dict()[key], start[key], rtol=0, atol=1e-4)


def norm(part: torch.nn.Module) -> float:
    return torch.nn.utils.get_total_norm([p.grad for p in part.parameters() if p.grad is not None]).item()


@pytest.mark.parametrize("parts", [False, True])
def test_clipping_as_a_whole_or_by_part_and_from_a_step_on(parts: bool) -> None:
    model, trainer = objective(), Mock(global_step=2)
    optimiser = OptimiserConfig(warmup=0, clip=1.0, clip_parts=parts, clip_from=3)
    module = Pretraining(model, config(optimiser=optimiser), ids=())
    module.trainer = trainer
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    before = norm(model)
    module.configure_gradient_clipping(Mock())
    assert norm(model) == before > 1
    trainer.global_step = 3
    module.configure_gradient_clipping(Mock())
    if parts:
        assert [norm(model.student), norm(model.predictor)] == pytest.approx([1, 1], rel=1e-4)
    else:
        assert norm(model) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("update", ["before", "after"])
def test_the_teachers_average_has_its_place(tmp_path: Path, update: str) -> None:
    """After one step: before the forward the student had not moved yet, after the optimiser step it had."""
    start = objective().state_dict()
    model = trained(tmp_path, update, steps=1, optimiser=OptimiserConfig(lr=1e-2, start_lr=1e-2, warmup=0))
    key = "transformer.blocks.0.mlp.fc1.weight"
    student, teacher = model.state_dict()[f"student.{key}"], model.state_dict()[f"target.encoder.{key}"]
    before = start[f"student.{key}"]
    assert not torch.equal(student, before)
    expected = before if update == "before" else (before + student) / 2
    torch.testing.assert_close(teacher, expected)


def test_decay_rules() -> None:
    model = objective()
    decayed, rest = decay_groups(model, "matrices")
    assert set(decayed) | set(rest) == {n for n, p in model.named_parameters() if p.requires_grad}
    assert {"student.project.weight", "predictor.proj.weight"} <= set(decayed)
    assert {"student.prefix", "predictor.mask_tokens", "student.norm.weight"} <= set(rest)
    decayed, rest = decay_groups(model, "not_1d")
    assert {"student.prefix", "predictor.mask_tokens"} <= set(decayed)
    assert all(p.ndim == 1 for p in rest.values())
    decayed, rest = decay_groups(model, "all")
    assert (len(decayed), rest) == (sum(p.requires_grad for p in model.parameters()), {})


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    model, data = objective(), Noise()
    fit(model, config(), data, tmp_path, progress=False)
    good = list_checkpoints(tmp_path / "checkpoints")
    with pytest.raises(DivergedError, match=r"the loss is nan at step \d+; its records: .*record-\d+"):
        fit(objective(), config(steps=8), Noise(bad=3), tmp_path, resume=True, progress=False)
    kept = list_checkpoints(tmp_path / "checkpoints")
    assert good[-1] in kept
    state = torch.load(kept[-1], weights_only=True)["state_dict"]
    assert all(torch.isfinite(v).all() for v in state.values())


def test_a_full_disk_leaves_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lightning import Trainer

    trained(tmp_path)
    good = list_checkpoints(tmp_path / "checkpoints")

    def full(self: Trainer, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Trainer, "save_checkpoint", full)
    with pytest.raises(InputError, match=r"cannot be written .*No space left.*last good checkpoint is .*step-00000004"):
        fit(objective(), config(steps=8), Noise(), tmp_path, resume=True, progress=False)
    assert sorted((tmp_path / "checkpoints").iterdir()) == good


def test_only_the_newest_checkpoints_stay(tmp_path: Path) -> None:
    trained(tmp_path, steps=8, keep_checkpoints=2)
    assert [p.name for p in list_checkpoints(tmp_path / "checkpoints")] == ["step-00000006.ckpt", "step-00000008.ckpt"]


def test_metrics_hold_terms_schedules_and_collapse_signs(tmp_path: Path) -> None:
    trained(tmp_path)
    rows = read_metrics(tmp_path / "metrics.csv")
    assert [row["step"] for row in rows] == [1, 2, 3, 4]
    assert {"loss", "prediction", "lr", "weight_decay", "momentum", "samples_per_s"} <= rows[1].keys()
    assert {"teacher_std", "teacher_rank"} <= rows[0].keys()


def test_tensorboard_by_name(tmp_path: Path) -> None:
    trained(tmp_path, loggers=("tensorboard",))
    assert list(tmp_path.glob("tensorboard/**/events*"))


def test_auto_precision_asks_the_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for fast, expected in ((True, "bf16-mixed"), (False, "32-true")):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda fast=fast: fast)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert lightning_precision("auto") == expected
    assert lightning_precision("bf16") == "bf16-mixed"


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    trained(tmp_path)
    newest = list_checkpoints(tmp_path / "checkpoints")[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"step-00000004\.ckpt: is not a PyTorch checkpoint .*; delete it"):
        fit(objective(), config(steps=8), Noise(), tmp_path, resume=True, progress=False)


@pytest.mark.parametrize("kind", ["meta", "sparse"])
def test_a_checkpoint_whose_tensors_have_no_values_is_refused(tmp_path: Path, kind: str) -> None:
    trained(tmp_path)
    newest = list_checkpoints(tmp_path / "checkpoints")[-1]
    content = torch.load(newest, weights_only=True)
    name = next(name for name, tensor in content["state_dict"].items() if tensor.ndim == 2)
    tensor = content["state_dict"][name]
    content["state_dict"][name] = tensor.to("meta") if kind == "meta" else tensor.to_sparse()
    torch.save(content, newest)
    with pytest.raises(InputError, match=r"step-00000004\.ckpt: is a checkpoint of another training .*; delete it"):
        fit(objective(), config(steps=8), Noise(), tmp_path, resume=True, progress=False)


def test_module_and_data_work_in_a_trainer_of_ones_own(tmp_path: Path) -> None:
    from lightning import Trainer

    from anyjepa.training.datamodule import PretrainingData
    from anyjepa.training.module import Pretraining
    from anyjepa.training.quiet import quiet_lightning

    ours, theirs = trained(tmp_path), objective()
    with quiet_lightning():
        off: dict[str, Any] = {
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        }
        trainer = Trainer(accelerator="cpu", max_steps=4, **off)
        trainer.fit(Pretraining(theirs, config(), Noise().ids), datamodule=PretrainingData(config(), Noise(), theirs))
    for name, value in ours.state_dict().items():
        assert torch.equal(theirs.state_dict()[name], value)
