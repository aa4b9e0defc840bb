"""Numbers of the official NEPA code on images and of its 1-D variant, matched by the rules of tests/golden/nepa_*."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from golden_vectors import Vectors, part_of
from safetensors.torch import load_file
from torch import Tensor

from anyjepa.nn.packing import Layout
from anyjepa.nn.pooling import HeadConfig, TokenHead
from anyjepa.objectives.batch import Batch
from anyjepa.objectives.next_embedding import NextEmbeddingPrediction
from anyjepa.training.config import OptimiserConfig, TrainingConfig
from anyjepa.training.module import Pretraining
from anyjepa.training.parameter_groups import decay_groups
from anyjepa.training.schedules import warmup_cosine
from anyjepa.weights.folder import LoadedModel, load_model
from anyjepa.weights.importers import import_weights
from anyjepa.weights.nepa import convert, from_official
from anyjepa.weights.nepa_export import export_nepa

HEADS = 4


class NepaGolden(Vectors):
    """The vectors, fixture.json, and objectives filled from the folder."""

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.folder = folder
        self.fixture = json.loads((folder / "fixture.json").read_text())
        self.statistics = "ptb-xl" if folder.name == "nepa_ecg" else None
        self.imported = convert(folder, self.statistics)

    def objective(self) -> NextEmbeddingPrediction:
        config = self.imported.config
        settings = config.objective.model_copy(update={"ema": self.fixture["step"]["ema_decay"]})
        model = NextEmbeddingPrediction(settings, config.channels, config.size)
        model.student.load_state_dict(part_of(self.imported.student or {}, "encoder"))
        return model.eval()  # the vectors are: no random factor on the coordinates

    def match_rows(self, key: str, gradients: dict[str, Tensor | None], official: str) -> None:
        """A stored gradient of one official parameter, which may be a part of ours."""
        gradient = gradients[our_name(official)]
        assert gradient is not None
        self.match(key, rows_of(official, gradient))


def our_name(official: str) -> str:
    (name,) = from_official("", {official: torch.zeros(1, 1)})
    return name


def rows_of(official: str, joined: Tensor) -> Tensor:
    """The rows that q, k or v has in our joint projection."""
    for number, part in enumerate(("query", "key", "value")):
        if f".{part}." in official:
            return joined.chunk(3)[number]
    return joined


@pytest.fixture(scope="module", params=["nepa_image", "nepa_ecg"])
def nepa(request: pytest.FixtureRequest, golden: Path) -> NepaGolden:
    return NepaGolden(golden / request.param)


@pytest.fixture(scope="module")
def model(nepa: NepaGolden) -> NextEmbeddingPrediction:
    """Stored weights with the gradients of static/loss. Not changed by tests."""
    model = nepa.objective()
    loss = model(Batch.whole(nepa.tensor("x"))).total()
    loss.backward()
    nepa.match("static/loss", loss)
    return model


def outputs(encoder: torch.nn.Module, x: Tensor) -> Tensor:
    return torch.cat(encoder.features(x), 1)


@torch.no_grad()
def test_forward(nepa: NepaGolden, model: NextEmbeddingPrediction):
    x, student = nepa.tensor("x"), model.student
    assert student.rotary is not None
    angles = student.rotary(student.grid)  # (N, D / H)
    nepa.match("static/rope_cos", angles.cos())
    nepa.match("static/rope_sin", angles.sin())
    tokens = torch.cat([student.prefix.expand(len(x), -1, -1), student.embed(x)], 1)
    nepa.match("static/embeddings", tokens)
    layout = Layout(*tokens.shape[:2], None)
    turned = F.pad(angles, (0, 0, 1, 0))[None, None]  # CLS is not turned
    values = layout.pack(tokens)
    for number, block in enumerate(student.transformer.blocks):
        values = block(values, layout, turned, causal=True)
        nepa.match(f"static/layer_out/{number}", layout.pad(values))
    nepa.match("static/encoder_out", outputs(student, x))
    nepa.match("static/encoder_out", student.read(student.embed(x), student.grid))


def test_gradients(nepa: NepaGolden, model: NextEmbeddingPrediction):
    gradients = {f"encoder.{name}": p.grad for name, p in model.student.named_parameters()}
    names = nepa.fixture["parameter_names"]
    assert {our_name(name) for name in names} == set(gradients)
    for name, norm in zip(names, nepa.vectors["grad_norms"], strict=True):
        ours = gradients[our_name(name)]
        assert ours is not None
        assert rows_of(name, ours).double().norm().item() == pytest.approx(norm, rel=1e-5), name
    for key in (key for key in nepa.vectors if key.startswith("grad/")):
        nepa.match_rows(key, gradients, key.removeprefix("grad/"))


def test_decay_groups(nepa: NepaGolden, model: NextEmbeddingPrediction):
    decayed, rest = ({f"encoder.{n}" for n in group} for group in decay_groups(model.student, "not_1d"))
    official = [{our_name(name) for name in group} for group in nepa.fixture["optimizer_group_names"]]
    assert [decayed, rest] == official


def test_training_steps(nepa: NepaGolden):
    """Two steps: a fresh AdamW and the average's first copy, then both with their state of the first."""
    model, step = nepa.objective(), nepa.fixture["step"]
    settings = OptimiserConfig(lr=step["lr"], betas=step["betas"], eps=step["eps"], warmup=0, decay_rule="not_1d")
    optimiser = Pretraining(model, TrainingConfig(optimiser=settings), ids=()).configure_optimizers()
    optimiser.param_groups[0]["weight_decay"] = step["weight_decay"]
    for number, batch in enumerate(("x", "x2")):
        section = f"step{number + 1}"
        model.begin_step(number, 2)
        optimiser.zero_grad()
        loss = model(Batch.whole(nepa.tensor(batch))).total()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), step["max_grad_norm"])
        optimiser.step()
        model.end_step()
        nepa.match(f"{section}/loss", loss)
        nepa.match(f"{section}/grad_norm_before_clip", norm)
        for kind, encoder in (("weight", model.student), ("ema", model.average)):
            assert encoder is not None
            keys = [key for key in nepa.vectors if key.startswith(f"{section}/{kind}/")]
            assert len(keys) == 3
            for key in keys:
                name = our_name(key.removeprefix(f"{section}/{kind}/")).removeprefix("encoder.")
                nepa.match_fresh(key, encoder.get_parameter(name), step["lr"])


