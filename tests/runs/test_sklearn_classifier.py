"""Encoder and probe as one scikit-learn classifier."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_estimator,
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
)

from anyjepa import InputError, JepaClassifier, JepaEmbedder
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate

INDEPENDENT_OF_DATA = [
    check_estimator_cloneable,
    check_estimator_repr,
    check_estimator_tags_renamed,
    check_get_params_invariance,
    check_mixin_order,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
    check_valid_tag_types,
]


@pytest.fixture(scope="module")
def signals() -> np.ndarray:
    config = SimulatorConfig(patients=24, fs=100, duration_s=6, seed=7, classes=("NORM", "STACH"))
    return np.stack([r.signal for r in simulate(config)])


@pytest.fixture(scope="module")
def classes() -> np.ndarray:
    return np.array(["normal", "fast"] * 12)


@pytest.mark.parametrize("check", INDEPENDENT_OF_DATA)
@pytest.mark.parametrize("estimator", [JepaClassifier, JepaEmbedder])
def test_what_scikit_learn_asks_of_every_estimator(tiny_run, estimator, check):
    check(estimator.__name__, estimator(str(tiny_run), fs=100))


@pytest.mark.parametrize("estimator", [JepaClassifier, JepaEmbedder])
def test_scikit_learns_own_data_are_tables_which_raw_records_are_not(tiny_run, estimator):
    with pytest.warns(SkipTestWarning, match="which requires input"):
        check_estimator(estimator(str(tiny_run), fs=100))


def test_it_is_a_logistic_regression_on_embeddings(tiny_run, signals, classes):
    found = JepaClassifier(str(tiny_run), strength=0.1, fs=100).fit(signals[:16], classes[:16])
    usual = make_pipeline(
        JepaEmbedder(str(tiny_run), fs=100), StandardScaler(), LogisticRegression(C=0.2, tol=1e-8, max_iter=1000)
    ).fit(signals[:16], classes[:16])  # two weights per class instead of one halve the penalty of their difference
    assert found.classes_.tolist() == ["fast", "normal"]
    np.testing.assert_allclose(found.predict_proba(signals), usual.predict_proba(signals), atol=0.02)
    assert found.predict(signals).tolist() == usual.predict(signals).tolist()
    assert found.score(signals, classes) == np.mean(found.predict(signals) == classes)
    again = pickle.loads(pickle.dumps(found))
    assert np.array_equal(again.predict_proba(signals), found.predict_proba(signals))


def test_it_learns_and_a_grid_search_chooses_its_penalty(tiny_run, signals, classes):
    search = GridSearchCV(JepaClassifier(str(tiny_run), fs=100), {"strength": [1e-6, 0.1], "balanced": [True]}, cv=3)
    search.fit(signals, classes)
    assert set(search.best_params_) == {"strength", "balanced"}
    assert not hasattr(clone(search.best_estimator_), "weights_")
    assert cross_val_predict(search.best_estimator_, signals, classes, cv=3, method="predict_proba").shape == (24, 2)


def test_classes_may_be_numbers_and_records_may_differ_in_length(tiny_run, signals):
    ragged = [signal[:, : 400 + 10 * place] for place, signal in enumerate(signals[:12])]
    found = JepaClassifier(str(tiny_run), fs=100, balanced=True).fit(ragged, [5, 7, 9] * 4)
    assert set(found.predict(ragged)) <= {5, 7, 9}
    assert found.predict_proba(ragged[:2]).sum(1) == pytest.approx([1, 1])


def test_wrong_input_is_one_clear_line(tiny_run, signals, classes):
    new = JepaClassifier(str(tiny_run), fs=100)
    with pytest.raises(NotFittedError):
        new.predict(signals)
    with pytest.raises(InputError, match=r"^JepaClassifier: y has only one class, 'normal'$"):
        new.fit(signals, ["normal"] * 24)
    with pytest.raises(InputError, match=r"^JepaClassifier: 24 records, but 23 labels$"):
        new.fit(signals, classes[1:])
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        new.fit(signals, np.linspace(0, 1, 24))
