"""Evaluate methods next to baselines over splits and model seeds, with intervals over conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyjepa.errors import InputError, did_you_mean
from anyjepa.evaluation.intervals import UNKNOWN, Estimate, percentiles
from anyjepa.perturbation.scoring.baselines import BASELINES
from anyjepa.perturbation.scoring.effects import Effects, Fit, Prediction, half_split, shuffled
from anyjepa.perturbation.scoring.metrics import (
    METRICS,
    MeasuredCells,
    cell_metrics,
    coverage,
    discrimination,
    distance,
    measure,
    pearson,
    pearson_vs_mean,
    r2,
    top_error,
)
from anyjepa.perturbation.scoring.result import HEADLINE, SIZES, Condition, MethodRow, PerturbationResult, Places
from anyjepa.progress import tell
from anyjepa.randomness import generator
from anyjepa.versions import versions

CEILING = "half-split ceiling"
NOT_SHUFFLED = "No shuffled control: all training conditions have the same perturbations."

Scores = dict[str, np.ndarray]
"""Values (T,) of each metric in `METRICS` for the test conditions; NaN where a metric is undefined."""


def evaluate_methods(
    splits: Sequence[Effects],
    methods: Mapping[str, Sequence[Fit]],
    data: str,
    baselines: Mapping[str, Fit] = BASELINES,
    baseline: str = "perturbed mean",
    shuffle: bool = True,
    above: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> PerturbationResult:
    """Fit every method to the training conditions of every split, and score it on the test conditions.

    methods: fits by name, one per model seed. All rows are compared with the first method.
    baseline: the row whose normalised score is 0; the half-split ceiling, which needs the cells, is 1.
    shuffle: add the first method, with its first seed, fitted to shuffled conditions (`shuffled`). Where all training
    conditions have the same perturbations, there is nothing to shuffle, and a notice says so.
    above: a metric. Conditions whose ceiling is no better than the baseline in it are excluded from all rows and
    counted, because even their own cells do not predict them.
    Raises InputError if there is no split, no method or no condition left, for an unknown baseline or metric, and as
    `predict_held_out` does.
    """
    if not splits or not all(methods.values()) or not methods:
        raise InputError("pass at least one split and one method, and at least one fit per method")
    if baseline not in baselines:
        raise InputError(f"no baseline '{baseline}'{did_you_mean(baseline, baselines)}")
    if twice := methods.keys() & baselines.keys():
        raise InputError(f"method '{min(twice)}' has the name of a baseline")
    first = next(iter(methods))
    exchanged = f"{first}, shuffled"
    can_shuffle = all(len(set(effects.train.perturbed)) > 1 for effects in splits)
    fits = dict(methods) | ({exchanged: [shuffled(methods[first][0], seed)]} if shuffle and can_shuffle else {})
    fits |= {name: [fit] for name, fit in baselines.items()}

    parts = [(effects.train, effects.held_out) for effects in splits]
    tests = [HeldOut.of(test, train.change.mean(0)) for train, test in parts]
    scores, changes = {}, []
    for name, of in fits.items():
        by_split = []
        for place, ((train, _), held_out) in enumerate(zip(parts, tests, strict=True), 1):
            tell(f"{name}, split {place} of {len(parts)}")
            predictions = [predict_held_out(name, fit, train, held_out.effects) for fit in of]
            by_split.append(_mean([held_out.scores(prediction) for prediction in predictions]))
            if name == first:
                changes.append(np.mean([prediction.change for prediction in predictions], axis=0))
        scores[name] = _joined(by_split)
    one_panel = all(effects.genes == splits[0].genes for effects in splits)  # otherwise changes have no common axes
    true, predicted = ([held_out.effects.change for held_out in tests], changes) if one_panel else ([], [])
    if halved := all(effects.cells for effects in splits):
        scores[CEILING] = _joined([ceiling(held_out.effects, held_out.reference, seed) for held_out in tests])

    conditions = _conditions([held_out.effects for held_out in tests])
    kept = np.ones(len(conditions), bool)
    if above is not None:
        if above not in METRICS:
            raise InputError(f"above: no metric '{above}'{did_you_mean(above, METRICS)}")
        if not halved:
            raise InputError("above: the half-split ceiling needs the cells of each condition")
        kept = METRICS[above].better * (scores[CEILING][above] - scores[baseline][above]) > 0
        if not kept.any():
            raise InputError(f"none of {len(kept)} test conditions has a ceiling above '{baseline}' in {above}")
        scores = {name: {metric: values[kept] for metric, values in of.items()} for name, of in scores.items()}
        conditions = tuple(condition for condition, keep in zip(conditions, kept, strict=True) if keep)
    left_out = sum(len(held_out.effects.conditions) for held_out in tests) - len(conditions)
    over = Resampling.of(conditions, resamples, seed)
    zero, one = scores[baseline], scores[CEILING] if halved else None
    rows = tuple(
        MethodRow(
            name=name,
            control=name not in methods,
            fits=len(fits.get(name, [name])),
            unanswered=int(np.isnan(of["l2"]).sum()),
            scores={metric: tuple(map(_finite_or_none, values.tolist())) for metric, values in of.items()},
            metrics={metric: over.mean(values) for metric, values in of.items()},
            by_size={
                size: {metric: over.mean(np.where(over.sizes == size, values, np.nan)) for metric, values in of.items()}
                for size in SIZES
            },
            normalised={m: over.normalised(of[m], zero[m], one[m], METRICS[m].better) for m in of} if one else {},
            difference={m: over.mean(scores[first][m] - of[m]) for m in of} if name != first else {},
        )
        for name, of in scores.items()
    )
    return PerturbationResult(
        data=data,
        genes=len(splits[0].genes),
        splits=len(splits),
        baseline=baseline,
        ceiling=CEILING if halved else None,
        conditions=conditions,
        places=_places(true, predicted, kept),
        left_out=left_out,
        rows=rows,
        notices=_notices(rows, exchanged) if can_shuffle else (NOT_SHUFFLED,) if shuffle else (),
        environment=versions(),
    )


@dataclass(frozen=True)
class HeldOut:
    """The test conditions of one split, with the reference values for their predictions."""

    effects: Effects
    reference: np.ndarray  # (G,) mean change of the training conditions
    measured: Sequence[MeasuredCells] | None

    @classmethod
    def of(cls, test: Effects, reference: np.ndarray) -> HeldOut:
        """Read the cells once, for all methods."""
        cells = test.cells
        return cls(test, reference, [measure(*cells(name)) for name in test.conditions] if cells else None)

    def scores(self, prediction: Prediction) -> Scores:
        """Compute every metric of a prediction."""
        predicted, true, control = prediction.change, self.effects.change, self.effects.control
        scores = {name: np.full(len(true), np.nan) for name in METRICS}
        scores |= {
            "pearson_delta": pearson(predicted, true),
            "pearson_vs_mean": pearson_vs_mean(predicted, true, self.reference),
            "top20_mse": top_error(predicted, true),
            "discrimination": discrimination(predicted, true),
            "l2": distance(predicted, true),
            "r2_change": r2(predicted, true),
            "r2_mean": r2(control + predicted, control + true),
        }
        if prediction.low is not None and prediction.high is not None:
            scores["coverage"] = coverage(prediction.low, prediction.high, true)
        if self.measured:
            for i in np.flatnonzero(~np.isnan(predicted[:, 0])).tolist():
                cells = None if prediction.cells is None else prediction.cells[i]
                for name, value in cell_metrics(predicted[i], cells, self.measured[i]).items():
                    scores[name][i] = value
        return scores


def predict_held_out(name: str, fit: Fit, train: Effects, test: Effects) -> Prediction:
    """Predict `test` with a method fitted to `train`. Of `test`, the method sees the perturbed genes and the controls.

    Raises InputError, which names the method, for a wrong shape, for an interval with only one end, and for a change
    that is infinite, or NaN in part of a row.
    """
    prediction = Prediction.of(fit(train)(test.perturbed, test.control))
    change, shape = prediction.change, test.mean.shape
    for what, array in (("changes", change), ("low", prediction.low), ("high", prediction.high)):
        if array is not None and array.shape != shape:
            raise InputError(f"method '{name}' predicts {what} of shape {array.shape}; {shape} is needed")
    if (prediction.low is None) != (prediction.high is None):
        raise InputError(f"method '{name}' predicts only one end of its intervals")
    if prediction.cells is not None and len(prediction.cells) != len(change):
        raise InputError(f"method '{name}' predicts cells for {len(prediction.cells)} of {len(change)} conditions")
    broken = ~np.isfinite(change).all(1) & ~np.isnan(change).all(1)
    if broken.any():
        condition = test.conditions[int(np.argmax(broken))]
        raise InputError(
            f"method '{name}' predicts a change that is not finite for condition '{condition}'; "
            "return a whole row of NaN for a condition without a prediction"
        )
    return prediction


def ceiling(test: Effects, reference: np.ndarray, seed: int) -> Scores:
    """Score one half of each test condition's cells as a prediction of the other (`half_split`)."""
    truth, prediction = half_split(test, seed)
    return HeldOut.of(truth, reference).scores(prediction)


