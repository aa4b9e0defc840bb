"""The encoder as a scikit-learn transformer, for every modality."""

from __future__ import annotations

import pickle
from unittest import mock

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_set_params,
)

import anyjepa
from anyjepa import JepaEmbedder
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.runs import embedder
from anyjepa.runs.model import Model


@pytest.fixture(scope="module")
def signals() -> np.ndarray:
    return np.stack([r.signal for r in simulate(SimulatorConfig(patients=12, fs=100, duration_s=6, seed=7))])


@pytest.fixture(autouse=True)
def nothing_remembered():
    embedder._REMEMBERED.clear()


@pytest.mark.parametrize(
    "check",
    [
        check_estimator_cloneable,
        check_estimator_repr,
        check_estimator_tags_renamed,
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_set_params,
    ],
)
def test_what_scikit_learn_asks_of_every_estimator(tiny_run, check):
    check("JepaEmbedder", JepaEmbedder(str(tiny_run), fs=100))


def test_it_gives_what_embed_gives(tiny_run, signals):
    transformer = JepaEmbedder(tiny_run, fs=100, leads=np.array(LEADS)).fit(signals)
    expected = anyjepa.embed(tiny_run, signals, fs=100)
    assert np.allclose(transformer.transform(signals), expected, atol=1e-6)
    assert np.allclose(transformer.transform(signals[::-1]), expected[::-1], atol=1e-6)
    ragged = [signals[0], signals[1, :, :500], signals[0]]
    assert np.allclose(transformer.transform(ragged), anyjepa.embed(tiny_run, ragged, fs=100), atol=1e-6)
    again = pickle.loads(pickle.dumps(transformer))
    assert np.array_equal(again.transform(signals), transformer.transform(signals))


def test_columns_have_names_and_become_a_data_frame(tiny_run, signals):
    transformer = JepaEmbedder(tiny_run, fs=100)
    with pytest.raises(NotFittedError):
        transformer.transform(signals)
    table = make_pipeline(transformer, StandardScaler()).set_output(transform="pandas").fit_transform(signals)
    assert (table.shape, [*table.columns[:2]]) == ((12, 16), ["z0", "z1"])


def test_a_grid_search_embeds_each_record_once(tiny_run, signals):
    labels = np.array([0, 1] * 6)
    search = GridSearchCV(
        make_pipeline(JepaEmbedder(str(tiny_run), fs=100), LogisticRegression()),
        {"logisticregression__C": [0.1, 1, 10]},
        cv=3,
    )
    with mock.patch.object(Model, "embed_samples", autospec=True, side_effect=Model.embed_samples) as embed:
        search.fit(signals, labels)
        assert sum(len(call.args[1]) for call in embed.call_args_list) == len(signals)
        assert search.predict(signals).shape == (12,)
        search.set_params(estimator__jepaembedder__unit=2.0).fit(signals, labels)
        assert sum(len(call.args[1]) for call in embed.call_args_list) == 2 * len(signals)  # other settings are other
    clone(search.best_estimator_.steps[0][1]).set_params(remember=False).fit(signals).transform(signals)


def test_images_need_no_settings(tmp_path):
    edits = {"training.steps": 1, "data.simulator.train": 200, "data.simulator.test": 20}
    run = anyjepa.pretrain("ijepa-demo", output=tmp_path / "run", edits=edits)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    vectors = JepaEmbedder(run.folder).fit_transform(images)
    assert np.allclose(vectors, anyjepa.embed(run, images), atol=1e-6)
