"""The models that come with the package: small, loaded by name, and as good as their cards say."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

import anyjepa
from anyjepa.data.modalities import evaluation_data
from anyjepa.data.samples import SelectedSamples
from anyjepa.errors import InputError
from anyjepa.evaluation.cache import FeatureCache
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.dense import DenseStudy
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.metrics import auroc, macro
from anyjepa.evaluation.probes import LinearProbe, linear_probe
from anyjepa.evaluation.splits import Fixed, low_shot, splits
from anyjepa.evaluation.study import Candidate
from anyjepa.evaluation.windows import Windows
from anyjepa.weights.card import model_card
from anyjepa.weights.folder import load_model, save_model
from anyjepa.weights.shipped import about, shipped_folder, shipped_names

SEEDS = 2  # of the evaluation in the card of the image encoder


@pytest.mark.parametrize("name", shipped_names())
def test_a_model_loads_by_name_and_is_small(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    model = anyjepa.load(name)
    assert {parameter.dtype for parameter in model.encoder.parameters()} == {torch.float32}
    assert sum(file.stat().st_size for file in shipped_folder(name).iterdir()) < 6e6
    millions = sum(parameter.numel() for parameter in model.encoder.parameters()) / 1e6
    assert about(name).parameters == f"{millions:.2f} M"


@pytest.mark.parametrize("name", shipped_names())
def test_a_card_names_licence_compute_and_limits_and_its_score(name):
    card = (shipped_folder(name) / "README.md").read_text()
    assert {"## Licence", "## Compute", "## Limits"} <= set(card.splitlines())
    numbers = re.findall(r"0\.\d{3}", about(name).score)
    assert numbers
    assert all(number in card for number in numbers)


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ecg-sim-xs").mkdir()
    with pytest.raises(InputError, match=r"config\.json"):
        anyjepa.load("ecg-sim-xs")


@pytest.mark.parametrize("name", shipped_names())
def test_a_card_describes_inputs_and_encoder_as_new_cards_do(name):
    loaded = load_model(folder := shipped_folder(name))
    new = model_card(name, loaded.config, loaded.preprocessing, loaded.parameters()).splitlines()
    rows = {line for line in new if line.startswith(("| input", "| token", "| encoder", "- Inputs with another"))}
    assert rows <= set((folder / "README.md").read_text().splitlines())
    assert ("| encoder | width 256 |" in rows) == (name == "vicreg-resnet10-cifar10")  # a ResNet has no heads
    assert ("| encoder | width 96, 4 blocks, 4 heads |" in rows) == (name == "ecg-sim-xs")


def test_the_list_and_the_cards_are_printed(cli):
    listed = cli("models")
    assert listed.code == 0
    assert all(name in listed.out for name in shipped_names())
    assert cli("models", "ecg-sim-xs").out.startswith("---\nlibrary_name: anyjepa")
    wrong = cli("models", "ecg-sim-x")
    assert (wrong.code, wrong.err) == (2, "anyjepa: there is no model 'ecg-sim-x'; did you mean 'ecg-sim-xs'?\n")


def test_half_precision_is_read_as_single_precision(tmp_path):
    loaded = load_model(shipped_folder("ecg-sim-xs"))
    tensors = {f"encoder.{name}": tensor * 1.0001 for name, tensor in loaded.encoder.state_dict().items()}
    again = load_model(save_model(tmp_path / "half", loaded.config, tensors, loaded.preprocessing, half=True))
    for name, tensor in again.encoder.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, tensors[f"encoder.{name}"].half().float())


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["ecg-sim-xs", "ecg-sim-s"])
def test_an_ecg_encoder_is_as_good_on_ludb_as_its_card_says(name: str, test_data):
    model = anyjepa.load(name)
    samples = evaluation_data(model.preprocessing, [test_data / "ludb"], None, "raise", {"unit": "uV"})
    linear = LinearProbe(strengths=(1e-3, 1e-2, 1e-1))
    config = EvaluationConfig(protocol="dense", low_shot=5, linear=linear)
    study = DenseStudy(samples, samples.places("waves"), samples.groups, (10,), None, config, FeatureCache())
    evaluator, _ = study.evaluators({"shipped": Candidate(model.encoder)})["shipped"]
    areas = [macro(auroc(study.table.values[split.test], evaluator(split).probed.scores)) for split in study.repeats]
    card = (shipped_folder(name) / "README.md").read_text()
    section = card[card.index("single tokens, labels of 5") :]
    assert np.mean(areas) == pytest.approx(float(re.search(r"\(teacher\) \| (0\.\d{3})", section)[1]), abs=0.002)


@pytest.mark.realdata
def test_its_dynamics_recognise_the_rhythms_of_ludb(test_data):
    result = anyjepa.evaluate(
        "ecg-sim-xs",
        test_data / "ludb",
        task="rhythm",
        unit="uV",
        seeds=1,
        settings={"linear": {"head": "dynamics", "balanced": True}, "bootstrap": 0},
    )
    pretrained, random, *_ = (row.metrics["macro_auroc"].mean for row in result.rows)
    assert pretrained > 0.88  # the card: 0.917 over three seeds
    assert random < pretrained - 0.1


@pytest.mark.realdata
def test_the_image_encoder_is_as_good_on_cifar_as_its_card_says(test_data, tmp_path):
    unpack = test_data.resolve().parent / "tools" / "unpack_cifar10.py"
    subprocess.run([sys.executable, unpack, tmp_path], check=True, capture_output=True)
    model = anyjepa.load("vicreg-resnet10-cifar10")
    dataset = evaluation_data(model.preprocessing, [tmp_path], None, "raise", {})
    table = dataset.tables["class"]
    repeats = [low_shot(table, split, 10) for seed in range(SEEDS) for split in splits(table, Fixed(), seed)]
    rows = np.unique(np.concatenate([part for few in repeats for part in (few.train, few.validation, few.test)]))
    x = np.zeros((len(dataset), model.encoder.dim), np.float32)
    x[rows] = mean_features(model.encoder, SelectedSamples(dataset, rows), Windows())
    scores = [linear_probe(x, table.values, few, True, LinearProbe()).scores for few in repeats]
    areas = [macro(auroc(table.values[few.test], found)) for few, found in zip(repeats, scores, strict=True)]
    card = (shipped_folder("vicreg-resnet10-cifar10") / "README.md").read_text()
    stated = re.search(r"pretrained \(student\) \| (0\.\d{3})", card)
    assert np.mean(areas) == pytest.approx(float(stated[1]), abs=0.002)


@pytest.mark.realdata
def test_the_grey_encoder_is_as_good_on_digits_as_its_card_says(test_data):
    folder, name = test_data / "mnist", "t10k-{}-ubyte.gz"
    pixels = np.frombuffer(gzip.decompress((folder / name.format("images-idx3")).read_bytes()), np.uint8, offset=16)
    digits = np.frombuffer(gzip.decompress((folder / name.format("labels-idx1")).read_bytes()), np.uint8, offset=8)
    settings = {"linear": {"head": "dynamics"}, "split": {"kind": "holdout", "test": 0.3}, "bootstrap": 0}
    result = anyjepa.evaluate(
        "ijepa-fashion-mnist",
        pixels.reshape(-1, 28, 28),
        labels=digits.astype(str),
        seeds=1,
        low_shot=10,
        settings=settings,
    )
    card = (shipped_folder("ijepa-fashion-mnist") / "README.md").read_text()
    stated = re.findall(r"^\| ([^|]+) \| (0\.\d{3}) \|", card[card.index("## MNIST digit") :], re.MULTILINE)
    measured = {row.title: row.metrics["macro_auroc"].mean for row in result.rows}
    assert measured == pytest.approx({title: float(number) for title, number in stated}, abs=0.002)