def test_the_average_begins_as_the_weights_after_the_first_step(nepa: NepaGolden):
    model = nepa.objective()
    assert model.average is not None
    for step, share in enumerate((1.0, 0.1)):  # the golden decay is .9
        before = model.average.project.weight.clone()
        model.begin_step(step, 2)
        torch.nn.init.normal_(model.student.project.weight)
        model.end_step()
        expected = before.lerp(model.student.project.weight, share)
        torch.testing.assert_close(model.average.project.weight, expected)


def test_schedule_of_pretraining(nepa: NepaGolden):
    total, warmup = nepa.fixture["schedule"]["total_steps"], nepa.fixture["schedule"]["warmup_steps"]
    settings = OptimiserConfig(lr=1.0, start_lr=0.0, final_lr=0.0, warmup=warmup, ends_after=True)
    for step, factor in zip(nepa.vectors["schedule/step"], nepa.vectors["schedule/lr_factor"], strict=True):
        assert settings.at(int(step), total)[0] == pytest.approx(factor, rel=1e-5, abs=1e-12), step


def test_schedule_of_finetuning(nepa: NepaGolden):
    """Official lower layers warm up longer; here all warm up alike, so the array is composed from our schedule."""
    total, warmup = nepa.fixture["schedule"]["total_steps"], nepa.fixture["schedule"]["warmup_steps"]
    for column, above in enumerate((0, 1, 3)):
        peak = 0.65**above
        own = max(1, round(warmup * (1 - peak)))
        for step, factors in zip(nepa.vectors["schedule/step"], nepa.vectors["schedule/llrd_factor"], strict=True):
            ours = warmup_cosine(int(step), total + 1, peak=peak, start=0.0, final=0.0, warmup=own)
            assert ours == pytest.approx(factors[column], rel=1e-5, abs=1e-12), (above, step)


