"""The probe on single tokens: which sample a token stands for, whose labels are used, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.data.dataset import ArrayDataset
from anyjepa.data.places import UNLABELLED, PlaceLabels
from anyjepa.data.samples import ArraySamples
from anyjepa.errors import InputError
from anyjepa.evaluation import dense
from anyjepa.evaluation.cache import FeatureCache
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.dense import DenseStudy, Moved, few_groups, raw_patches, token_features, tokens_of
from anyjepa.evaluation.probes import LinearProbe
from anyjepa.evaluation.protocol import Candidate, evaluate_places
from anyjepa.evaluation.splits import Holdout
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.vit import ViT, ViTConfig


def samples_of(*values: np.ndarray) -> ArraySamples:
    return ArraySamples(tuple(f"r{i}" for i in range(len(values))), list(values))


@pytest.mark.parametrize(
    ("shape", "patch"), [((40,), (10,)), ((43,), (10,)), ((12, 8), (4, 4)), ((4, 6, 9), (2, 3, 3))]
)
def test_a_token_has_the_label_in_its_middle(shape, patch):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(1, *shape)
    labels = PlaceLabels(("r0",), tuple(map(str, range(x.size))), [x[0].astype(int)])
    tokens = tokens_of(samples_of(x), labels, Windows(), patch)
    raw = raw_patches(samples_of(x), Windows(), patch, 0)
    middle = int(np.ravel_multi_index([p // 2 for p in patch], patch))
    assert (raw[:, middle] == tokens.label).all()
    assert len(raw) == np.prod([n // p for n, p in zip(shape, patch, strict=True)])


def test_neighbours_are_those_of_the_raster():
    x = np.arange(48, dtype=np.float32).reshape(1, 6, 8) + 1
    near, own = (raw_patches(samples_of(x), Windows(), (2, 2), reach) for reach in (1, 0))
    grid = own.reshape(3, 4, 4)
    blocks = near.reshape(3, 4, 3, 3, 4)
    assert (blocks[:, :, 1, 1] == grid).all()
    assert (blocks[1:, :, 0, 1] == grid[:-1]).all()
    assert (blocks[:, :-1, 1, 2] == grid[:, 1:]).all()
    assert (blocks[0, :, 0] == 0).all()


@given(by=st.integers(0, 9))
def test_moving_a_record_moves_its_samples(by):
    x = np.random.default_rng(0).normal(size=(2, 30)).astype(np.float32)
    moved = Moved(samples_of(x), by)[0]
    assert moved.shape == x.shape
    assert (moved[:, : 30 - by] == x[:, by:]).all()
    assert (moved[:, 30 - by :] == x[:, -1:]).all()


def test_tokens_of_long_records_follow_window_by_window():
    encoder = ViT(ViTConfig(patch=(5,), dim=16, depth=1, heads=2), 1, (20,)).eval()
    x = [np.random.default_rng(i).normal(size=(1, n)).astype(np.float32) for i, n in enumerate((60, 25))]
    windows = Windows(length=20, stride=20, tail="drop")
    labels = PlaceLabels(("r0", "r1"), ("a",), [np.zeros(60, int), np.zeros(25, int)])
    tokens = tokens_of(samples_of(*x), labels, windows, (5,))
    assert tokens.record.tolist() == [0] * 12 + [1] * 4
    assert tokens.middle.tolist() == [*range(2, 62, 5), 2, 7, 12, 17]
    alone = [token_features(encoder, samples_of(x[0][:, start : start + 20]), Windows()) for start in (0, 20, 40)]
    assert np.allclose(token_features(encoder, samples_of(*x), windows)[:12], np.concatenate(alone), atol=1e-5)


class _Rate:
    """The only thing that a study asks of a preprocessing."""

    rate = 50.0


def waves(records: int = 24, seconds: int = 4) -> tuple[ArrayDataset, PlaceLabels]:
    """Two channels of noise with boxes of 200 ms in one of them; what comes before 0.4 s is not annotated."""
    rng = np.random.default_rng(0)
    values = rng.normal(scale=0.1, size=(records, 2, seconds * 50)).astype(np.float32)
    labels = np.zeros((records, seconds * 50), int)
    for row in range(records):
        for start in range(int(rng.integers(10, 30)), seconds * 50 - 12, 40):
            channel = int(rng.integers(2))
            values[row, channel, start : start + 10] += 1
            labels[row, start : start + 10] = 1 + channel
    labels[:, :20] = UNLABELLED
    groups = [f"p{row // 2}" for row in range(records)]
    data = ArrayDataset.of(values, _Rate(), groups=groups)
    return data, PlaceLabels(data.ids, ("none", "first", "second"), list(labels), events=("first", "second"))


def config(**settings) -> EvaluationConfig:
    return EvaluationConfig(protocol="dense", seeds=2, bootstrap=20, split=Holdout(test=0.3), **settings)


def result(**settings):
    data, labels = waves()
    encoder = ViT(ViTConfig(patch=(5,), dim=16, depth=1, heads=2), 2, (200,)).eval()
    candidates = {"encoder": Candidate(encoder)}
    return evaluate_places(candidates, data, labels, config(**settings), (5,), task="boxes")


def test_boxes_are_found_with_their_edges():
    done = result()
    raw = next(row for row in done.rows if row.name == "one raw patch")
    assert raw.metrics["macro_auroc"].mean > 0.97
    for point in ("onset", "offset"):
        for event in ("first", "second"):
            found = {
                name: raw.class_metrics[f"{point}_{name}"][event].mean for name in ("error_ms", "sensitivity", "ppv")
            }
            assert abs(found["error_ms"]) < 25
            assert found["sensitivity"] > 0.9
            assert found["ppv"] > 0.9
    assert done.what == ("tokens", "groups")
    assert done.groups == 12
    assert "unknown" in done.notices[0]
    assert [row.name for row in done.rows[1:]] == [difference.minus for difference in done.differences]
    assert str(done).count("second") >= len(done.rows)


def test_raw_patches_are_computed_once_for_all_splits(monkeypatch):
    data, labels = waves()
    study = DenseStudy(
        data, labels, data.groups, (5,), 50.0, config(linear=LinearProbe(strengths=(0.1,))), FeatureCache()
    )
    computed, real = [], dense.raw_patches
    monkeypatch.setattr(dense, "raw_patches", lambda *of: computed.append(of[-1]) or real(*of))
    evaluate = study._patches(1)
    scores = [evaluate(split).probed.scores for split in study.repeats]
    assert len(scores) == 2
    assert len(computed) == len(study.offsets) == 5


def test_each_record_is_read_once():
    read = []

    class Counted(ArraySamples):
        def __getitem__(self, index):
            read.append(index)
            return super().__getitem__(index)

    labels = PlaceLabels(("r0", "r1"), ("a",), [np.zeros(60, int), np.zeros(25, int)])
    tokens_of(Counted(("r0", "r1"), [np.zeros((1, 60)), np.zeros((1, 25))]), labels, Windows(), (5,))
    assert read == [0, 1]


@given(amount=st.integers(2, 8), seed=st.integers(0, 5))
def test_labels_are_those_of_whole_patients(amount, seed):
    data, labels = waves()
    study = DenseStudy(data, labels, data.groups, (5,), 50.0, config(), FeatureCache())
    split = study.repeats[0]
    few = few_groups(study.table, split, amount)
    groups = np.array(study.table.groups)
    train, validation = set(groups[few.train]), set(groups[few.validation])
    assert len(train | validation) == amount
    assert not train & validation
    assert (few.test == split.test).all()
    for part in (train, validation):
        rows = np.flatnonzero(np.isin(groups, list(part)))
        assert np.isin(rows, np.concatenate([few.train, few.validation])).all()


def test_more_labels_include_fewer_labels():
    data, labels = waves()
    study = DenseStudy(data, labels, data.groups, (5,), 50.0, config(), FeatureCache())
    groups = np.array(study.table.groups)
    used = [
        set(groups[np.concatenate([few.train, few.validation])])
        for few in (few_groups(study.table, study.repeats[0], amount) for amount in (2, 5, 8))
    ]
    assert used[0] < used[1] < used[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"low_shot": 1}, r"^low shot: needs 2 to 8 labelled groups, not 1$"),
        ({"low_shot": 50}, r"^low shot: needs 2 to 8 labelled groups, not 50$"),
    ],
)
def test_too_few_patients_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        result(**change)


def test_labels_that_do_not_fit_are_refused():
    data, labels = waves()
    short = PlaceLabels(data.ids, labels.classes, [x[:-1] for x in labels.labels])
    with pytest.raises(InputError, match=r"^evaluate: record '0' has samples \(200,\), but labels per place \(199,\)$"):
        tokens_of(data, short, Windows(), (5,))
    with pytest.raises(InputError, match=r"record .a. has labels 0 to 7; they must be -1 or 0 to 0$"):
        PlaceLabels(("a",), ("none",), [np.array([0, 7])])
    with pytest.raises(InputError, match=r"^labels per place: 1 arrays for 2 records$"):
        PlaceLabels(("a", "b"), ("none",), [np.zeros(3, int)])