@dataclass(frozen=True)
class Resampling:
    """E test conditions of all splits, and R bootstrap draws. A name is drawn together with all its splits.

    The draws depend only on the names and the seed, so rows are paired by condition. Intervals are conditional on the
    fitted methods: they do not cover the choice of training conditions.
    """

    sizes: np.ndarray  # (E,)
    weights: np.ndarray  # (R, E)

    @classmethod
    def of(cls, conditions: Sequence[Condition], resamples: int, seed: int) -> Resampling:
        names, own = np.unique([condition.name for condition in conditions], return_inverse=True)
        chances = np.full(len(names), 1 / len(names))
        resamples = resamples if len(names) > 1 else 0
        drawn = generator(seed, "bootstrap", 0).multinomial(len(names), chances, size=resamples)
        return cls(np.array([condition.size for condition in conditions]), drawn[:, own].astype(float))

    def mean(self, values: np.ndarray) -> Estimate:
        """Mean of the finite values among (E,), with its interval."""
        return self._ratio(values, np.ones(len(values)))

    def normalised(self, values: np.ndarray, zero: np.ndarray, one: np.ndarray, better: int) -> Estimate:
        """(values - zero) / (one - zero), from means of (E,) where all are finite; unknown if `one` is no better."""
        room = one - zero
        if not better * np.nansum(np.where(np.isfinite(values), room, np.nan)) > 0:
            return UNKNOWN
        return self._ratio(values - zero, room)

    def _ratio(self, above: np.ndarray, below: np.ndarray) -> Estimate:
        finite = np.isfinite(above) & np.isfinite(below)
        if not finite.any():
            return UNKNOWN
        above, below, weights = above[finite], below[finite], self.weights[:, finite]
        with np.errstate(invalid="ignore", divide="ignore"):  # a draw may contain no finite value
            drawn = (weights @ above) / (weights @ below)
        return Estimate(float(above.mean() / below.mean()), None, None, len(above), percentiles(drawn))


