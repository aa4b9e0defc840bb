"""One protocol for every modality: evaluate encoders with labels, next to controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from anyjepa.data.dataset import Dataset
from anyjepa.data.labels import LabelTable, join
from anyjepa.data.places import PlaceLabels
from anyjepa.data.samples import Samples, SelectedSamples
from anyjepa.diagnostics.verdict import COLLAPSED
from anyjepa.errors import InputError
from anyjepa.evaluation.cache import FeatureCache
from anyjepa.evaluation.config import EvaluationConfig
from anyjepa.evaluation.dense import DenseStudy
from anyjepa.evaluation.intervals import Resampled, paired_difference, percentiles
from anyjepa.evaluation.overlap import exposure
from anyjepa.evaluation.result import WHAT, Difference, Parts, Result, Row
from anyjepa.evaluation.splits import Fixed, Split
from anyjepa.evaluation.study import Candidate, Fitted, Source, Study, number
from anyjepa.progress import part, stage
from anyjepa.versions import versions

PARTS = ("train", "validation", "test")

__all__ = ["Candidate", "EvaluationConfig", "Fitted", "Source", "evaluate"]


def evaluate(
    candidates: Mapping[str, Source],
    samples: Samples,
    labels: LabelTable,
    config: EvaluationConfig,
    *,
    task: str = "labels",
    data: str = "",
    sources: Mapping[str, str] | None = None,
    patients: Mapping[str, str] | None = None,
    what: tuple[str, str] = WHAT,
    cache: str | Path | None = None,
    keep: Callable[[Fitted], object] | None = None,
) -> Result:
    """Evaluate each candidate and the controls on the same splits. Differences are from the first row.

    Controls: the same probe on the first candidate's network with random weights (new ones for each seed), a probe on
    the raw input and, if requested, the same network trained from scratch. An attentive probe stands next to a linear
    one.

    task, data: their names in the result. sources: the data set or folder of each id. patients: the patient of each id
    as in pretraining, where the groups of the labels differ. what: words for records and groups. cache: folder for
    features. keep: called with the first row's classifier
    of the first split. Raises InputError.
    """
    if config.protocol == "dense":
        raise InputError("evaluate: protocol dense needs labels per place, not one class per record")
    if keep and config.protocol == "knn":
        raise InputError("evaluate: nearest neighbours cannot be saved as a classifier; choose another protocol")
    joined = join(labels, samples.ids)
    table, dropped = joined.table.drop_rare(config.min_count)
    place = dict(zip(joined.table.ids, joined.index, strict=True))
    study = Study(SelectedSamples(samples, [place[name] for name in table.ids]), table, config, FeatureCache(cache))
    result = _evaluated(study, candidates, task, data, sources, patients, what, keep)
    return result.model_copy(
        update={
            "dropped": {name: count for name, count in dropped.items() if count},
            "unlabelled": len(joined.unlabelled),
            "absent": len(joined.absent),
            "examples": {"unlabelled": joined.unlabelled[:5], "absent": joined.absent[:5]},
        }
    )


def evaluate_places(
    candidates: Mapping[str, Source],
    samples: Dataset,
    labels: PlaceLabels,
    config: EvaluationConfig,
    patch: tuple[int, ...],
    *,
    task: str = "labels",
    data: str = "",
    cache: str | Path | None = None,
) -> Result:
    """The same for labels per place and protocol 'dense', with tokens instead of records.

    patch: samples per token along each axis, as of the candidates. Raises InputError.
    """
    index = {id: place for place, id in enumerate(samples.ids)}
    absent = tuple(id for id in labels.ids if id not in index)
    if missing := absent[:1]:
        raise InputError(f"evaluate: record '{missing[0]}' has labels per place, but is not in the data")
    chosen = [index[id] for id in labels.ids]
    groups = tuple(samples.groups[place] for place in chosen)
    rate = samples.preprocessing.rate
    study = DenseStudy(SelectedSamples(samples, chosen), labels, groups, patch, rate, config, FeatureCache(cache))
    sources = dict(zip(samples.ids, samples.source, strict=True))
    result = _evaluated(study, candidates, task, data, sources, None, ("tokens", samples.what[1]))
    unlabelled = tuple(id for id in samples.ids if id not in set(labels.ids))
    examples = {"unlabelled": unlabelled[:5], "absent": ()}
    return result.model_copy(update={"unlabelled": len(unlabelled), "examples": examples})


def _evaluated(
    study: Study,
    candidates: Mapping[str, Source],
    task: str,
    data: str,
    sources: Mapping[str, str] | None,
    patients: Mapping[str, str] | None,
    what: tuple[str, str],
    keep: Callable[[Fitted], object] | None = None,
) -> Result:
    """The result of a study whose records are all labelled."""
    table, config = study.table, study.config
    records, splits = study.by_record()
    origins = [(sources or {}).get(name, "") for name in records.ids]
    people = [(patients or {}).get(name, group) for name, group in zip(records.ids, records.groups, strict=True)]
    rows: list[Row] = []
    resampled: dict[str, Resampled] = {}
    notices = []
    for name, (evaluator, control) in study.evaluators(candidates).items():
        outcomes = []
        with stage(name):
            for place, split in enumerate(study.repeats, 1):
                with part(f"split {place} of {len(study.repeats)}"):
                    outcome = evaluator(split)
                if keep and not rows and not outcomes:
                    keep(study.fitted(outcome, split))
                outcomes.append(outcome._replace(probed=outcome.probed._replace(head=None, encoder=None), encoder=None))
        labelled = any(one.weights == "fine-tuned" for one in outcomes)
        seen = exposure((one.seen for one in outcomes), splits, records, study.hashes, origins, people, labelled)
        row, resampled[name] = study.row(name, outcomes, control, seen)
        rows.append(row)
        if name in candidates and seen.transductive is not False:
            notices.append(f"{name}: {seen}")
        if name in candidates and row.spread is not None and row.spread < COLLAPSED:
            notices.append(
                f"{name}: features of different {what[0]} differ by {row.spread:.2%} of their length, so the "
                "representation has collapsed; the probe scales up what is left, and its score may rest on noise"
            )
    return Result(
        task=task,
        data=data or f"{len(table)} {what[0]}",
        what=_what(what, table),
        protocol=config.protocol,
        preset=config.preset,
        settings=config.model_dump(mode="json"),
        exclusive=table.exclusive,
        classes=table.counts(),
        dropped={},
        unscored=_unscored(rows[0]),
        without_positives=_without_positives(study.repeats, table),
        records=len(table),
        groups=len(set(table.groups)),
        unlabelled=0,
        absent=0,
        parts=_parts(study.repeats[0], table),
        rows=tuple(rows),
        intervals="patients" if isinstance(study.split, Fixed) or len(study.repeats) == 1 else "repeats",
        differences=_differences(rows, resampled, study.split.overlap),
        notices=tuple(notices),
        environment=versions(),
    )


def _what(what: tuple[str, str], table: LabelTable) -> tuple[str, str]:
    """Words for records and groups: the same word if each record is its own group, and 'groups' for unknown groups."""
    records, groups = what
    if table.groups == table.ids:
        return records, records
    return records, "groups" if groups == records else groups


def _differences(rows: Sequence[Row], resampled: Mapping[str, Resampled], overlap: float) -> tuple[Difference, ...]:
    """Macro AUROC of the first row minus each other."""
    metric = "macro_auroc"

    def of(row: Row) -> tuple[list[float], np.ndarray]:
        return [number(r.metrics[metric]) for r in row.repeats], resampled[row.name].overall.get(metric, np.empty(0))

    areas, draws = of(rows[0])
    others = [(row.name, *of(row)) for row in rows[1:]]
    return tuple(
        Difference(
            minus=name, metric=metric, estimate=paired_difference(areas, theirs, overlap, percentiles(draws - drawn))
        )
        for name, theirs, drawn in others
    )


def _unscored(row: Row) -> dict[str, int]:
    areas = [repeat.class_metrics["auroc"] for repeat in row.repeats]
    counts = {name: sum(area[name] is None for area in areas) for name in areas[0]}
    return {name: count for name, count in counts.items() if count}


def _without_positives(repeats: Sequence[Split], table: LabelTable) -> dict[str, dict[str, int]]:
    """Classes without positives by part, with the number of such repeats."""
    counts = {part: sum(~table.values[getattr(split, part)].any(0) for split in repeats) for part in PARTS}
    named = {
        part: {name: int(n) for name, n in zip(table.classes, empty, strict=True) if n}  # type: ignore[arg-type]
        for part, empty in counts.items()
    }
    return {part: classes for part, classes in named.items() if classes}


def _parts(split: Split, table: LabelTable) -> Parts:
    train, validation, test = split.train, split.validation, split.test
    return Parts(
        records=(len(train), len(validation), len(test)),
        groups=(_groups(table, train), _groups(table, validation), _groups(table, test)),
    )


def _groups(table: LabelTable, rows: np.ndarray) -> int:
    return len({table.groups[row] for row in rows})
