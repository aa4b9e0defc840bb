"""A saved classifier says which answers cannot be excluded, and how unusual a record is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.labels import LabelTable
from anyjepa.errors import DataWarning, InputError

SIMULATED = SimulatorConfig(patients=44, fs=100, duration_s=6)  # the tiny recipe's


@pytest.fixture(scope="module")
def records():
    return simulate(SIMULATED)


def table_of(records, names: list[str]) -> LabelTable:
    ids, groups = ([getattr(r, key) for r in records] for key in ("id", "group"))
    split = [("train", "validation", "validation", "test")[i // 2 % 4] for i in range(len(records))]
    return LabelTable.of_names(ids, names, groups, split)


@pytest.fixture(scope="module")
def labels(records) -> LabelTable:
    """Two exclusive classes, of which 11 patients each are in the validation part."""
    return table_of(records, ["even" if i % 2 == 0 else "odd" for i in range(len(records))])


def kept(run: Path, labels: LabelTable, folder: Path, **options) -> Path:
    anyjepa.evaluate(run, labels=labels, min_count=0, bootstrap=0, name="kept", save_classifier=folder, **options)
    return folder


@pytest.fixture(scope="module")
def exclusive(tiny_run, labels, tmp_path_factory) -> Path:
    return kept(tiny_run, labels, tmp_path_factory.mktemp("trust") / "exclusive")


def part(records, labels: LabelTable, name: str) -> list[np.ndarray]:
    return [r.signal for r, split in zip(records, labels.split, strict=True) if split == name]


def test_the_calibration_is_that_of_the_validation_records(exclusive, records, labels):
    model = anyjepa.load(exclusive)
    found = model.predict_classes(part(records, labels, "validation"), fs=100)
    names = np.array([["even", "odd"].index(n) for n in ["even", "odd"] * 11])
    for place, scores in enumerate(found.calibration.scores):
        own = 1 - found.probabilities[names == place, place].astype(float)
        np.testing.assert_allclose(scores, np.sort(own), atol=1e-5)
    assert sorted(found.typicality * 23) == pytest.approx(np.arange(2, 24), abs=1.1)  # rounding can cost one place
    covered = found.sets(0.9)[np.arange(22), names]
    assert covered.sum() >= 20


def test_answers_yes_no_and_unsure_are_those_of_the_sets(tiny_run, records, labels, tmp_path):
    values = np.stack([labels.values[:, 0], np.arange(44) % 3 == 0], 1)
    folder = kept(tiny_run, replace(labels, classes=("even", "third"), values=values, exclusive=False), tmp_path / "m")
    found = anyjepa.load(folder).predict_classes(part(records, labels, "test"), fs=100)
    with pytest.warns(DataWarning, match=r"coverage 0\.9: too few validation records to ever exclude yes third$"):
        sets = found.sets(0.9)
    assert sets.shape == (10, 2, 2)
    assert sets[:, 1, 1].all()
    with pytest.warns(DataWarning, match="too few"):
        table = found.table(0.9)
    for place, name in enumerate(("even", "third")):
        spelt = {(True, False): "no", (False, True): "yes"}
        expected = [spelt.get((bool(no), bool(yes)), "unsure") for no, yes in sets[:, place]]
        assert table[f"{name}.answer"].tolist() == expected


def test_records_of_another_kind_are_not_typical(exclusive, records, labels):
    model, clean = anyjepa.load(exclusive), part(records, labels, "test")
    shifted = [-2 * x for x in clean]
    found, other = (model.predict_classes(x, fs=100).typicality for x in (clean, shifted))
    assert other.mean() < 0.1 < 0.2 < found.mean()


def test_one_record_of_each_patient_calibrates(tiny_run, labels, tmp_path):
    groups = tuple(f"patient {i // 4}" if s == "validation" else g for i, (s, g) in enumerate(
        zip(labels.split, labels.groups, strict=True)))  # fmt: skip
    folder = kept(tiny_run, replace(labels, groups=groups), tmp_path / "grouped")
    calibration = anyjepa.load(folder).loaded.calibration
    patients = len({g for g, s in zip(groups, labels.split, strict=True) if s == "validation"})
    assert sum(map(len, calibration.scores)) == len(calibration.distances) == patients < 22


def test_a_classifier_that_was_trained_on_the_validation_part_has_no_calibration(tiny_run, labels, records, tmp_path):
    folder = kept(tiny_run, labels, tmp_path / "refit", settings={"linear": {"refit": True}})
    found = anyjepa.load(folder).predict_classes(part(records, labels, "test"), fs=100)
    assert found.typicality is None
    assert "typicality" not in found.table()
    with pytest.raises(InputError, match=r"^coverage: this classifier was saved without calibration; save it again"):
        found.table(0.9)


def test_the_command_writes_sets_and_typicality(cli, exclusive, records, labels, tmp_path):
    x = part(records, labels, "test")
    np.savez(tmp_path / "x.npz", signals=np.stack(x), fs=100, leads=LEADS, unit="mV", ids=[f"r{i}" for i in range(10)])
    ask = ("predict", exclusive, tmp_path / "x.npz", "-o", tmp_path / "out.csv")
    done = cli(*ask, "--coverage", "0.9")
    assert done.code == 0, done.err
    table, found = pd.read_csv(tmp_path / "out.csv"), anyjepa.load(exclusive).predict_classes(x, fs=100)
    names = np.array(["even", "odd"], object)
    assert table["set"].fillna("").tolist() == [" | ".join(names[row]) for row in found.sets(0.9)]
    assert table["typicality"].tolist() == pytest.approx(found.typicality.tolist())
    assert cli(*ask, "--coverage", "90").err == "anyjepa: coverage 90: must be between 0 and 1, such as 0.9\n"
    assert cli(*ask, "--coverage", "0.9", "--horizon", "1").err == (
        "anyjepa: predict: --coverage is for classifiers and --horizon for NEPA models; pass one of them\n"
    )
    with pytest.warns(DataWarning, match=r"coverage 0\.99: too few validation records to ever exclude even, odd$"):
        assert found.sets(0.99).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("centre"), "array 'centre' is missing"),
        (lambda t: t.update(more=t["centre"].clone()), "array 'more' is unknown"),
        (lambda t: t["distances"].fill_(float("nan")), "array 'distances' has a wrong shape, type or value"),
        (lambda t: t["counts"].add_(1), "it does not have the scores of 2 answers"),
        (lambda t: t.update(centre=t["centre"][1:]), "its embeddings do not have width 16"),
    ],
)
def test_a_spoilt_calibration_is_one_clear_line(exclusive, tmp_path, change, message):
    shutil.copytree(exclusive, tmp_path / "spoilt")
    file = tmp_path / "spoilt" / "calibration.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)
    with pytest.raises(InputError, match=rf"calibration\.safetensors: {message}; save the classifier again$"):
        anyjepa.load(tmp_path / "spoilt")


def test_damage_and_a_wrong_folder_are_found(exclusive, tiny_run, tmp_path):
    for source, name in ((exclusive, "damaged"), (tiny_run / "model", "encoder")):
        shutil.copytree(source, tmp_path / name)
    content = bytearray((exclusive / "calibration.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "damaged" / "calibration.safetensors").write_bytes(content)
    with pytest.raises(InputError, match="is damaged: its checksum does not match"):
        anyjepa.load(tmp_path / "damaged")
    shutil.copy(exclusive / "calibration.safetensors", tmp_path / "encoder")
    with pytest.raises(InputError, match="belongs to a classifier, but this model has none; remove the file"):
        anyjepa.load(tmp_path / "encoder")
