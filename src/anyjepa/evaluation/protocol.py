"""One protocol for every modality: judge encoders on labels, with the controls beside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from anyjepa.config import Config
from anyjepa.data.labels import LabelTable, join
from anyjepa.errors import InputError
from anyjepa.evaluation.attentive import AttentiveProbe, attentive_probe
from anyjepa.evaluation.cache import FeatureCache, cache_key
from anyjepa.evaluation.controls import random_encoder, raw_features
from anyjepa.evaluation.features import Tokens, mean_features, token_features
from anyjepa.evaluation.finetune import Finetune, finetune
from anyjepa.evaluation.metrics import Scored, all_metrics, auroc, bootstrap, estimate, paired_difference, percentiles
from anyjepa.evaluation.overlap import Exposure, Nothing, Seen, exposure
from anyjepa.evaluation.probes import KnnProbe, LinearProbe, Probed, knn_probe, linear_probe
from anyjepa.evaluation.result import Difference, Parts, Repeat, Result, Row, environment
from anyjepa.evaluation.samples import Samples, SelectedSamples, Windows, signal_hashes
from anyjepa.evaluation.splits import Fixed, Folds, OpenShare, Split, SplitConfig, check_leakage, low_shot, splits
from anyjepa.nn.encoder import Encoder


class EvaluationConfig(Config):
    """How encoders are judged on labels. Settings of protocols that are not chosen have no effect."""

    protocol: Literal["linear", "knn", "attentive", "finetune", "supervised"] = Field(
        default="linear",
        description="what is trained on the labels; supervised: the network itself, from random weights",
    )
    split: SplitConfig | None = Field(default=None, description="none: the label table's own split, else 5 folds")
    seeds: PositiveInt = Field(default=3, description="repeats: new folds, low-shot draws and random encoders each")
    low_shot: PositiveInt | OpenShare | None = Field(
        default=None, description="labels a class (integer) or a share of the training part; none: all"
    )
    min_count: NonNegativeInt = Field(default=10, description="classes with fewer records are left out and named")
    from_scratch: bool = Field(
        default=False, description="the same network trained on the labels alone as one more row"
    )
    windows: Windows = Windows()
    linear: LinearProbe = LinearProbe()
    knn: KnnProbe = KnnProbe()
    attentive: AttentiveProbe = AttentiveProbe()
    finetune: Finetune = Finetune()
    supervised: Finetune = Finetune()
    raw_dimensions: PositiveInt = Field(default=1000, description="largest size of raw input as features")
    bootstrap: NonNegativeInt = Field(default=500, description="resamples of the groups for an interval; 0: none")


@dataclass(frozen=True)
class Candidate:
    """An encoder to be judged."""

    encoder: Encoder
    weights: str = "teacher"  # or 'student', 'random'
    seen: Seen | None = None  # what it was pretrained on; None: unknown


# A function where pretraining left out the split's test part; it should remember what it made, for it is asked again.
Source = Candidate | Callable[[Split], Candidate]


class _Judged(NamedTuple):
    probed: Probed
    weights: str
    seen: Seen | None


Judge = Callable[[Split], _Judged]


def evaluate(
    candidates: Mapping[str, Source],
    samples: Samples,
    labels: LabelTable,
    config: EvaluationConfig,
    *,
    task: str = "labels",
    data: str = "",
    cache: str | Path | None = None,
    progress: Callable[[str], None] = lambda row: None,
) -> Result:
    """Judge each candidate and the controls on the same splits; differences are taken against the first row.

    Controls: the same probe on the first candidate's network with random weights (new ones a seed), a probe on the
    raw input, and where asked for the same network trained from scratch. task, data: what the result calls them.
    cache: folder for features; progress: told each row's name before it is computed. Raises InputError.
    """
    joined = join(labels, samples.ids)
    table, dropped = joined.table.drop_rare(config.min_count)
    place = dict(zip(joined.table.ids, joined.index, strict=True))
    study = Study(SelectedSamples(samples, [place[name] for name in table.ids]), table, config, FeatureCache(cache))
    judged: dict[str, list[_Judged]] = {}
    for name, judge in study.judges(candidates).items():
        progress(name)
        judged[name] = [judge(split) for split in study.repeats]
    main = next(iter(judged))
    own = set(candidates) if config.protocol != "supervised" else {main}
    exposures = {
        name: exposure((one.seen for one in ones), study.repeats, table, study.hashes) for name, ones in judged.items()
    }
    resampled = {name: study.resampled(ones) for name, ones in judged.items()}
    rows = [study.row(name, ones, resampled[name], name not in own, exposures[name]) for name, ones in judged.items()]
    return Result(
        task=task,
        data=data or f"{len(table)} records",
        protocol=config.protocol,
        settings=config.model_dump(mode="json"),
        exclusive=table.exclusive,
        classes=table.counts(),
        dropped=dropped,
        unscored=_unscored(rows[0]),
        records=len(table),
        groups=len(set(table.groups)),
        unlabelled=len(joined.unlabelled),
        absent=len(joined.absent),
        parts=_parts(study.repeats[0], table),
        rows=tuple(rows),
        intervals="patients" if isinstance(study.split, Fixed) or len(study.repeats) == 1 else "repeats",
        differences=_differences(rows, resampled, study.split.overlap),
        notices=tuple(
            f"{name}: {found}" for name, found in exposures.items() if name in own and found.transductive is not False
        ),
        environment=environment(),
    )


class Study:
    """Labelled records, their splits, and how a row is computed on them."""

    def __init__(self, samples: Samples, table: LabelTable, config: EvaluationConfig, cache: FeatureCache):
        self.samples, self.table, self.config, self.cache = samples, table, config, cache
        self.hashes = signal_hashes(samples)
        self.split = config.split or (Fixed() if table.split is not None else Folds())
        whole = [split for seed in range(config.seeds) for split in splits(table, self.split, seed)]
        check_leakage(whole, table.groups, self.hashes)
        self.repeats = whole
        if config.low_shot is not None:
            self.repeats = [low_shot(table, split, config.low_shot) for split in whole]

    def judges(self, candidates: Mapping[str, Source]) -> dict[str, Judge]:
        """Every row by name, the candidates first."""
        if not candidates:
            raise InputError("evaluate: no encoder is given")
        protocol = self.config.protocol
        first = next(iter(candidates.values()))
        network = (first if isinstance(first, Candidate) else first(self.repeats[0])).encoder
        scratch: dict[str, Judge] = {
            "from scratch (same network, labels only)": lambda split: _Judged(
                self.train(network, split, from_scratch=True), "random", Nothing()
            )
        }
        if protocol == "supervised":
            return scratch | self._raw()
        rows: dict[str, Judge] = {name: self._judge(source) for name, source in candidates.items()}
        if protocol == "finetune":
            return rows | scratch | self._raw()
        rows["random init (same network)"] = lambda split: _Judged(
            self.probe(random_encoder(network, split.seed), split), "random", Nothing()
        )
        return rows | self._raw() | (scratch if self.config.from_scratch else {})

    def probe(self, encoder: Encoder, split: Split) -> Probed:
        """The chosen probe on the frozen encoder."""
        if self.config.protocol == "attentive":
            tokens = Tokens(**self._cached("tokens", encoder, lambda: vars(token_features(encoder, *self._inputs))))
            values, exclusive = self.table.values, self.table.exclusive
            return attentive_probe(encoder, tokens, values, split, exclusive, self.config.attentive)
        x = self._cached("mean", encoder, lambda: {"x": mean_features(encoder, *self._inputs)})["x"]
        return self._probe_vectors(x, split)

    def train(self, encoder: Encoder, split: Split, from_scratch: bool) -> Probed:
        """The whole network, fine-tuned or from scratch; beside fine-tuning, from scratch has the same settings."""
        values, exclusive = self.table.values, self.table.exclusive
        settings = self.config.finetune if self.config.protocol == "finetune" else self.config.supervised
        return finetune(
            encoder, self.samples, values, split, exclusive, self.config.windows, settings, from_scratch=from_scratch
        )

    def resampled(self, judged: Sequence[_Judged]) -> np.ndarray:
        """(R,) macro AUROC of a row with patients drawn anew; the same draws for every row."""
        values, groups = self.table.values, np.array(self.table.groups)
        tests = [
            Scored(values[split.test], one.probed.scores, groups[split.test])
            for split, one in zip(self.repeats, judged, strict=True)
        ]
        return bootstrap(tests, self.config.bootstrap)

    def row(self, name: str, judged: Sequence[_Judged], resampled: np.ndarray, control: bool, seen: Exposure) -> Row:
        """A row's metrics over all repeats."""
        values, classes = self.table.values, self.table.classes
        repeats = []
        for split, one in zip(self.repeats, judged, strict=True):
            found = all_metrics(values[split.test], one.probed.scores, self.table.exclusive)
            areas = dict(zip(classes, auroc(values[split.test], one.probed.scores).tolist(), strict=True))
            repeats.append(
                Repeat(
                    seed=split.seed,
                    fold=split.fold,
                    metrics={metric: _known(value) for metric, value in found.items()},
                    class_auroc={label: _known(value) for label, value in areas.items()},
                    chosen=one.probed.chosen,
                )
            )
        overlap, some = self.split.overlap, repeats[0]
        return Row(
            name=name,
            control=control,
            weights=judged[0].weights,
            transductive=seen.transductive,
            repeats=tuple(repeats),
            metrics={m: estimate([_float(r.metrics[m]) for r in repeats], overlap, (0, 1)) for m in some.metrics},
            class_auroc={c: estimate([_float(r.class_auroc[c]) for r in repeats], overlap, (0, 1)) for c in classes},
            bootstrap=percentiles(resampled),
        )

    @property
    def _inputs(self) -> tuple[Samples, Windows]:
        return self.samples, self.config.windows

    def _judge(self, source: Source) -> Judge:
        def judge(split: Split) -> _Judged:
            candidate = source if isinstance(source, Candidate) else source(split)
            if self.config.protocol == "finetune":
                probed = self.train(candidate.encoder, split, from_scratch=False)
            else:
                probed = self.probe(candidate.encoder, split)
            return _Judged(probed, candidate.weights, candidate.seen)

        return judge

    def _raw(self) -> dict[str, Judge]:
        """Rows on the input itself; a linear probe where the protocol needs tokens or a network."""
        suffix = "" if self.config.protocol in ("linear", "knn") else ", linear probe"

        def judge(x: np.ndarray) -> Judge:
            return lambda split: _Judged(self._probe_vectors(x, split), "none", Nothing())

        found = raw_features(self.samples, self.config.raw_dimensions)
        return {name + suffix: judge(x) for name, x in found.items()}

    def _probe_vectors(self, x: np.ndarray, split: Split) -> Probed:
        if self.config.protocol == "knn":
            return knn_probe(x, self.table.values, split, self.config.knn)
        return linear_probe(x, self.table.values, split, self.table.exclusive, self.config.linear)

    def _cached(
        self, kind: str, encoder: Encoder, compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        return self.cache.get(cache_key(kind, encoder, self.hashes, self.config.windows), compute)


def _differences(rows: Sequence[Row], resampled: Mapping[str, np.ndarray], overlap: float) -> tuple[Difference, ...]:
    """Macro AUROC of the first row minus each other."""

    def areas(row: Row) -> list[float]:
        return [_float(repeat.metrics["macro_auroc"]) for repeat in row.repeats]

    first = rows[0]
    return tuple(
        Difference(
            minus=row.name,
            metric="macro_auroc",
            estimate=paired_difference(areas(first), areas(row), overlap),
            bootstrap=percentiles(resampled[first.name] - resampled[row.name]),
        )
        for row in rows[1:]
    )


def _unscored(row: Row) -> dict[str, int]:
    counts = {name: sum(r.class_auroc[name] is None for r in row.repeats) for name in row.repeats[0].class_auroc}
    return {name: count for name, count in counts.items() if count}


def _parts(split: Split, table: LabelTable) -> Parts:
    train, validation, test = split.train, split.validation, split.test
    return Parts(
        records=(len(train), len(validation), len(test)),
        groups=(_groups(table, train), _groups(table, validation), _groups(table, test)),
    )


def _groups(table: LabelTable, rows: np.ndarray) -> int:
    return len({table.groups[row] for row in rows})


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _float(value: float | None) -> float:
    return float("nan") if value is None else value
