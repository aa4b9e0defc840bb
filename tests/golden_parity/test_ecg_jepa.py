"""Numbers of the official ECG-JEPA code, matched by the rule of tests/golden/ecg_jepa/README.md."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from golden_vectors import Vectors, part_of

from anyjepa.evaluation.windows import Windows
from anyjepa.masks.base import Masks
from anyjepa.nn.pooling import HeadConfig, TokenHead
from anyjepa.nn.tokens import patchify
from anyjepa.nn.vit import ViT, ViTConfig
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.masked import MaskedPrediction
from anyjepa.objectives.targets import TeacherConfig, ema_update
from anyjepa.training.config import OptimiserConfig, TrainingConfig
from anyjepa.training.module import Pretraining
from anyjepa.training.parameter_groups import decay_groups
from anyjepa.training.schedules import cosine, warmup_cosine
from anyjepa.weights.ecg_jepa import convert, from_official
from anyjepa.weights.folder import LoadedModel, load_model
from anyjepa.weights.foreign import read_foreign
from anyjepa.weights.importers import import_weights


class Golden(Vectors):
    """The vectors, and objectives filled from the checkpoint."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.checkpoint = read_foreign(folder / "chkpt_2.pt")
        self.imported = convert("chkpt_2.pt", self.checkpoint)

    def masks(self, number: str = "") -> Masks:
        return Masks(self.tensor(f"mask_encoder{number}"), self.tensor(f"mask_predictor{number}")[:, None])

    def batch(self, number: str = "", micro_batches: int = 1) -> Batch:
        x, masks = self.tensor(f"x{number}"), self.masks(number)
        count = masks.count() * micro_batches  # the reference takes the mean of the micro-batches' means
        return Batch(x, len(x) * micro_batches, [count], [masks])

    def objective(self) -> MaskedPrediction:
        config, tensors, student = self.imported.config, self.imported.tensors, self.imported.student
        assert student is not None
        model = MaskedPrediction(config.objective, config.channels, config.size)
        model.student.load_state_dict(part_of(student, "encoder"))
        model.target.encoder.load_state_dict(part_of(tensors, "encoder"))
        model.predictor.load_state_dict(part_of(tensors, "predictor"))
        return model


def our_name(official: str) -> str:
    """An official parameter's name inside MaskedPrediction."""
    (name,) = from_official("names", {official: torch.zeros(1)})
    return f"student.{name.removeprefix('encoder.')}" if name.startswith("encoder.") else name


@pytest.fixture(scope="module")
def ecg(golden: Path) -> Golden:
    return Golden(golden / "ecg_jepa")


@pytest.fixture(scope="module")
def model(ecg: Golden) -> MaskedPrediction:
    """Stored weights with the gradients of static/loss. Not changed by tests."""
    model = ecg.objective()
    loss = model(ecg.batch()).total()
    loss.backward()
    ecg.match("static/loss", loss)
    return model


@torch.no_grad()
def test_forward(ecg: Golden, model: MaskedPrediction):
    x, masks = ecg.tensor("x"), ecg.masks()
    ecg.match("static/patch_embed", model.student.project(patchify(x, (25,))))
    ecg.match("static/pos_embed_encoder", model.student.positions((20,)))
    ecg.match("static/pos_embed_predictor", model.predictor.positions((20,)))
    target = model.target(x)
    ecg.match("static/target_out", target)
    ecg.match("static/target_masked", masks.of(target))
    context = model.student(x, masks.context)
    ecg.match("static/encoder_context", context.padded())
    predicted = model.predictor(context, masks.context, masks.targets, None, (20,))
    ecg.match("static/predictor_out", predicted)
    ecg.match("static/encoder_full_with_registers", torch.cat(model.student.features(x), dim=1))