@torch.no_grad()
def test_import_takes_the_average_and_keeps_the_student(nepa: NepaGolden, tmp_path: Path):
    folder, x = import_weights(nepa.folder, tmp_path / "model", nepa.statistics), nepa.tensor("x")
    average, student = load_model(folder), load_model(folder, "student")
    assert (average.weights, student.weights) == ("average", "student")
    nepa.match("ema_file/encoder_out", outputs(average.encoder, x))
    nepa.match("static/encoder_out", outputs(student.encoder, x))
    model = nepa.objective()
    model.student.load_state_dict(average.encoder.state_dict())
    nepa.match("ema_file/loss", model(Batch.whole(x)).total())


def test_export_writes_the_tensors_that_were_imported(nepa: NepaGolden, tmp_path: Path):
    folder = import_weights(nepa.folder, tmp_path / "model", nepa.statistics)
    classifier = import_weights(nepa.folder / "cls", tmp_path / "classifier", nepa.statistics)
    for place, weights, original in (
        (folder, "student", load_file(nepa.folder / "model.safetensors")),
        (folder, "average", torch.load(nepa.folder / "pytorch_model_ema.bin", weights_only=True)),
        (classifier, None, load_file(nepa.folder / "cls" / "model.safetensors")),
    ):
        written = export_nepa(place, tmp_path / f"{place.name}-{weights}", weights)
        tensors, config = load_file(written / "model.safetensors"), json.loads((written / "config.json").read_text())
        assert tensors.keys() == original.keys()
        assert all(torch.equal(tensors[name], original[name]) for name in original)
        reference = json.loads((nepa.folder / ("cls" if place is classifier else "") / "config.json").read_text())
        names = {"id2label", "label2id", "transformers_version"} if place is classifier else {"transformers_version"}
        assert {key: config[key] for key in reference.keys() - names} == {
            key: reference[key] for key in reference.keys() - names
        }


@pytest.fixture(scope="module")
def classifier(nepa: NepaGolden, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return load_model(import_weights(nepa.folder / "cls", tmp_path_factory.mktemp("nepa") / "cls", nepa.statistics))


def test_classifier(nepa: NepaGolden, classifier: LoadedModel):
    x, head = nepa.tensor("x"), classifier.head
    assert head is not None
    assert classifier.config.classifier is not None
    assert classifier.config.classifier.causal is False
    prefix, patches = classifier.encoder.features(x)
    nepa.match("cls/encoder_out", torch.cat([prefix, patches], 1))
    logits = head(prefix, patches)
    nepa.match("cls/logits", logits)
    loss = F.cross_entropy(logits, nepa.tensor("cls/labels"))
    nepa.match("cls/ce", loss)
    both = torch.nn.ModuleDict({"encoder": classifier.encoder, "head": head})
    both.zero_grad()
    loss.backward()
    gradients = {name: p.grad for name, p in both.named_parameters()}
    keys = [key for key in nepa.vectors if key.startswith("cls/grad/")]
    assert len(keys) == 5
    for key in keys:
        nepa.match_rows(key, gradients, key.removeprefix("cls/grad/"))


@torch.no_grad()
def test_other_readings_of_the_classifier(nepa: NepaGolden, classifier: LoadedModel):
    encoder, head, x = classifier.encoder, classifier.head, nepa.tensor("x")
    assert head is not None
    last = TokenHead(HeadConfig(kind="last", bias=True), encoder.dim, HEADS, 5)
    last.read.load_state_dict(head.read.state_dict())
    nepa.match("cls/logits_last_token", last(*encoder.features(x)))
    two_way = encoder.config
    encoder.config = two_way.model_copy(update={"causal": True})
    nepa.match("cls/logits_causal", head(*encoder.features(x)))
    encoder.config = two_way
