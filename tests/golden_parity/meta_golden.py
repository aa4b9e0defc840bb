"""What the golden tests of I-JEPA and V-JEPA share: the imported checkpoint, gradients, and steps of the optimiser."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from golden_vectors import Vectors, part_of
from torch import Tensor

from anyjepa.masks.base import Masks
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.masked import MaskedPrediction
from anyjepa.objectives.targets import TeacherConfig
from anyjepa.training.config import OptimiserConfig, TrainingConfig
from anyjepa.training.module import Pretraining
from anyjepa.training.parameter_groups import decay_groups
from anyjepa.weights.folder import load_model
from anyjepa.weights.foreign import read_foreign, renamed
from anyjepa.weights.importers import import_weights
from anyjepa.weights.meta_jepa import NAMES, Layout, convert


class MetaGolden(Vectors):
    """The vectors, objectives filled from the checkpoint, and official names in them."""

    def __init__(self, folder: Path, layout: Layout):
        super().__init__(folder)
        self.layout: Layout = layout
        self.file = folder / "jepa-latest.pth.tar"
        self.checkpoint = read_foreign(self.file)
        self.imported = convert(self.file.name, self.checkpoint, heads=4)

    def objective(self) -> MaskedPrediction:
        config, tensors, student = self.imported.config, self.imported.tensors, self.imported.student
        assert student is not None
        model = MaskedPrediction(config.objective, config.channels, config.size)
        model.student.load_state_dict(part_of(student, "encoder"))
        model.target.encoder.load_state_dict(part_of(tensors, "encoder"))
        model.predictor.load_state_dict(part_of(tensors, "predictor"))
        return model


def place(official: str) -> tuple[str, slice]:
    """An official parameter's name inside MaskedPrediction, and which rows of it: mask tokens are one parameter."""
    part, _, rest = official.partition(".")
    ((name, _),) = renamed("", {f"module.{rest}": torch.zeros(1)}, NAMES).items()
    row = slice(None)
    if name.startswith("mask_token"):
        number = int(name.rpartition(".")[2]) if "." in name else 0
        name, row = "mask_tokens", slice(number, number + 1)
    return f"{'student' if part == 'encoder' else 'predictor'}.{name}", row


def check_gradients(golden: MetaGolden, model: MaskedPrediction) -> None:
    """The stored gradients, and the norms of all, in the reference's order."""
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad and p.numel()}
    names = golden.settings["trainable_parameter_names"]
    assert {place(name)[0] for name in names} == set(gradients)
    for name, norm in zip(names, golden.vectors["grad_norms"], strict=True):
        ours, rows = place(name)
        assert gradients[ours][rows].double().norm().item() == pytest.approx(norm, rel=1e-5), name
        if f"grad/{name}" in golden.vectors:
            golden.match(f"grad/{name}", gradients[ours][rows])


def check_groups(golden: MetaGolden) -> None:
    """What weight decay pulls at; tables of positions are no parameters here."""
    official = [{place(name)[0] for name in group if "pos_embed" not in name} for group in groups_of(golden)]
    decayed, rest = decay_groups(golden.objective(), "not_1d")
    assert {name for name, p in decayed.items() if p.numel()} == official[0] | official[1]
    assert set(rest) == official[2] | official[3]


def groups_of(golden: MetaGolden) -> list[list[str]]:
    return golden.settings["optimizer_group_names"]


def optimiser_of(golden: MetaGolden, model: MaskedPrediction, resume: bool) -> torch.optim.Optimizer:
    """Ours, at the recorded constants; to resume, with the official AdamW state under our names."""
    step = golden.settings["model"]["opt"]
    config = OptimiserConfig(lr=step["lr"], betas=step["betas"], eps=step["eps"], warmup=0, decay_rule="not_1d")
    optimiser = Pretraining(model, TrainingConfig(steps=100, optimiser=config), ids=()).configure_optimizers()
    optimiser.param_groups[0]["weight_decay"] = step["weight_decay"]
    if not resume:
        return optimiser
    names, parameters = [name for group in groups_of(golden) for name in group], dict(model.named_parameters())
    for number, state in golden.checkpoint["opt"]["state"].items():
        name, rows = place(names[number])
        own = optimiser.state[parameters[name]]
        own["step"] = state["step"].clone()
        for key in ("exp_avg", "exp_avg_sq"):
            own.setdefault(key, torch.zeros_like(parameters[name]))[rows] = state[key].reshape(
                parameters[name][rows].shape
            )
    assert len(optimiser.state) == sum(p.requires_grad and p.numel() > 0 for p in parameters.values())
    return optimiser


def check_step(golden: MetaGolden, section: str, x: Tensor, masks: list[Masks]) -> None:
    """Loss, weights after AdamW and the teacher after EMA, in this order."""
    model, hyper = golden.objective(), golden.settings["model"]["opt"]
    optimiser = optimiser_of(golden, model, resume=section == "step_resume")
    loss = model(Batch.whole(x, masks)).total()
    loss.backward()
    optimiser.step()
    model.target.update(model.student, hyper["momentum"])
    golden.match(f"{section}/loss", loss)
    parameters = dict(model.named_parameters())
    for key in [key for key in golden.vectors if key.startswith((f"{section}/weight/", f"{section}/teacher/"))]:
        kind, _, official = key.removeprefix(f"{section}/").partition("/")
        name, rows = place(official if kind == "weight" else f"encoder.{official}")
        ours = parameters[name if kind == "weight" else name.replace("student.", "target.encoder.")][rows]
        if section == "step_fresh":
            golden.match_fresh(key, ours, hyper["lr"])
        else:
            golden.match(key, ours)


def check_schedules(golden: MetaGolden) -> None:
    """Learning rate, weight decay and momentum of the published configuration, by the options of a recipe."""
    official = golden.settings["schedule"]["optimization"]
    per_epoch = official.get("ipe") or golden.settings["schedule"]["ipe"]
    config = TrainingConfig(
        steps=official["epochs"] * per_epoch,
        stretch=official["ipe_scale"],
        optimiser=OptimiserConfig(
            lr=official["lr"],
            start_lr=official["start_lr"],
            final_lr=official["final_lr"],
            warmup=official["warmup"] * per_epoch,
            weight_decay=(official["weight_decay"], official["final_weight_decay"]),
            first_step=1,
        ),
    )
    target = TeacherConfig(momentum=official["ema"])
    for i, step in enumerate(map(int, golden.vectors["schedule/iteration"])):
        lr, weight_decay = config.optimiser.at(step, config.schedule_steps)
        momentum = target.momentum_at(step, config.schedule_steps)
        for name, ours in (("lr", lr), ("weight_decay", weight_decay), ("momentum", momentum)):
            assert ours == pytest.approx(golden.vectors[f"schedule/{name}"][i], rel=1e-5), (name, step)


def check_import(golden: MetaGolden, output: Path) -> None:
    """The model folder has the teacher, beside it the student, and the predictor."""
    folder, x = import_weights(golden.file, output, heads=4), golden.tensor("x")
    with torch.no_grad():
        golden.match("static/target_out", load_model(folder).encoder(x).padded())
        golden.match("static/encoder_full", load_model(folder, "student").encoder(x).padded())
    predictor = load_model(folder).predictor
    assert predictor is not None
    for name, tensor in golden.objective().predictor.state_dict().items():
        assert torch.equal(predictor.state_dict()[name], tensor)