def test_gradients(ecg: Golden, model: MaskedPrediction):
    gradients = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    golden = {key.removeprefix("grad/"): ecg.tensor(key) for key in ecg.vectors if key.startswith("grad/")}
    assert golden
    for name in golden:
        ecg.match(f"grad/{name}", gradients[our_name(name)])
    names = [our_name(name) for name in ecg.settings["trainable_parameter_names"]]
    assert sorted(names) == sorted(gradients)
    for name, norm in zip(names, ecg.vectors["grad_norms"], strict=True):
        assert gradients[name].double().norm().item() == pytest.approx(norm, rel=1e-5), name


def test_decay_groups(ecg: Golden):
    for ours, official in zip(
        decay_groups(ecg.objective(), "matrices"), ecg.settings["optimizer_group_names"], strict=True
    ):
        assert set(ours) == set(map(our_name, official))


def make_optimiser(ecg: Golden, model: MaskedPrediction, resume: bool) -> torch.optim.Optimizer:
    step = ecg.settings["step_hyperparameters"]
    config = OptimiserConfig(lr=step["lr"], betas=step["betas"], eps=step["eps"], warmup=0)
    optimiser = Pretraining(model, TrainingConfig(steps=100, optimiser=config), ids=()).configure_optimizers()
    optimiser.param_groups[0]["weight_decay"] = step["weight_decay"]
    if resume:
        names = [name for group in ecg.settings["optimizer_group_names"] for name in group]
        parameters = dict(model.named_parameters())
        for name, state in zip(names, ecg.checkpoint["optimizer"]["state"].values(), strict=True):
            moments = {
                key: next(iter(from_official("", {name: state[key]}).values())) for key in ("exp_avg", "exp_avg_sq")
            }
            optimiser.state[parameters[our_name(name)]] = {"step": state["step"].clone()} | {
                key: moment.clone() for key, moment in moments.items()
            }
    return optimiser


@pytest.mark.parametrize("section", ["step_fresh", "step_resume", "accum"])
def test_training_step(ecg: Golden, section: str):
    model, hyper = ecg.objective(), ecg.settings["step_hyperparameters"]
    optimiser = make_optimiser(ecg, model, resume=section != "step_fresh")
    numbers = ["", "2"] if section == "accum" else [""]
    losses = []
    for number, momentum in zip(numbers, hyper["momentum"], strict=False):
        ema_update(list(model.target.encoder.parameters()), list(model.student.parameters()), momentum)
        loss = model(ecg.batch(number, len(numbers))).total()
        loss.backward()
        losses.append(loss.item())
    if f"{section}/target_out" in ecg.vectors:
        ecg.match(f"{section}/target_out", model.target(ecg.tensor("x")))
    optimiser.step()
    ecg.match(f"{section}/loss", torch.tensor(losses, dtype=torch.float64))
    parameters = dict(model.named_parameters())
    for key in ecg.vectors:
        if key.startswith(f"{section}/teacher/"):
            name = our_name("encoder." + key.removeprefix(f"{section}/teacher/"))
            ecg.match(key, parameters[name.replace("student.", "target.encoder.")])
        elif key.startswith(f"{section}/weight/"):
            ours = parameters[our_name(key.removeprefix(f"{section}/weight/"))]
            if section == "step_fresh":
                ecg.match_fresh(key, ours, hyper["lr"])
            else:
                ecg.match(key, ours)


def test_schedules(ecg: Golden):
    total = 100_000
    for i, step in enumerate(map(int, ecg.vectors["schedule/step"])):
        ours = {
            "lr": warmup_cosine(step, total, peak=1e-3, start=1e-6, final=1e-6, warmup=10_000),
            "weight_decay": cosine(step, total, 0.01, 0.1),
            "momentum": TeacherConfig(momentum=(0.998, 0.9995)).momentum_at(step, total),
        }
        for name, value in ours.items():
            assert value == pytest.approx(ecg.vectors[f"schedule/{name}"][i], rel=1e-5), (name, step)


