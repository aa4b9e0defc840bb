"""Methods beside baselines, over splits and model seeds, with intervals over conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anyjepa.errors import InputError, did_you_mean
from anyjepa.evaluation.intervals import UNKNOWN, Estimate, percentiles
from anyjepa.perturbation.scoring.baselines import BASELINES
from anyjepa.perturbation.scoring.effects import Effects, Fit, shuffled
from anyjepa.perturbation.scoring.metrics import METRICS
from anyjepa.perturbation.scoring.result import HEADLINE, SIZES, Condition, JudgedRow, Judgement, Places
from anyjepa.perturbation.scoring.scores import Exam, Scores, ceiling, predict
from anyjepa.randomness import generator
from anyjepa.versions import versions

CEILING = "half-split ceiling"


def judge(
    splits: Sequence[Effects],
    methods: Mapping[str, Sequence[Fit]],
    data: str,
    baselines: Mapping[str, Fit] = BASELINES,
    baseline: str = "perturbed mean",
    shuffle: bool = True,
    above: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Judgement:
    """Fit every method to the training conditions of every split, and score it on the test conditions.

    methods: by name one fit for each model seed; the first method is the one that all rows are compared with.
    baseline: the row at 0 of normalised scores; 1 is the half-split ceiling, which needs the cells.
    shuffle: add the first method, its first seed, fitted to exchanged conditions (`shuffled`).
    above: a metric; conditions where the ceiling is no better in it than the baseline are left out of all rows and
    counted: their own cells do not tell them from others, so no method can.
    Raises InputError for no split or method, an unknown baseline or metric, nothing left, and what `predict` refuses.
    """
    if not splits or not all(methods.values()) or not methods:
        raise InputError("perturbations are judged on one split, one method and one fit of it at least")
    if baseline not in baselines:
        raise InputError(f"no baseline '{baseline}'{did_you_mean(baseline, baselines)}")
    if twice := methods.keys() & baselines.keys():
        raise InputError(f"method '{min(twice)}' has the name of a baseline")
    first = next(iter(methods))
    exchanged = f"{first}, shuffled"
    fits = dict(methods) | ({exchanged: [shuffled(methods[first][0], seed)]} if shuffle else {})
    fits |= {name: [fit] for name, fit in baselines.items()}

    parts = [(effects.train, effects.held_out) for effects in splits]
    exams = [Exam.of(test, train.change.mean(0)) for train, test in parts]
    scores, changes = {}, []
    for name, of in fits.items():
        found = []
        for (train, _), exam in zip(parts, exams, strict=True):
            predictions = [predict(name, fit, train, exam.effects) for fit in of]
            found.append(_mean([exam.scores(prediction) for prediction in predictions]))
            if name == first:
                changes.append(np.mean([prediction.change for prediction in predictions], axis=0))
        scores[name] = _joined(found)
    one_panel = all(effects.genes == splits[0].genes for effects in splits)  # only then do changes have common axes
    true, predicted = ([exam.effects.change for exam in exams], changes) if one_panel else ([], [])
    if halved := all(effects.cells for effects in splits):
        scores[CEILING] = _joined([ceiling(exam.effects, exam.reference, seed) for exam in exams])

    conditions = _conditions([exam.effects for exam in exams])
    kept = np.ones(len(conditions), bool)
    if above is not None:
        if above not in METRICS:
            raise InputError(f"above: no metric '{above}'{did_you_mean(above, METRICS)}")
        if not halved:
            raise InputError("above: the half-split ceiling needs the cells of each condition")
        kept = METRICS[above].better * (scores[CEILING][above] - scores[baseline][above]) > 0
        if not kept.any():
            raise InputError(f"no test condition of {len(kept)} has a ceiling above '{baseline}' in {above}")
        scores = {name: {metric: values[kept] for metric, values in of.items()} for name, of in scores.items()}
        conditions = tuple(condition for condition, keep in zip(conditions, kept, strict=True) if keep)
    left_out = sum(len(exam.effects.conditions) for exam in exams) - len(conditions)
    over = Conditions.of(conditions, resamples, seed)
    zero, one = scores[baseline], scores[CEILING] if halved else None
    rows = tuple(
        JudgedRow(
            name=name,
            control=name not in methods,
            fits=len(fits.get(name, [name])),
            unanswered=int(np.isnan(of["l2"]).sum()),
            scores={metric: tuple(map(_known, values.tolist())) for metric, values in of.items()},
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
    return Judgement(
        data=data,
        genes=len(splits[0].genes),
        splits=len(splits),
        baseline=baseline,
        ceiling=CEILING if halved else None,
        conditions=conditions,
        places=_places(true, predicted, kept),
        left_out=left_out,
        rows=rows,
        notices=_notices(rows, exchanged),
        environment=versions(),
    )


@dataclass(frozen=True)
class Conditions:
    """E test conditions of all splits, and R draws of them: a name is drawn with all its splits at once.

    The draws depend on the names and the seed only, so that rows are paired by condition. They hold for the methods as
    they were fitted, and do not cover the draw of the training conditions.
    """

    sizes: np.ndarray  # (E,)
    weights: np.ndarray  # (R, E)

    @classmethod
    def of(cls, conditions: Sequence[Condition], resamples: int, seed: int) -> Conditions:
        names, own = np.unique([condition.name for condition in conditions], return_inverse=True)
        chances = np.full(len(names), 1 / len(names))
        resamples = resamples if len(names) > 1 else 0
        drawn = generator(seed, "bootstrap", 0).multinomial(len(names), chances, size=resamples)
        return cls(np.array([condition.size for condition in conditions]), drawn[:, own].astype(float))

    def mean(self, values: np.ndarray) -> Estimate:
        """Of (E,) values those that are known, with the interval."""
        return self._ratio(values, np.ones(len(values)))

    def normalised(self, values: np.ndarray, zero: np.ndarray, one: np.ndarray, better: int) -> Estimate:
        """(values - zero) / (one - zero), each the mean of (E,) where all are known; unknown if one is no better."""
        room = one - zero
        if not better * np.nansum(np.where(np.isfinite(values), room, np.nan)) > 0:
            return UNKNOWN
        return self._ratio(values - zero, room)

    def _ratio(self, above: np.ndarray, below: np.ndarray) -> Estimate:
        known = np.isfinite(above) & np.isfinite(below)
        if not known.any():
            return UNKNOWN
        above, below, weights = above[known], below[known], self.weights[:, known]
        with np.errstate(invalid="ignore", divide="ignore"):  # a draw may leave nothing known
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


def _places(measured: Sequence[np.ndarray], answers: Sequence[np.ndarray], kept: np.ndarray) -> Places | None:
    """measured, answers: changes of each split, none where their genes differ; kept: conditions that are judged."""
    if not measured:
        return None
    true, predicted = (np.concatenate(changes)[kept] for changes in (measured, answers))
    if min(true.shape) < 2:
        return None
    _, lengths, axes = np.linalg.svd(true, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2].sum(1, keepdims=True) + 1e-300)  # the same picture on every machine
    explained = lengths[:2] ** 2 / max((lengths**2).sum(), 1e-300)
    on_true, on_predicted = (np.round(changes @ axes.T, 4) for changes in (true, predicted))
    return Places(
        explained=(float(explained[0]), float(explained[1])),
        true=tuple((float(x), float(y)) for x, y in on_true),
        predicted=tuple((_known(float(x)), _known(float(y))) for x, y in on_predicted),
    )


def _mean(seeds: Sequence[Scores]) -> Scores:
    """Over model seeds; unknown where any seed has no number."""
    return {name: np.mean([scores[name] for scores in seeds], axis=0) for name in seeds[0]}


def _joined(splits: Sequence[Scores]) -> Scores:
    return {name: np.concatenate([scores[name] for scores in splits]) for name in splits[0]}


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _notices(rows: Sequence[JudgedRow], exchanged: str) -> tuple[str, ...]:
    gain = {row.name: row for row in rows}.get(exchanged)
    interval = gain and gain.difference[HEADLINE].bootstrap
    if interval and interval[0] <= 0:
        return (f"NOT TOLD APART: fitted to shuffled conditions, {rows[0].name} may be as good (Pearson vs mean).",)
    return ()
