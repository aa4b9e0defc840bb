"""Series as an encoder sees them: standardised by the training part, cropped by address, whole for evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from anyjepa.data.series.dataset import class_tables
from anyjepa.data.series.preprocessing import SeriesPreprocessing
from anyjepa.data.series.record import Series
from anyjepa.data.series.simulator import CLASSES, WavesConfig, simulate
from anyjepa.data.series.source import SeriesDataConfig, evaluation_data, training_data
from anyjepa.errors import DataWarning, InputError

SMALL = SeriesDataConfig(simulator=WavesConfig(series=60, samples=96), length=64)


def preprocessing(**changes: object) -> SeriesPreprocessing:
    return SeriesPreprocessing.model_validate({"length": 4, "mean": (1.0, 0.0), "std": (2.0, 1.0), **changes})


def test_gaps_are_filled_in_time_or_refused():
    raw = np.array([[np.nan, 1, np.nan, 5], [0, 1, 2, 3.0]])
    assert preprocessing().prepare(raw).tolist() == [[0, 0, 1, 2], [0, 1, 2, 3]]
    with pytest.raises(InputError, match="channel 0 lacks 2 values, the first at sample 0"):
        preprocessing(gaps="refuse").prepare(raw)
    with pytest.raises(InputError, match="channel 1 has no values"):
        preprocessing().prepare(np.array([[1.0, 1, 1, 1], [np.nan] * 4]))
    with pytest.raises(InputError, match="the number of channels is 1, not 2"):
        preprocessing().prepare(np.zeros((1, 4)))
    with pytest.raises(InputError, match="has 3 samples, but the model needs 4"):
        preprocessing().prepare(np.zeros((2, 3)))


def test_training_takes_the_training_part_and_its_statistics():
    data, everything = training_data(SMALL, ()), evaluation_data(preprocessing(mean=[0] * 5, std=[1] * 5), (), SMALL)
    assert 0 < len(data) < len(everything) == 60
    values = np.concatenate([data[i] for i in range(len(data))], axis=1)
    assert values.mean(1) == pytest.approx(np.zeros(5), abs=1e-5)
    assert values.std(1) == pytest.approx(np.ones(5), abs=1e-5)
    assert data.preprocessing.size == SMALL.size == (64,)
    assert everything.longest == 96
    assert everything.tables["class"].split is not None


def test_crops_are_parts_drawn_by_their_own_generators():
    data = training_data(SMALL, ())
    x, starts = data.crops([3, 5, 3], [np.random.default_rng(s) for s in (1, 2, 3)])
    alone, _ = data.crops([5], [np.random.default_rng(2)])
    assert x.shape == (3, 5, 64)
    assert x.dtype == np.float32
    assert np.array_equal(x[1], alone[0])
    assert np.array_equal(x[0], data[3][:, starts[0] : starts[0] + 64])


def test_short_ones_and_exclusions_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    for name, samples in (("a", 9), ("b", 8), ("c", 3)):
        np.savetxt(tmp_path / f"{name}.csv", rng.random((samples, 1)), header="x", comments="")
    config = SeriesDataConfig(channels=1, length=8)
    data = training_data(config, [tmp_path], exclude=["b"])
    assert data.ids == ("a",)
    assert list(data.skipped) == ["c"]
    assert not data.groups_known
    with pytest.raises(InputError, match=r"c\.csv: has 3 samples"):
        training_data(config.model_copy(update={"short": "raise"}), [tmp_path])
    with pytest.raises(InputError, match=r"c\.csv: has 3 samples"):
        evaluation_data(data.preprocessing, [tmp_path])
    assert evaluation_data(data.preprocessing, [tmp_path], on_error="skip").ids == ("a", "b")
    with pytest.raises(InputError, match="not in the data: d; there are: a, b, c"):
        training_data(config, [tmp_path], exclude=["d"])
    with pytest.raises(InputError, match=r"data\.channels of the recipe"):
        training_data(SeriesDataConfig(length=8), [tmp_path])


def test_statistics_may_be_fixed_and_flat_channels_are_told(tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n" + "1,7\n2,7\n" * 4)
    with pytest.warns(DataWarning, match="constant in every training series: channel 1"):
        data = training_data(SeriesDataConfig(channels=2, length=8), [tmp_path])
    assert data[0][1].tolist() == [0.0] * 8
    fixed = SeriesDataConfig(channels=2, length=8, mean=(0, 0), std=(1, 1))
    assert training_data(fixed, [tmp_path])[0][1].tolist() == [7.0] * 8
    with pytest.raises(InputError, match="2 channels, but 1 means"):
        training_data(fixed.model_copy(update={"mean": (0.0,)}), [tmp_path])


def test_a_class_in_one_part_only_is_told():
    made = [Series(str(n), np.zeros((1, 4)), "ab"[n % 2], split="train", source="toy") for n in range(4)]
    test = [Series(f"t{n}", np.zeros((1, 4)), "a", split="test", source="toy") for n in range(2)]
    with pytest.warns(DataWarning, match="toy: no series of class b in the test part"):
        table = class_tables([*made, *test])["class"]
    assert table.split == ("train",) * 4 + ("test",) * 2
    other = Series("o", np.zeros((1, 4)), "z", source="other")
    tables = class_tables([*made, other])
    assert list(tables) == ["toy", "other"]
    assert tables["toy"].ids == ("0", "1", "2", "3")


def test_simulated_series_do_not_depend_on_their_number():
    few, more = simulate(WavesConfig(series=12)), simulate(WavesConfig(series=30))
    assert all(np.array_equal(a.values, b.values) and a.split == b.split for a, b in zip(few, more, strict=False))
    assert not np.array_equal(few[0].values, simulate(WavesConfig(series=1, seed=1))[0].values)


def test_only_relations_of_channels_in_time_tell_the_classes_apart():
    """Level, spread and spectrum of single channels are at chance; covariances at a lag are near certain."""
    made = simulate(WavesConfig(series=1500))
    x, y = np.stack([one.values for one in made]), np.array([one.label for one in made])
    centred = x - x.mean(-1, keepdims=True)
    lagged = np.einsum("nit,njt->nij", centred[..., :-4], centred[..., 4:])
    spectra = np.log(np.abs(np.fft.rfft(x)[..., 1:40]))
    single = np.concatenate([x.mean(-1), x.std(-1), spectra.reshape(len(x), -1)], axis=1)
    scores = []
    for features in (single, lagged.reshape(len(x), -1)):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200))
        scores.append(probe.fit(features[:1000], y[:1000]).score(features[1000:], y[1000:]))
    assert scores[0] < 1 / len(CLASSES) + 0.1
    assert scores[1] > 0.9


@pytest.mark.realdata
def test_a_problem_of_the_archive_trains_on_its_training_part(test_data):
    folder = test_data / "timeseries" / "BasicMotions"
    data = training_data(SeriesDataConfig(channels=6, length=96), [folder])
    assert len(data) == 40
    assert len(data.skipped) == 40
    everything = evaluation_data(data.preprocessing, [folder])
    assert everything.tables["class"].counts() == dict.fromkeys(("Badminton", "Running", "Standing", "Walking"), 20)
    assert set(everything.tables["class"].split or ()) == {"train", "test"}
