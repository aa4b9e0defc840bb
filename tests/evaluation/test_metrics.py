# The types of sklearn do not know average=None.
# pyright: reportArgumentType=false
from __future__ import annotations

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.strategies import integers
from sklearn.metrics import average_precision_score, balanced_accuracy_score, brier_score_loss, f1_score, roc_auc_score
from torchmetrics.functional.classification import multilabel_auroc, multilabel_average_precision

from anyjepa.evaluation.decisions import decide
from anyjepa.evaluation.metrics import Scored, areas, auroc, macro, once

LAWS = settings(deadline=None, max_examples=40)


def random_case(seed: int, records: int = 40, classes: int = 3):
    rng = np.random.default_rng(seed)
    values = (rng.random((records, classes)) < 0.4).astype(np.float32)
    values[0], values[1] = 0, 1
    return values, rng.integers(0, 12, (records, classes)) / 12.0  # many ties


def scored(values, scores, exclusive=False):
    thresholds = None if exclusive else np.full(values.shape[1], 0.5)
    return Scored(values, scores, np.arange(len(values)), decide(scores, thresholds), exclusive)


def test_auroc_by_hand():
    values = np.array([[1], [0], [1], [0]])
    assert auroc(values, np.array([[0.9], [0.8], [0.8], [0.1]])).tolist() == [0.875]  # pairs: 1, 1, 1/2, 1


def test_auprc_by_hand():
    values = np.array([[1], [0], [1], [0]])
    found = areas(values, np.array([[4.0], [3.0], [2.0], [1.0]]), *once(4))[1]
    assert found.tolist() == [[pytest.approx((1 + 2 / 3) / 2)]]


@given(seed=integers(0, 10_000))
@LAWS
def test_metrics_of_classes_equal_other_libraries(seed):
    values, scores = random_case(seed)
    overall, classes = scored(values, scores).measure()
    found = {name: value[0] for name, value in classes.items()}
    assert found["auroc"] == pytest.approx(roc_auc_score(values, scores, average=None))
    assert found["auprc"] == pytest.approx(average_precision_score(values, scores, average=None))
    assert found["f1"] == pytest.approx(f1_score(values, scores >= 0.5, average=None, zero_division=0))
    assert found["brier"] == pytest.approx([brier_score_loss(v, s) for v, s in zip(values.T, scores.T, strict=True)])
    tensors = torch.as_tensor(scores), torch.as_tensor(values).long()
    assert found["auroc"] == pytest.approx(multilabel_auroc(*tensors, 3, average=None).numpy(), abs=1e-6)
    assert found["auprc"] == pytest.approx(multilabel_average_precision(*tensors, 3, average=None).numpy(), abs=1e-6)
    for name, value in found.items():
        assert overall[f"macro_{name}"][0] == pytest.approx(value.mean())


@pytest.mark.parametrize("exclusive", [True, False])
@given(seed=integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_weights_equal_repeated_records(exclusive, seed):
    values, scores = random_case(seed)
    if exclusive:
        values = np.eye(3)[np.random.default_rng(seed).integers(0, 3, len(values))]
        values[:3] = np.eye(3)
    times = np.random.default_rng(seed).integers(1, 4, len(values))
    repeated = scored(np.repeat(values, times, 0), np.repeat(scores, times, 0), exclusive).measure()
    test = scored(values, scores, exclusive)
    plain, weighted = test.measure(), test.measure(np.stack([times, np.ones_like(times)]).astype(float))
    for part in (0, 1):
        for name, value in weighted[part].items():
            assert value[0] == pytest.approx(repeated[part][name][0]), name
            assert value[1] == pytest.approx(plain[part][name][0]), name


def direct(value, score, counts):
    """AUROC and AUPRC of one class from how often each record counts, score by score."""
    levels = np.unique(score)[::-1]
    positive, negative = (np.array([counts[(score == s) & (value == v)].sum() for s in levels]) for v in (1, 0))
    hits, misses = np.cumsum(positive), np.cumsum(negative)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = hits / np.maximum(hits + misses, 1)
        ranks = (negative * (hits - positive / 2)).sum() / (hits[-1] * misses[-1])
        return ranks, (positive * precision).sum() / hits[-1]


@given(seed=integers(0, 10_000), block=integers(1, 300))
@settings(deadline=None, max_examples=20)
def test_resamples_of_groups_in_blocks_equal_records_one_by_one(seed, block):
    values, scores = random_case(seed)
    rng = np.random.default_rng(seed)
    group, weights = rng.integers(0, 6, len(values)), rng.integers(0, 3, (9, 6)).astype(float)
    with mock.patch("anyjepa.evaluation.metrics.BLOCK", block):
        found = np.stack(areas(values, scores, weights, group), axis=-1)  # (R, C, 2)
    expected = [[direct(v, s, w) for v, s in zip(values.T, scores.T, strict=True)] for w in weights[:, group]]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    group[:6] = np.arange(6)
    grouped, single = (
        Scored(values, scores, names, scores > 0.5).measure(counts)[1]
        for names, counts in ((group, weights), (np.arange(len(values)), weights[:, group]))
    )
    for name, value in grouped.items():
        np.testing.assert_allclose(value, single[name], rtol=1e-12, err_msg=name)


@given(seed=integers(0, 10_000))
@settings(deadline=None, max_examples=20)
def test_areas_of_resamples_equal_those_of_records_drawn_again(seed):
    values, scores = random_case(seed)
    draws = np.random.default_rng(seed).integers(0, len(values), (5, len(values)))
    draws[:, :2] = 0, 1  # so that every resample has positives and negatives
    weights = np.stack([np.bincount(draw, minlength=len(values)) for draw in draws]).astype(float)
    found = areas(values, scores, weights, np.arange(len(values)))
    for of, expected in zip(found, (roc_auc_score, average_precision_score), strict=True):
        np.testing.assert_allclose(of, [expected(values[d], scores[d], average=None) for d in draws], rtol=1e-12)


def test_a_class_without_positives_or_negatives_has_no_number():
    values = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 1]])
    scores = np.arange(9.0).reshape(3, 3) / 9
    overall, classes = scored(values, scores).measure()
    assert np.isnan(classes["auroc"][0]).tolist() == [False, True, True]
    assert np.isnan(classes["auprc"][0]).tolist() == np.isnan(classes["f1"][0]).tolist() == [False, True, False]
    assert overall["macro_auroc"] == macro(classes["auroc"][0]) == classes["auroc"][0, 0]
    assert np.isfinite(classes["brier"]).all()
    assert np.isnan(scored(values[:, 1:], scores[:, 1:]).measure()[0]["macro_auroc"])


def test_a_resample_without_the_records_of_a_part_has_no_number():
    values, scores = random_case(0)
    overall, _ = scored(values, scores).measure(np.zeros((1, len(values))))
    assert all(np.isnan(value).all() for value in overall.values())


def test_accuracies_of_exclusive_classes():
    labels, predicted = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0])
    values, scores = np.eye(4)[labels], np.eye(4)[predicted]
    overall, classes = scored(values, scores, exclusive=True).measure()
    assert overall["accuracy"] == pytest.approx(3 / 5)
    assert overall["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert classes["f1"][0, :3] == pytest.approx(f1_score(labels, predicted, average=None, labels=[0, 1, 2]))
    assert set(overall) - set(scored(values, scores).measure()[0]) == {"accuracy", "balanced_accuracy"}
