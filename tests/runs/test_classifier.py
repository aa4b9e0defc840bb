"""A classifier that an evaluation kept says of the test records what the evaluation said."""

from __future__ import annotations

import json
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
from anyjepa.evaluation.metrics import auroc, macro
from anyjepa.runs.labelled import LabelFile
from anyjepa.weights.model import ClassifierConfig

SIMULATED = SimulatorConfig(patients=44, fs=100, duration_s=6)  # the tiny recipe's
FIT = {"steps": 4, "batch": 16, "warmup": 1, "validate_every": 2, "precision": "32"}


@pytest.fixture(scope="module")
def records():
    return simulate(SIMULATED)


@pytest.fixture(scope="module")
def labels(records) -> LabelTable:
    """Two classes that are not exclusive, and one that no validation record has."""
    split = tuple(("test", "validation", "train", "train")[i % 4] for i in range(len(records)))
    values = np.array([[i // 4 % 2, i % 3 == 0, split[i] != "validation" and i % 5 > 0] for i in range(len(records))])
    return LabelTable(
        tuple(r.id for r in records), ("odd", "third", "rest"), values, tuple(r.group for r in records), False, split
    )


@pytest.fixture(scope="module")
def kept(tiny_run: Path, labels: LabelTable, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "linear"
    anyjepa.evaluate(tiny_run, labels=labels, min_count=0, name="kept", save_classifier=folder)
    return folder


def classifier_of(model: anyjepa.Model) -> ClassifierConfig:
    config = model.loaded.config.classifier
    assert config is not None
    return config


def raw(records) -> list[np.ndarray]:
    return [r.signal for r in records]


SETTINGS = {
    "linear": {},
    "linear of dynamics": {"linear": {"head": "dynamics"}},
    "linear of the middle": {"linear": {"head": "middle"}},
    "attentive": {"attentive": {"fit": FIT}},
    "ecg-linear": {"attentive": {"fit": FIT}},
    "vjepa-attentive": {"attentive": {"fit": {**FIT, "epochs": None}}},
    "finetune": {"finetune": {"fit": FIT}},
    "ecg-finetune": {"finetune": {"fit": FIT}},
    "ecg-finetune-after-linear": {"attentive": {"fit": FIT}, "finetune": {"fit": FIT}},
    "supervised": {"supervised": {"fit": FIT}},
}


@pytest.mark.parametrize("protocol", SETTINGS)
def test_it_gives_the_scores_of_the_evaluation(tiny_run, labels, records, tmp_path, protocol):
    result = anyjepa.evaluate(
        tiny_run,
        labels=labels,
        protocol=protocol.partition(" ")[0],
        settings={"bootstrap": 0, "min_count": 0, **SETTINGS[protocol]},
        name="kept",
        save_classifier=tmp_path / "classifier",
    )
    model = anyjepa.load(tmp_path / "classifier")
    test = [place for place, part in enumerate(labels.split) if part == "test"]
    found = model.predict_classes([records[place].signal for place in test], fs=100)
    first = result.rows[0].repeats[0]
    tolerance = 0.02 if protocol in ("attentive", "vjepa-attentive") else 1e-6  # its tokens are kept in half precision
    area = float(macro(auroc(labels.values[test], found.probabilities)))
    assert area == pytest.approx(first.metrics["macro_auroc"], abs=tolerance)
    chosen = classifier_of(model).thresholds
    assert first.thresholds is not None
    assert chosen == pytest.approx([value if value is not None else 0.5 for value in first.thresholds.values()])
    assert first.thresholds["rest"] is None
    assert np.array_equal(found.decisions, found.probabilities >= np.array(chosen))
    assert result.without_positives == {"validation": {"rest": 1}}
    assert result.preset == (f"{protocol}, changed" if "-" in protocol else "")
    own = [row.name for row in result.rows if not row.control]
    expected = {
        "attentive": ["pretrained (teacher)", "pretrained (teacher), linear probe"],
        "supervised": ["from scratch (same network, labels only)"],
    }
    kind = {"ecg-linear": "attentive", "vjepa-attentive": "attentive"}.get(protocol, protocol)
    assert own == expected.get(kind, ["pretrained (teacher)"])
    assert result.title.startswith({"ecg-linear": "attentive probe (ecg-linear"}.get(protocol, ""))


def test_windows_may_be_read_jointly(tiny_run, labels, records, tmp_path):
    settings = {"bootstrap": 0, "min_count": 0, **SETTINGS["vjepa-attentive"], "windows": {"count": 3}}
    asked = {"labels": labels, "protocol": "vjepa-attentive", "settings": settings, "name": "kept"}
    anyjepa.evaluate(tiny_run, **asked, save_classifier=tmp_path / "joint")
    model = anyjepa.load(tmp_path / "joint")
    config = classifier_of(model)
    assert (config.window, config.stride, config.count, config.joint) == (400, None, 3, True)
    assert config.head.kind == "attentive-block"
    long = np.concatenate([r.signal for r in records[:3]], axis=1)
    found = model.predict_classes([records[5].signal, long], fs=100, leads=LEADS)
    assert found.window_table()["start_s"].tolist() == [0, 0]
    assert found.driven_by_s is None
    assert "odd.window_s" not in found.table()


def test_its_folder_says_what_it_is(kept, tiny_run, labels):
    model = anyjepa.load(kept)
    config, before = model.loaded.config, anyjepa.load(tiny_run).loaded
    assert sorted(path.name for path in kept.iterdir()) == [
        "README.md", "calibration.safetensors", "config.json", "model.safetensors",
        "preprocessing.json", "training_records.json",
    ]  # fmt: skip
    assert (config.weights, config.predictor, classifier_of(model).classes) == ("teacher", False, labels.classes)
    card = (kept / "README.md").read_text()
    assert "Its head is the linear probe of labels on embedded ECGs, trained on" in card
    assert "Threshold 0.5, because the validation data have no positives: rest." in card
    assert "predict_classes" in card
    assert before.records is not None
    assert model.loaded.records is not None
    assert set(before.records.signals) < set(model.loaded.records.signals)  # and what the head was trained on
    assert (before.records.named, model.loaded.records.named) == (True, False)  # a run, and a folder to share
    assert (before.records.sources, model.loaded.records.sources) == (("simulator",), ("simulator",))


def test_windows_explain_a_records_probability(kept, records):
    model = anyjepa.load(kept)
    config = classifier_of(model)
    assert (config.window, config.stride) == (400, 200)
    long = np.concatenate([r.signal for r in records[:3]], axis=1)  # 18 s
    found = model.predict_classes([records[5].signal, long], fs=100, leads=LEADS)
    windows, table = found.window_table(), found.table()
    assert table["windows"].tolist() == [2, 8]
    own = windows[windows["id"] == found.ids[1]]
    assert own["start_s"].tolist() == [0, 2, 4, 6, 8, 10, 12, 14]
    logit = np.array(own["odd.logit"])
    assert table["odd.probability"].iloc[1] == pytest.approx(1 / (1 + np.exp(-logit.mean())), abs=1e-6)
    assert table["odd.window_s"][1] == np.array(own["start_s"])[logit.argmax()]
    assert found.driven_by_s is not None
    assert found.driven_by_s[1, 0] == table["odd.window_s"][1]


def test_records_of_any_length_keep_their_places(kept, records):
    model = anyjepa.load(kept)
    signals = [records[0].signal, records[1].signal[:, :250], records[2].signal[:, :400]]
    with pytest.warns(DataWarning, match=r"1 of 3 records are shorter than the classifier's windows of 4 s"):
        found = model.predict_classes(signals, fs=100)
    assert np.bincount(found.windows.record).tolist() == [2, 1, 1]
    for place in (0, 2):
        alone = model.predict_classes(signals[place], fs=100).probabilities
        np.testing.assert_allclose(found.probabilities[place], alone[0], atol=1e-6)
    with pytest.raises(InputError, match="one token is"):
        model.predict_classes(100 * records[0].signal[:, :5], fs=100)


def test_of_exclusive_classes_the_most_probable_is_decided(tiny_run, records, tmp_path):
    anyjepa.evaluate(tiny_run, bootstrap=0, name="kept", save_classifier=tmp_path / "exclusive")
    found = anyjepa.load(tmp_path / "exclusive").predict_classes(raw(records[:5]), fs=100)
    table = found.table()
    assert found.probabilities.sum(1) == pytest.approx(np.ones(5), abs=1e-5)
    assert table["class"].tolist() == [found.config.classes[place] for place in found.probabilities.argmax(1)]
    assert not [name for name in table if name.endswith(".decision")]


def test_a_fine_tuned_model_knows_its_labelled_records_and_where_they_are_from(tiny_run, labels, records, tmp_path):
    arrays = {"signals": np.stack(raw(records)), "ids": [r.id for r in records], "patients": range(len(records))}
    data = tmp_path / "mine" / "a.npz"  # a file's source is its folder
    data.parent.mkdir()
    np.savez(data, fs=100, leads=LEADS, unit="mV", **arrays)
    settings = {"min_count": 0, "seeds": 1, "finetune": {"fit": FIT}}
    asked = {"labels": labels, "protocol": "finetune", "settings": settings}
    anyjepa.evaluate(anyjepa.load(tiny_run), data, **asked, save_classifier=tmp_path / "tuned")
    tuned = anyjepa.load(tmp_path / "tuned")
    assert tuned.loaded.records is not None
    assert tuned.loaded.records.sources == ("mine", "simulator")
    swapped = replace(labels, split=tuple({"test": "train", "train": "test"}.get(part, part) for part in labels.split))
    result = anyjepa.evaluate(tuned, data, labels=swapped, settings=settings)
    assert "CONTAMINATED: pretraining or fine-tuning saw" in result.notices[0]


def test_a_model_without_a_classifier_is_refused(tiny_run, records, cli, tmp_path):
    with pytest.raises(InputError, match="this model has no classifier; train and save one with anyjepa evaluate"):
        anyjepa.load(tiny_run).predict_classes(raw(records[:1]), fs=100)
    done = cli("predict", tiny_run, tmp_path, "-o", tmp_path / "out.csv")
    assert done.code == 2
    assert done.err.count("\n") == 1


def test_nearest_neighbours_are_not_kept(tiny_run, tmp_path):
    with pytest.raises(InputError, match="nearest neighbours cannot be saved as a classifier"):
        anyjepa.evaluate(tiny_run, protocol="knn", name="kept", save_classifier=tmp_path / "knn")


def edited(change):
    def spoil(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        change(config)
        (folder / "config.json").write_text(json.dumps(config))

    return spoil


def without_the_head(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["head.read.bias"]
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_the_head, r"model\.safetensors: tensor 'head\.read\.bias' is missing"),
        (edited(lambda c: c["classifier"]["thresholds"].pop()), "3 classes, but 2 thresholds"),
        (
            edited(lambda c: c["classifier"]["thresholds"].__setitem__(0, 1.5)),
            r"classifier\.thresholds\[0\] must be",
        ),
        (edited(lambda c: c["classifier"]["classes"].pop()), "3 thresholds"),
        (
            edited(lambda c: c["classifier"]["classes"].reverse()),
            "was saved with another config: classifier.classes is",
        ),
        (edited(lambda c: c["classifier"].pop("head")), r"config\.json: key 'classifier\.head' is missing"),
        (edited(lambda c: c["classifier"].update(window=7, stride=None)), "set both window and stride, or neither"),
    ],
)
def test_a_spoilt_classifier_is_one_clear_line(kept, tmp_path, spoil, said):
    shutil.copytree(kept, tmp_path / "spoilt")
    spoil(tmp_path / "spoilt")
    with pytest.raises(InputError, match=said) as error:
        anyjepa.load(tmp_path / "spoilt")
    assert "\n" not in str(error.value)


def test_thresholds_may_be_chosen_by_hand(kept, records, tmp_path):
    shutil.copytree(kept, tmp_path / "strict")
    edited(lambda c: c["classifier"].update(thresholds=[1.0, 0.0, 0.5]))(tmp_path / "strict")
    found = anyjepa.load(tmp_path / "strict").predict_classes(raw(records[:4]), fs=100)
    assert found.decisions[:, :2].tolist() == [[False, True]] * 4
    edited(lambda c: c["classifier"].update(thresholds=None))(tmp_path / "strict")
    with pytest.warns(DataWarning, match="has no thresholds; 0.5 is used for all classes"):
        again = anyjepa.load(tmp_path / "strict").predict_classes(raw(records[:4]), fs=100)
    assert np.array_equal(again.decisions, again.probabilities >= 0.5)


def test_the_command_line(cli, tiny_run, records, tmp_path):
    kept = tmp_path / "classifier"
    done = cli("evaluate", tiny_run, "--seeds", "1", "--save-classifier", kept)
    assert done.code == 0, done.err
    assert f"classifier: {kept}" in done.out
    assert f"next: anyjepa predict {kept} RECORDS -o predictions.parquet" in done.err
    ids = np.array([r.id for r in records[:4]])
    np.savez(
        tmp_path / "four.npz", signals=np.stack(raw(records[:4])), fs=100, leads=np.array(LEADS), unit="mV", ids=ids
    )
    done = cli("predict", kept, tmp_path / "four.npz", "-o", tmp_path / "out.csv", "--windows", tmp_path / "w.parquet")
    assert done.code == 0, done.err
    assert "out.csv: 4 records" in done.out
    table, windows = pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "w.parquet")
    assert list(table.columns[:3]) == ["id", "patient", "class"]
    assert len(windows) == 4 * 2
    assert cli("predict", kept, tmp_path / "four.npz", "-o", tmp_path / "out.npz").err == (
        f"anyjepa: {tmp_path / 'out.npz'}: predictions are written as .parquet, .arrow, .csv\n"
    )
    assert cli("evaluate", tiny_run, "--protocol", "ecg-linaer").err == (
        "anyjepa: evaluate: there is no protocol 'ecg-linaer'; did you mean 'ecg-linear'?\n"
    )
    listed = cli("recipes").out
    assert "ecg-finetune-after-linear" in listed
    assert cli("recipes", "ecg-linear").out.startswith("name: ecg-linear\n")


def test_a_table_of_labels_may_be_a_file(tiny_run, records, tmp_path):
    frame = pd.DataFrame({"id": [r.id for r in records], "AF": [i % 2 for i in range(len(records))]})
    frame.to_csv(tmp_path / "labels.csv", index=False)
    labels = LabelFile(str(tmp_path / "labels.csv"), "id", "AF", split_by="record")
    result = anyjepa.evaluate(tiny_run, labels=labels, folds=2, name="kept", save_classifier=tmp_path / "af")
    thresholds = result.rows[0].repeats[0].thresholds
    assert thresholds is not None
    assert len(thresholds) == 1
    assert classifier_of(anyjepa.load(tmp_path / "af")).classes == ("AF",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"seedz": 3}}, r"^evaluation: unknown key 'seedz'; did you mean 'seeds'\?$"),
        ({"settings": {"finetune": {"fit": {"emma": 0.9}}}}, r"unknown key 'finetune.fit.emma'; did you mean 'ema'\?$"),
        ({"seeds": 0}, r"^evaluation: seeds must be greater than 0, got 0$"),
    ],
)
def test_a_wrong_setting_of_an_evaluation_is_one_line(tiny_run: Path, changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        anyjepa.evaluate(tiny_run, **changes)