def _conditions(tests: Sequence[Effects]) -> tuple[Condition, ...]:
    effect = np.concatenate([np.linalg.norm(test.change, axis=1) for test in tests])
    sizes = iter(np.digitize(effect, np.quantile(effect, [1 / 3, 2 / 3])).tolist())
    lengths = iter(effect.tolist())
    return tuple(
        Condition(
            split=i,
            name=name,
            perturbed=tuple(sorted(genes)),
            cells=int(count),
            effect=next(lengths),
            size=SIZES[next(sizes)],
        )
        for i, test in enumerate(tests)
        for name, genes, count in zip(test.conditions, test.perturbed, test.count, strict=True)
    )


def _places(measured: Sequence[np.ndarray], predictions: Sequence[np.ndarray], kept: np.ndarray) -> Places | None:
    """measured, predictions: changes per split, empty if splits differ in genes; kept: the conditions to score."""
    if not measured:
        return None
    true, predicted = (np.concatenate(changes)[kept] for changes in (measured, predictions))
    if min(true.shape) < 2:
        return None
    _, lengths, axes = np.linalg.svd(true, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2].sum(1, keepdims=True) + 1e-300)  # the same picture on every machine
    explained = lengths[:2] ** 2 / max((lengths**2).sum(), 1e-300)
    on_true, on_predicted = (np.round(changes @ axes.T, 4) for changes in (true, predicted))
    return Places(
        explained=(float(explained[0]), float(explained[1])),
        true=tuple((float(x), float(y)) for x, y in on_true),
        predicted=tuple((_finite_or_none(float(x)), _finite_or_none(float(y))) for x, y in on_predicted),
    )


def _mean(seeds: Sequence[Scores]) -> Scores:
    """Mean over model seeds; NaN where any seed has no value."""
    return {name: np.mean([scores[name] for scores in seeds], axis=0) for name in seeds[0]}


def _joined(splits: Sequence[Scores]) -> Scores:
    return {name: np.concatenate([scores[name] for scores in splits]) for name in splits[0]}


def _finite_or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _notices(rows: Sequence[MethodRow], exchanged: str) -> tuple[str, ...]:
    gain = {row.name: row for row in rows}.get(exchanged)
    interval = gain and gain.difference[HEADLINE].bootstrap
    if interval and interval[0] <= 0:
        doubt = f"{rows[0].name} may be as good when fitted to shuffled conditions (Pearson vs mean)."
        return (f"NO CLEAR EFFECT OF CONDITIONS: {doubt}",)
    return ()