@pytest.mark.parametrize(("size", "dim", "depth", "heads"), [(0, 192, 8, 4), (1, 384, 8, 6), (2, 768, 12, 12)])
def test_parameter_counts(ecg: Golden, size: int, dim: int, depth: int, heads: int):
    with torch.device("meta"):
        encoder = ViT(ViTConfig(patch=(25,), dim=dim, depth=depth, heads=heads, registers=1), 12, (5000,))
    assert sum(p.numel() for p in encoder.parameters()) == ecg.vectors["encoder_parameter_counts"][size]


@pytest.fixture(scope="module", params=["attn", "fc"])
def classifier(request: pytest.FixtureRequest, golden: Path, tmp_path_factory: pytest.TempPathFactory):
    checkpoint = golden / "ecg_jepa" / f"eval_{request.param}_best_chkpt.pt"
    folder = import_weights(checkpoint, tmp_path_factory.mktemp("import") / request.param)
    return request.param, load_model(folder)


def test_classifiers(ecg: Golden, classifier: tuple[str, LoadedModel]):
    name, loaded = classifier
    assert loaded.head is not None
    if name == "attn":
        check_classifier(ecg, "attn", loaded, loaded.head)
    else:
        check_classifier(ecg, "register_fc", loaded, loaded.head)
        mean = TokenHead(HeadConfig(kind="mean"), loaded.encoder.dim, 4, 7)
        mean.load_state_dict(loaded.head.state_dict())
        check_classifier(ecg, "gap_fc", loaded, mean)


def check_classifier(ecg: Golden, section: str, loaded: LoadedModel, head: TokenHead) -> None:
    signal, labels = ecg.tensor("eval/record").transpose(1, 2), ecg.tensor("eval/labels")  # (B, C, samples)
    settings = loaded.config.classifier
    assert settings is not None
    assert settings.window is not None
    assert settings.stride is not None
    starts = Windows(length=settings.window, stride=settings.stride, tail="drop").starts(signal.shape[-1])
    assert starts == ecg.vectors["eval/crop_starts"].tolist()
    crops = [signal[..., start : start + settings.window] for start in starts]
    with torch.no_grad():
        crop_logits = torch.stack([head(*loaded.encoder.features(crop)) for crop in crops], dim=1)
    ecg.match(f"eval/{section}/crop_logits", crop_logits)
    ecg.match(f"eval/{section}/logits", crop_logits.mean(1))
    logits = head(*loaded.encoder.features(signal))
    ecg.match(f"eval/{section}/full_logits", logits)
    if f"eval/{section}/bce" not in ecg.vectors:
        return
    head.zero_grad()
    bce = F.binary_cross_entropy_with_logits(logits, labels)
    bce.backward()
    ecg.match(f"eval/{section}/bce", bce)
    gradients = {f"head.{name}": p.grad for name, p in head.named_parameters()}
    keys = [key for key in ecg.vectors if key.startswith(f"eval/{section}/grad/")]
    assert keys
    for key in keys:
        (ours,) = from_official("gradients", {key.removeprefix(f"eval/{section}/grad/"): ecg.tensor(key)})
        ecg.match(key, gradients[ours])


def test_import_takes_the_teacher_and_keeps_the_student(ecg: Golden, golden: Path, tmp_path: Path):
    folder = import_weights(golden / "ecg_jepa" / "chkpt_2.pt", tmp_path / "model")
    x, reference = ecg.tensor("x"), ecg.objective()
    for weights in ("teacher", "student"):
        loaded = load_model(folder, weights)
        encoder = reference.target.encoder if weights == "teacher" else reference.student
        assert loaded.weights == weights
        assert torch.equal(loaded.encoder(x).values, encoder(x).values)
    with torch.no_grad():
        ecg.match("static/target_out", load_model(folder).encoder(x).padded())
    assert loaded.predictor is not None
    for name, tensor in reference.predictor.state_dict().items():
        assert torch.equal(loaded.predictor.state_dict()[name], tensor)
