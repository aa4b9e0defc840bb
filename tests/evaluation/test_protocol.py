"""`evaluate` end to end on signals whose classes are amplitudes, which features of any network see."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from io import StringIO
from unittest import mock

import numpy as np
import pytest
import torch
from rich.console import Console

from anyjepa.data.labels import LabelTable
from anyjepa.data.samples import ArraySamples, signal_hashes
from anyjepa.errors import InputError
from anyjepa.evaluation import features, study
from anyjepa.evaluation.attentive import AttentiveProbe
from anyjepa.evaluation.cache import cache_key
from anyjepa.evaluation.finetune import Finetune
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.probes import LinearProbe
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig, evaluate
from anyjepa.evaluation.result import Result, render
from anyjepa.evaluation.splits import Fixed, Folds, Holdout
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.vit import ViT, ViTConfig
from anyjepa.training.precision import of_machine
from anyjepa.weights.model import TrainingRecords

RECORDS = 90
SHORT = FitConfig(steps=4, validate_every=2, precision="32")
FAST = {
    "seeds": 2,
    "split": Folds(folds=3),
    "bootstrap": 50,
    "windows": Windows(length=20, stride=20),
    "attentive": AttentiveProbe(fit=SHORT),
    "finetune": Finetune(fit=SHORT),
    "supervised": Finetune(fit=SHORT),
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    torch.manual_seed(0)
    return ViT(ViTConfig(patch=(5,), dim=16, depth=1, heads=2, registers=1), channels=2, size=(40,)).eval()


@pytest.fixture(scope="module")
def samples() -> ArraySamples:
    rng = np.random.default_rng(0)
    signals = [(1 + i % 3) * rng.normal(size=(2, 40)).astype(np.float32) for i in range(RECORDS)]
    return ArraySamples(tuple(f"r{i}" for i in range(RECORDS)), signals)


@pytest.fixture(scope="module")
def labels() -> LabelTable:
    values = np.eye(3)[np.arange(RECORDS) % 3]
    groups = tuple(f"p{i // 2}" for i in range(RECORDS))
    return LabelTable(tuple(f"r{i}" for i in range(RECORDS)), ("low", "mid", "high"), values, groups, exclusive=True)


def names(result: Result) -> list[str]:
    return [row.name for row in result.rows]


def printed(result: Result) -> str:
    """As a terminal of 80 columns shows it."""
    console = Console(width=80, file=StringIO())
    console.print(render(result))
    return console.file.getvalue()


def test_print_shows_the_table(encoder, samples, labels, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(**FAST), task="amplitude")
    assert str(result) == printed(result)
    assert "accuracy" in printed(result)  # its classes are exclusive
    assert "accuracy" not in printed(result.model_copy(update={"exclusive": False}))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" not in str(result)


def test_linear_probe_beside_its_controls(encoder, samples, labels):
    result = evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(**FAST), task="amplitude")
    assert names(result) == [
        "pretrained",
        "random init (same network)",
        "raw input (2 x 40 bin means)",
        "raw statistics (mean, std, min, max of 2 channels)",
    ]
    assert [row.control for row in result.rows] == [False, True, True, True]
    assert [row.weights for row in result.rows] == ["teacher", "random", "none", "none"]
    statistics = result.rows[3].metrics["macro_auroc"]
    assert statistics.mean > 0.9 > result.rows[2].metrics["macro_auroc"].mean
    assert statistics.low < statistics.mean < statistics.high
    assert statistics.bootstrap[0] < statistics.mean < statistics.bootstrap[1]
    assert [(r.seed, r.fold) for r in result.rows[0].repeats] == [(s, f) for s in range(2) for f in range(3)]
    assert [d.minus for d in result.differences] == names(result)[1:]
    means = [row.metrics["macro_auroc"].mean for row in result.rows]
    assert result.differences[2].estimate.mean == pytest.approx(means[0] - means[3])
    assert result.classes == {"low": 30, "mid": 30, "high": 30}
    assert sum(result.parts.records) == RECORDS
    assert result.notices == (
        "pretrained: unknown whether pretraining saw test records: its training data are unknown",
    )


def test_a_collapsed_encoder_is_not_rewarded_silently(encoder, samples, labels, monkeypatch):
    features = encoder.features
    squeezed = lambda x, start=None: tuple(1 + 1e-3 * tokens for tokens in features(x, start))  # noqa: E731
    healthy = evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(seeds=1, bootstrap=10))
    assert not any("collapsed" in notice for notice in healthy.notices)
    monkeypatch.setattr(encoder, "features", squeezed)
    result = evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(seeds=1, bootstrap=10))
    assert result.rows[0].spread < 1e-3 < healthy.rows[0].spread
    assert any("pretrained: features of different" in notice and "collapsed" in notice for notice in result.notices)


def test_random_encoders_change_with_the_seed(encoder, samples, labels):
    config = EvaluationConfig(**(FAST | {"split": Fixed()}))
    fixed = replace(labels, split=("train",) * 40 + ("validation",) * 20 + ("test",) * 30)
    result = evaluate({"pretrained": Candidate(encoder)}, samples, fixed, config)
    pretrained, random = ([r.class_metrics["auroc"] for r in row.repeats] for row in result.rows[:2])
    assert pretrained[0] == pretrained[1]
    assert random[0] != random[1]


def test_the_tables_own_split_is_the_default(encoder, samples, labels):
    fixed = replace(labels, split=("train",) * 40 + ("validation",) * 20 + ("test",) * 30)
    config = EvaluationConfig(**(FAST | {"split": None, "seeds": 1}))
    assert evaluate({"pretrained": Candidate(encoder)}, samples, fixed, config).parts.records == (40, 20, 30)


@pytest.mark.parametrize("seeds", [1, 3])
def test_on_one_test_part_intervals_are_over_patients(encoder, samples, labels, seeds):
    fixed = replace(labels, split=("train",) * 40 + ("validation",) * 20 + ("test",) * 30)
    config = EvaluationConfig(**(FAST | {"split": None, "seeds": seeds}))
    result = evaluate({"pretrained": Candidate(encoder)}, samples, fixed, config)
    first, *others = result.rows
    assert result.intervals == "patients"
    shown = result.metric(first, "macro_auroc")
    assert (shown.low, shown.high) == first.metrics["macro_auroc"].bootstrap
    assert result.metric(first, "accuracy").low is not None
    assert result.metric(first, "auroc", "low").low is not None
    assert result.difference(first).mean is None
    for row in others:
        gain = result.difference(row)
        assert gain.low <= gain.mean <= gain.high
    shown = printed(result)
    assert "Intervals: 95 % over patients (bootstrap)" in shown
    low, high = result.differences[0].estimate.bootstrap
    assert f"{low:+.3f} to {high:+.3f}" in shown  # on one line
    assert not re.search(r"([-+]?\d\.\d{3}) to \1", shown)


def test_one_holdout_has_intervals_over_patients(encoder, samples, labels):
    config = EvaluationConfig(**(FAST | {"split": Holdout(test=0.3), "seeds": 1}))
    assert evaluate({"pretrained": Candidate(encoder)}, samples, labels, config).intervals == "patients"


def test_without_resamples_there_is_no_interval_over_patients(encoder, samples, labels):
    config = EvaluationConfig(**(FAST | {"split": Holdout(test=0.3), "seeds": 1, "bootstrap": 0}))
    result = evaluate({"pretrained": Candidate(encoder)}, samples, labels, config)
    assert result.rows[0].metrics["macro_auroc"].bootstrap is result.differences[0].estimate.bootstrap is None
    assert " to " not in printed(result)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ("knn", ["pretrained", "random init (same network)", "raw input (2 x 40 bin means)"]),
        (
            "attentive",
            [
                "pretrained",
                "pretrained, linear probe",
                "random init (same network)",
                "raw input (2 x 40 bin means), linear probe",
            ],
        ),
        (
            "finetune",
            [
                "pretrained",
                "from scratch (same network, labels only)",
                "raw input (2 x 40 bin means), linear probe",
            ],
        ),
        ("supervised", ["from scratch (same network, labels only)", "raw input (2 x 40 bin means), linear probe"]),
    ],
)
def test_every_protocol_has_controls(encoder, samples, labels, chosen, expected):
    config = EvaluationConfig(protocol=chosen, **(FAST | {"split": Holdout(test=0.3)}))
    result = evaluate({"pretrained": Candidate(encoder)}, samples, labels, config)
    assert names(result)[:-1] == expected
    own = [row.name.startswith("pretrained") or row.name == names(result)[0] for row in result.rows]
    assert [row.control for row in result.rows] == [not one for one in own]
    assert all(np.isfinite(row.metrics["macro_auroc"].mean) for row in result.rows)


def test_from_scratch_may_stand_beside_a_probe(encoder, samples, labels):
    config = EvaluationConfig(from_scratch=True, low_shot=5, **(FAST | {"split": Holdout(test=0.3)}))
    result = evaluate({"pretrained": Candidate(encoder)}, samples, labels, config)
    assert names(result)[-1] == "from scratch (same network, labels only)"
    assert result.parts.records[:2] == (15, 12)  # five a class, and all that validation has


@pytest.mark.parametrize("chosen", ["linear", "knn", "attentive"])
def test_only_records_that_a_split_uses_are_encoded(encoder, samples, labels, chosen, monkeypatch):
    config = EvaluationConfig(protocol=chosen, low_shot=5, **(FAST | {"seeds": 1, "split": Holdout(test=0.3)}))
    encoded, real = [], features.encoded
    monkeypatch.setattr(features, "encoded", lambda *of: encoded.append(len(of[1])) or real(*of))
    few = evaluate({"pretrained": Candidate(encoder)}, samples, labels, config)
    assert set(encoded) == {sum(few.parts.records)}
    assert sum(few.parts.records) < RECORDS
    monkeypatch.setattr(study.Study, "_used", property(lambda one: np.arange(len(one.samples))))
    whole = evaluate({"pretrained": Candidate(encoder)}, samples, labels, config)
    for row, same in zip(few.rows, whole.rows, strict=True):
        assert row.metrics["macro_auroc"].mean == pytest.approx(same.metrics["macro_auroc"].mean, abs=1e-6)


@pytest.mark.parametrize("chosen", ["linear", "attentive"])
def test_few_labels_use_the_features_that_a_whole_evaluation_kept(
    encoder, samples, labels, chosen, tmp_path, monkeypatch
):
    settings = FAST | {"seeds": 1, "split": Holdout(test=0.3), "protocol": chosen}
    few = EvaluationConfig(low_shot=5, **settings)
    alone = evaluate({"pretrained": Candidate(encoder)}, samples, labels, few)
    evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(**settings), cache=tmp_path)
    monkeypatch.setattr(features, "encoded", mock.Mock(side_effect=AssertionError("encoded again")))
    kept = evaluate({"pretrained": Candidate(encoder)}, samples, labels, few, cache=tmp_path)
    for row, same in zip(kept.rows, alone.rows, strict=True):
        assert row.metrics["macro_auroc"].mean == pytest.approx(same.metrics["macro_auroc"].mean, abs=1e-6)


def test_shuffled_labels_give_chance(encoder, samples, labels):
    shuffled = replace(labels, values=np.random.default_rng(0).permutation(labels.values))
    config = EvaluationConfig(**(FAST | {"seeds": 4}))
    result = evaluate({"pretrained": Candidate(encoder)}, samples, shuffled, config)
    for row in result.rows:
        assert row.metrics["macro_auroc"].mean == pytest.approx(0.5, abs=0.12)


def test_pretraining_is_compared_with_every_test_part(encoder, samples, labels):
    hashes = signal_hashes(samples)

    def without_test(split):
        rest = np.setdiff1d(np.arange(RECORDS), split.test)
        seen = TrainingRecords.of(*([column[i] for i in rest] for column in (labels.ids, labels.groups, hashes)))
        return Candidate(encoder, "student", seen)

    all_seen = Candidate(encoder, seen=TrainingRecords.of(labels.ids, labels.groups, hashes))
    config = EvaluationConfig(**FAST)
    result = evaluate({"honest": without_test, "saw all": all_seen}, samples, labels, config)
    assert [row.transductive for row in result.rows] == [False, True, False, False, False]
    assert result.rows[0].weights == "student"
    assert result.notices == (
        "saw all: TRANSDUCTIVE: pretraining saw 90 of 90 test records or their groups, unlabelled; "
        "on new ones the score may be lower (pretrain --hold-out keeps some for testing)",
    )
    assert result.rows[0].repeats[0].metrics == result.rows[1].repeats[0].metrics  # the same encoder


def test_features_are_computed_once(encoder, samples, labels, tmp_path, monkeypatch):
    calls = []
    compute = study.summary_features

    def counted(*arguments):
        calls.append(1)
        return compute(*arguments)

    monkeypatch.setattr(study, "summary_features", counted)
    first = evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(**FAST), cache=tmp_path)
    assert len(calls) == 1 + 2  # the encoder, and a random one a seed
    second = evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(**FAST), cache=tmp_path)
    assert len(calls) == 3
    assert first == second


def test_dynamics_know_the_rhythm_that_the_mean_forgets(encoder):
    """Classes are the time from beat to beat, three or four tokens; the phase is random, the number of beats equal."""
    rng = np.random.default_rng(0)
    signals = [0.1 * rng.normal(size=(2, 240)).astype(np.float32) for _ in range(RECORDS)]
    for number, signal in enumerate(signals):
        beats = rng.integers(60) + 5 * (3 + number % 2) * np.arange(9)
        signal[:, beats] += 5
    rhythms = ArraySamples(tuple(f"r{i}" for i in range(RECORDS)), signals)
    values = np.arange(RECORDS)[:, None] % 2
    labels = LabelTable(rhythms.ids, ("slow",), values, rhythms.ids, exclusive=False)
    scores = {}
    for head in ("mean", "dynamics"):
        config = EvaluationConfig(**FAST | {"windows": Windows(), "linear": LinearProbe(head=head)})  # type: ignore[arg-type]
        result = evaluate({"pretrained": Candidate(encoder)}, rhythms, labels, config)
        scores[head] = [row.metrics["macro_auroc"].mean for row in result.rows]
    mean, random, *_ = scores["mean"]
    assert max(mean, random) < 0.8
    *networks, _, _, patches = scores["dynamics"]
    assert names(result)[-1] == "raw patches (the same summary)"
    assert min(*networks, patches) > 0.95


def test_ids_and_classes_left_out_are_counted(encoder, samples, labels):
    values = np.c_[labels.values, np.zeros(RECORDS)]
    values[:4] = [0, 0, 0, 1]
    more = LabelTable(
        (*labels.ids[5:], "unknown", *labels.ids[:4]),
        (*labels.classes, "rare"),
        np.concatenate([values[5:], [[1, 0, 0, 0]], values[:4]]),
        (*labels.groups[5:], "p", *labels.groups[:4]),
        exclusive=True,
    )
    result = evaluate({"pretrained": Candidate(encoder)}, samples, more, EvaluationConfig(**FAST))
    assert (result.unlabelled, result.absent, result.dropped) == (1, 1, {"rare": 4})
    assert result.examples == {"unlabelled": ("r4",), "absent": ("unknown",)}
    assert "1 records without exactly one class: r4." in printed(result)
    assert f"{RECORDS - 5} records of" in printed(result)
    assert result.records == RECORDS - 5
    none = replace(labels, classes=(*labels.classes, "none"), values=np.c_[labels.values, np.zeros(RECORDS)])
    assert evaluate({"pretrained": Candidate(encoder)}, samples, none, EvaluationConfig(**FAST)).dropped == {}


def test_a_class_missing_from_test_parts_is_named(encoder, samples, labels):
    values = np.c_[np.arange(RECORDS) % 2, np.arange(RECORDS) == 7]
    multi = replace(labels, classes=("odd", "once"), values=values, exclusive=False)
    result = evaluate({"pretrained": Candidate(encoder)}, samples, multi, EvaluationConfig(min_count=1, **FAST))
    assert result.unscored == {"once": 4}  # tested in one of three folds, twice
    assert result.without_positives["test"] == {"once": 4}
    assert set(result.without_positives) == {"train", "validation", "test"}
    assert "Without positives in some train parts: once (" in printed(result)
    assert set(result.rows[0].metrics) == {f"macro_{name}" for name in ("auroc", "auprc", "f1", "ece", "brier")}


def test_a_result_survives_json(encoder, samples, labels, tmp_path):
    result = evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(**FAST))
    text = result.to_json(tmp_path / "linear.json")
    assert Result.from_json(tmp_path / "linear.json") == result
    assert json.loads(text)["rows"][0]["metrics"]["macro_auroc"].keys() == {
        "mean", "low", "high", "repeats", "bootstrap",
    }  # fmt: skip
    assert json.loads(text)["differences"][0].keys() == {"minus", "metric", "estimate"}
    assert result.differences[0].estimate.bootstrap is not None
    assert EvaluationConfig.model_validate(result.settings) == EvaluationConfig(**FAST)
    assert "Features in float32." in printed(result)


def test_a_result_says_which_precision_auto_was(encoder, samples, labels):
    config = EvaluationConfig(precision="auto", **FAST)
    result = evaluate({"pretrained": Candidate(encoder)}, samples, labels, config)
    assert result.settings["precision"] == of_machine("auto")


def test_features_in_bf16_give_the_scores_of_float32(encoder, samples, labels, tmp_path):
    scores, features = {}, {}
    for precision in ("32", "bf16"):
        config = EvaluationConfig(precision=precision, **FAST)
        row = evaluate({"pretrained": Candidate(encoder)}, samples, labels, config, cache=tmp_path / precision).rows[0]
        scores[precision] = row.metrics["macro_auroc"].mean
        key = cache_key("mean", encoder, signal_hashes(samples), config.windows, precision)
        features[precision] = np.load(tmp_path / precision / f"{key}.npz")["x"]
    assert scores["bf16"] == pytest.approx(scores["32"], abs=0.03)
    assert 0 < np.abs(features["bf16"] - features["32"]).max() < 0.03 * np.abs(features["32"]).max()


def test_results_have_a_schema_with_a_version(tmp_path):
    schema = Result.model_json_schema()
    assert set(schema["required"]) >= {"task", "rows", "notices"}
    (tmp_path / "other.json").write_text('{"schema_version": 3}')
    with pytest.raises(InputError, match=r"other\.json: schema_version 3 was written by a newer anyjepa"):
        Result.from_json(tmp_path / "other.json")
    with pytest.raises(InputError, match="there is no such file"):
        Result.from_json(tmp_path / "absent.json")


def test_calibration_and_thresholds_are_in_the_result(encoder, samples, labels):
    multi = replace(labels, exclusive=False)
    result = evaluate({"pretrained": Candidate(encoder)}, samples, multi, EvaluationConfig(**FAST))
    row = result.rows[3]  # statistics, which know the classes
    assert set(row.class_metrics) == {"auroc", "auprc", "f1", "ece", "brier"}
    assert all(0 <= value <= 1 for value in row.repeats[0].thresholds.values())
    assert sum(row.reliability.counts) == 2 * RECORDS * 3  # every record once a seed, for each class
    assert sum(row.class_reliability["mid"].counts) == 2 * RECORDS
    for metric in ("macro_f1", "macro_ece", "macro_brier"):
        assert row.metrics[metric].bootstrap[0] <= row.metrics[metric].bootstrap[1]
    assert row.metrics["macro_f1"].mean > result.rows[2].metrics["macro_f1"].mean
    assert result.rows[0].class_metrics["brier"]["low"].low is not None


def test_contamination_by_source_heads_the_result(encoder, samples, labels):
    known = Candidate(encoder, seen=TrainingRecords.of(["x"], ["y"], ["z"], ["challenge-2021"]))
    sources = dict.fromkeys(labels.ids, "ptb-xl")
    result = evaluate({"pretrained": known}, samples, labels, EvaluationConfig(**FAST), sources=sources)
    assert result.rows[0].transductive
    assert result.notices[0].startswith("pretrained: CONTAMINATED: pretraining and this evaluation both use ptb-xl (in")
    assert "CONTAMINATED" in printed(result).splitlines()[0]


def test_the_table_shows_rows_controls_and_notices(encoder, samples, labels):
    result = evaluate({"[pre]trained": Candidate(encoder)}, samples, labels, EvaluationConfig(**FAST), task="amplitude")
    assert result.intervals == "repeats"
    shown = printed(result)
    for text in (
        "amplitude: linear probe",
        "[pre]trained",
        "(teacher)",
        "random init",
        "AUROC",
        "unknown whether",
        "Intervals: 95 % t over 6 repeats",
        "low 30",
    ):
        assert text in shown


def test_no_encoder_is_an_error(samples, labels):
    with pytest.raises(InputError, match="no encoder"):
        evaluate({}, samples, labels, EvaluationConfig(**FAST))


def test_labels_of_records_are_refused_for_single_tokens(encoder, samples, labels):
    with pytest.raises(
        InputError, match=r"^evaluate: protocol dense needs labels per place, not one class per record$"
    ):
        evaluate({"pretrained": Candidate(encoder)}, samples, labels, EvaluationConfig(protocol="dense", **FAST))
