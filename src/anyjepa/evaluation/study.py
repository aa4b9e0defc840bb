"""Compute the rows of a result on labelled records and their splits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch

from anyjepa.data.labels import LabelTable
from anyjepa.data.samples import Samples, SelectedSamples, signal_hashes
from anyjepa.errors import InputError
from anyjepa.evaluation.attentive import attentive_probe
from anyjepa.evaluation.cache import FeatureCache, cache_key
from anyjepa.evaluation.calibration import reliability
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.conformal import true_scores
from anyjepa.evaluation.controls import patch_features, random_encoder, raw_features
from anyjepa.evaluation.decisions import UNCHOSEN, best_thresholds, decide
from anyjepa.evaluation.features import Tokens, mean_features, summary_features, token_features
from anyjepa.evaluation.finetune import Finetune, finetune
from anyjepa.evaluation.intervals import Estimate, Resampled, bootstrap, estimate, percentiles
from anyjepa.evaluation.metrics import Scored
from anyjepa.evaluation.novelty import distances, fit_whitening
from anyjepa.evaluation.overlap import Exposure
from anyjepa.evaluation.probes import Probed, knn_probe, linear_probe
from anyjepa.evaluation.result import Repeat, Row
from anyjepa.evaluation.splits import Fixed, Folds, Split, check_leakage, low_shot, splits, warn_of_few
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.nn.pooling import Head, Summary
from anyjepa.randomness import generator
from anyjepa.training.precision import autocast, of_machine
from anyjepa.weights.calibration import Calibration
from anyjepa.weights.model import NOTHING, TrainingRecords


@dataclass(frozen=True)
class Candidate:
    """An encoder to evaluate."""

    encoder: Encoder
    weights: str = "teacher"  # or 'student', 'random'
    seen: TrainingRecords | None = None  # records that it was pretrained on; None: unknown


# A function, if pretraining left out the split's test part. It is called repeatedly, so it should keep its results.
Source = Candidate | Callable[[Split], Candidate]


@dataclass(frozen=True)
class Fitted:
    """A classifier that was trained on one split, with its metadata."""

    encoder: Encoder
    head: Head
    trained: bool  # whether the encoder was trained on the labels too
    classes: tuple[str, ...]
    exclusive: bool
    thresholds: tuple[float, ...] | None  # one per class; None: exclusive classes
    unchosen: tuple[str, ...]  # classes without positives in the validation data to choose a threshold
    windows: Windows
    joint: bool  # whether the head reads all windows of a record at once
    split: Split
    table: LabelTable
    digests: tuple[str, ...]  # digests of the signals, in the order of the table
    macro_auroc: float  # on the split's test part
    calibration: Calibration | None  # None: the head was trained on the validation part


class Outcome(NamedTuple):
    """One row on one split."""

    probed: Probed
    weights: str
    seen: TrainingRecords | None
    encoder: Encoder | None = None


Evaluator = Callable[[Split], Outcome]


class Study:
    """Labelled records and their splits, with methods to compute the rows of a result.

    record: index of the sample of each row of the table; None: row i is of sample i.
    """

    def __init__(
        self,
        samples: Samples,
        table: LabelTable,
        config: EvaluationConfig,
        cache: FeatureCache,
        record: np.ndarray | None = None,
    ):
        precision = of_machine(config.precision)  # the result says which
        self.samples, self.table, self.cache = samples, table, cache
        self.config = config.model_copy(update={"precision": precision})
        self.hashes = signal_hashes(samples)
        self.split = config.split or (Fixed() if table.split is not None else Folds())
        whole = [split for seed in range(config.seeds) for split in splits(table, self.split, seed)]
        check_leakage(whole, table.groups, self.hashes if record is None else [self.hashes[row] for row in record])
        self.repeats = whole if config.low_shot is None else self.few(whole, config.low_shot)

    def few(self, whole: Sequence[Split], amount: int | float) -> list[Split]:
        """The splits with fewer labels."""
        warn_of_few(self.table, whole, amount)
        return [low_shot(self.table, split, amount) for split in whole]

    def by_record(self) -> tuple[LabelTable, list[Split]]:
        """The splits as rows of a table of the samples."""
        return self.table, self.repeats

    def evaluators(self, candidates: Mapping[str, Source]) -> dict[str, tuple[Evaluator, bool]]:
        """Evaluators of all rows by name, and whether they are controls. The candidates come first."""
        if not candidates:
            raise InputError("evaluate: no encoder to evaluate")
        protocol = self.config.protocol
        network = self.network(candidates)
        scratch = {"from scratch (same network, labels only)": self._random(network, self.train)}
        raw = self._raw(network)
        if protocol == "supervised":
            return named(scratch, False) | named(raw, True)
        probe = self.train if protocol == "finetune" else self.probe
        rows = named({name: self._evaluator(source, probe) for name, source in candidates.items()}, False)
        if protocol == "finetune":
            return rows | named(scratch | raw, True)
        if protocol == "attentive":
            linear = {
                f"{name}, linear probe": self._evaluator(source, self.linear) for name, source in candidates.items()
            }
            rows |= named(linear, False)
        controls = {"random init (same network)": self._random(network, self.probe)} | raw
        return rows | named(controls | (scratch if self.config.from_scratch else {}), True)

    def network(self, candidates: Mapping[str, Source]) -> Encoder:
        """The encoder of the first candidate, whose network the controls have."""
        first = next(iter(candidates.values()))
        return (first if isinstance(first, Candidate) else first(self.repeats[0])).encoder

    def probe(self, encoder: Encoder, split: Split) -> Probed:
        """Train the configured probe on the frozen encoder."""
        config, values, exclusive = self.config.attentive, self.table.values, self.table.exclusive
        if self.config.protocol in ("linear", "knn"):
            return self.linear(encoder, split)
        if config.crops == "random":
            settings = Finetune(head=config.settings, attention="pretrained", dropout=0, fit=config.fit)
            windows = self.config.windows
            return finetune(encoder, self.samples, values, split, exclusive, windows, settings, frozen=True)
        arrays, rows = self._cached("tokens", encoder, lambda: vars(token_features(encoder, *self._inputs)))
        tokens = Tokens(**arrays | {"record": rows[arrays["record"]]})
        return attentive_probe(encoder, tokens, values, split, exclusive, config)

    def linear(self, encoder: Encoder, split: Split) -> Probed:
        """Train a linear probe, or nearest neighbours, on a summary of the frozen encoder's tokens."""
        return self._probe_vectors(self._vectors(encoder), split, self._summary)

    def train(self, encoder: Encoder, split: Split) -> Probed:
        """Train the whole network. Training from scratch has the settings of fine-tuning."""
        settings = self.config.finetune if self.config.protocol == "finetune" else self.config.supervised
        values, exclusive, windows = self.table.values, self.table.exclusive, self.config.windows
        head = self.probe(encoder, split).head if settings.after == "attentive" else None
        return finetune(encoder, self.samples, values, split, exclusive, windows, settings, head=head)

    def fitted(self, outcome: Outcome, split: Split) -> Fitted:
        """The classifier of a row on one split, for saving it."""
        probed, (scored, thresholds) = outcome.probed, self._decided(outcome.probed, split)
        encoder = probed.encoder or outcome.encoder
        assert encoder is not None, "raw input is never the first row"
        assert probed.head is not None, "nearest neighbours raise an error before"
        unchosen = np.zeros(len(self.table.classes), bool) if thresholds is None else np.isnan(thresholds)
        return Fitted(
            encoder=encoder,
            head=probed.head,
            trained=probed.encoder is not None,
            classes=self.table.classes,
            exclusive=self.table.exclusive,
            thresholds=None if thresholds is None else tuple(np.where(unchosen, UNCHOSEN, thresholds).tolist()),
            unchosen=tuple(label for label, missing in zip(self.table.classes, unchosen, strict=True) if missing),
            windows=self.config.windows,
            joint=self.config.protocol == "attentive" and self.config.attentive.joint,
            split=split,
            table=self.table,
            digests=tuple(self.hashes),
            macro_auroc=float(scored.measure()[0]["macro_auroc"][0]),
            calibration=self._calibration(encoder, probed, split),
        )

    def _calibration(self, encoder: Encoder, probed: Probed, split: Split) -> Calibration | None:
        """What the classifier says of validation records, one per group, because those of one patient are alike."""
        if self.config.protocol == "linear" and self.config.linear.refit:
            return None
        order = generator(split.seed, "calibration", split.fold).permutation(len(split.validation))
        first = {self.table.groups[split.validation[place]]: place for place in order[::-1]}
        places = np.array(sorted(first.values()))
        rows = np.concatenate([split.train, split.validation[places]])
        if self.config.protocol == "linear":  # already computed for the probe
            vectors = self._vectors(encoder)[rows, : encoder.dim]
        else:
            with self._computing(encoder):
                vectors = mean_features(encoder, SelectedSamples(self.samples, rows), self.config.windows)
        centre, whitening = fit_whitening(vectors[: len(split.train)])
        values, exclusive = self.table.values[split.validation[places]], self.table.exclusive
        return Calibration(
            true_scores(probed.validation[places], values, exclusive),
            centre,
            whitening,
            np.sort(distances(vectors[len(split.train) :], centre, whitening)),
        )

    def row(self, name: str, outcomes: Sequence[Outcome], control: bool, seen: Exposure) -> tuple[Row, Resampled]:
        """Metrics of a row over all repeats, and over resamples of the patients, which are the same for every row."""
        decided = [self._decided(one.probed, split) for split, one in zip(self.repeats, outcomes, strict=True)]
        tests = [scored for scored, _ in decided]
        resampled = bootstrap(tests, self.config.bootstrap)
        repeats = [
            self._repeat(split, one.probed, *decisions)
            for split, one, decisions in zip(self.repeats, outcomes, decided, strict=True)
        ]
        classes = self.table.classes

        def over(metric: str, label: str | None = None) -> Estimate:
            of = [r.metrics[metric] if label is None else r.class_metrics[metric][label] for r in repeats]
            draws = resampled.overall.get(metric) if label is None else None
            if label is not None and metric in resampled.classes:
                draws = resampled.classes[metric][:, classes.index(label)]
            limits = (-np.inf, np.inf) if metric.endswith("_ms") else (0, 1)
            return estimate([number(value) for value in of], self.split.overlap, limits, percentiles(draws))

        spreads = [one.probed.spread for one in outcomes]
        values, scores = (np.concatenate(parts) for parts in zip(*((t.values, t.scores) for t in tests), strict=True))
        row = Row(
            name=name,
            control=control,
            weights=outcomes[0].weights,
            transductive=seen.transductive,
            spread=None if any(one is None for one in spreads) else float(np.mean(spreads)),  # type: ignore[arg-type]
            repeats=tuple(repeats),
            metrics={metric: over(metric) for metric in repeats[0].metrics},
            class_metrics={m: {label: over(m, label) for label in of} for m, of in repeats[0].class_metrics.items()},
            reliability=reliability(values, scores),
            class_reliability={label: reliability(values[:, c], scores[:, c]) for c, label in enumerate(classes)},
        )
        return row, resampled

    def _decided(self, probed: Probed, split: Split) -> tuple[Scored, np.ndarray | None]:
        """The test part with decisions, and the thresholds (C,), which are chosen on validation data."""
        values, exclusive = self.table.values, self.table.exclusive
        thresholds = None if exclusive else best_thresholds(values[split.validation], probed.validation)
        groups, decided = np.array(self.table.groups)[split.test], decide(probed.scores, thresholds)
        return Scored(values[split.test], probed.scores, groups, decided, exclusive), thresholds

    def _repeat(self, split: Split, probed: Probed, scored: Scored, thresholds: np.ndarray | None) -> Repeat:
        overall, of_classes = scored.measure()
        return Repeat(
            seed=split.seed,
            fold=split.fold,
            metrics={metric: _finite(float(value[0])) for metric, value in overall.items()},
            class_metrics={metric: self._by_class(values[0]) for metric, values in of_classes.items()}
            | {metric: {name: _finite(v) for name, v in of.items()} for metric, of in probed.measured.items()},
            thresholds=None if thresholds is None else self._by_class(thresholds),
            chosen=probed.chosen,
        )

    def _by_class(self, values: np.ndarray) -> dict[str, float | None]:
        return {label: _finite(value) for label, value in zip(self.table.classes, values.tolist(), strict=True)}

    def _vectors(self, encoder: Encoder) -> np.ndarray:
        """The summary of each record, (N, F); its mean token comes first. NaN where no split uses the record."""
        of = self._summary
        arrays, rows = self._cached(of, encoder, lambda: {"x": summary_features(encoder, *self._inputs, of)})
        return self._of_all(arrays["x"], rows)

    @property
    def _summary(self) -> Summary:
        return "mean" if self.config.protocol == "knn" else self.config.linear.head

    @cached_property
    def _used(self) -> np.ndarray:
        """Indices of the records that any split uses: with few labels, most are in none."""
        return np.unique(np.concatenate([np.r_[split.train, split.validation, split.test] for split in self.repeats]))

    def _of_all(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Features x of the records at `rows` as features of all records, (N, F), with NaN for the others."""
        of_all = np.full((len(self.samples), x.shape[1]), np.nan, x.dtype)
        of_all[rows] = x
        return of_all

    @property
    def _inputs(self) -> tuple[Samples, Windows]:
        return SelectedSamples(self.samples, self._used), self.config.windows

    def _evaluator(self, source: Source, probe: Callable[[Encoder, Split], Probed]) -> Evaluator:
        def evaluate(split: Split) -> Outcome:
            candidate = source if isinstance(source, Candidate) else source(split)
            return Outcome(probe(candidate.encoder, split), candidate.weights, candidate.seen, candidate.encoder)

        return evaluate

    def _random(self, network: Encoder, probe: Callable[[Encoder, Split], Probed]) -> Evaluator:
        def evaluate(split: Split) -> Outcome:
            encoder = random_encoder(network, split.seed)
            return Outcome(probe(encoder, split), "random", NOTHING, encoder)

        return evaluate

    def _raw(self, network: Encoder) -> dict[str, Evaluator]:
        """Evaluators of the raw input. A linear probe is used if the protocol needs tokens or a network.

        If it reads more than the mean of the network's tokens, it reads as much of patches in one more row.
        """
        suffix = "" if self.config.protocol in ("linear", "knn") else ", linear probe"

        def evaluator(x: np.ndarray) -> Evaluator:
            return lambda split: Outcome(self._probe_vectors(x, split), "none", NOTHING)

        features = raw_features(self._inputs[0], self.config.raw_dimensions, self.samples[0].shape)
        if self._summary != "mean":
            features["raw patches (the same summary)"] = patch_features(
                *self._inputs, network.config.patch, self._summary
            )
        return {name + suffix: evaluator(self._of_all(x, self._used)) for name, x in features.items()}

    def _probe_vectors(self, x: np.ndarray, split: Split, summary: Summary = "mean") -> Probed:
        if self.config.protocol == "knn":
            return knn_probe(x, self.table.values, split, self.config.knn)
        return linear_probe(x, self.table.values, split, self.table.exclusive, self.config.linear, summary)

    def _cached(
        self, kind: str, encoder: Encoder, compute: Callable[[], dict[str, np.ndarray]]
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Features, and the indices of their records: all if the cache has them, else those that any split uses."""
        for rows in (np.arange(len(self.samples)), self._used):
            hashes = [self.hashes[row] for row in rows]
            key = cache_key(kind, encoder, hashes, self.config.windows, self.config.precision)
            if (arrays := self.cache.find(key)) is not None:
                return arrays, rows
        with self._computing(encoder):
            return self.cache.keep(key, compute()), rows

    def _computing(self, encoder: Encoder) -> torch.autocast:
        return autocast(next(encoder.parameters()).device, self.config.precision)


def named(evaluators: Mapping[str, Evaluator], control: bool) -> dict[str, tuple[Evaluator, bool]]:
    """The evaluators, and whether they are controls."""
    return {name: (evaluator, control) for name, evaluator in evaluators.items()}


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def number(value: float | None) -> float:
    """The value, or NaN for None."""
    return float("nan") if value is None else value
