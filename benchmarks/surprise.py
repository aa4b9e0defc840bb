"""Does surprise find premature beats? V against N beats of MIT-BIH DS2, beside two baselines.

    python benchmarks/surprise.py --data MITDB [--seeds 3] [--records 100 200] [--steps 800] [--set KEY=VALUE ...]
        [--output runs/surprise]

A small NEPA is pretrained on DS1 (MLII, 125 Hz, tokens of 40 ms, 10 s), without labels and without 201, whose person is
in DS2; 202, that person's other record, is left out of DS2. A beat's surprise is the largest of the tokens that begin
from 80 ms before its annotation to 160 ms after it. Baselines: prematurity, 1 - RR interval before the beat over the
median of the ten before that; template distance, 1 - correlation of the beat's 400 ms with the median beat of its
record. The baselines are given the annotated places of beats, which surprise needs only to be read. Control: the same
network with random weights. Prints the AUC over all beats and the mean of the records' own, and a JSON line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from kept import kept_run
from sklearn.metrics import roc_auc_score

from anyjepa.data.ecg.beats import AAMI
from anyjepa.data.ecg.reading import read
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.sets.mitbih import DS2, SAME_PERSON
from anyjepa.data.ecg.source import whole_records
from anyjepa.evaluation.controls import random_encoder
from anyjepa.runs.folder import environment
from anyjepa.runs.model import Model, load
from anyjepa.runs.surprise import surprise_table

EDITS = [
    "data.fs=125",
    "data.leads=[II]",
    "data.on_error=skip",
    "data.absolute_time=false",
    "objective.encoder.patch=[5]",
]
LEFT_OUT = ["mit-bih/107", "mit-bih/217", "mit-bih/201"]  # paced, in neither part; and who is in DS2, too
TESTED = tuple(name for name in DS2 if name not in SAME_PERSON)
BEFORE_S, AFTER_S = 0.08, 0.16  # tokens that begin in this window around a beat's annotation
BEAT_S = (0.15, 0.25)  # of the template, before and after the annotation
SEARCH = 10  # RR intervals behind a beat's usual one


def trained(seed: int, steps: int, edits: list[str], data: Path, output: Path) -> Model:
    """Pretrained on DS1."""
    lengths = [f"training.seed={seed}", f"training.steps={steps}", f"training.optimiser.warmup={steps // 10}"]
    folder = output / f"{seed}-{steps}"
    return load(kept_run("ecg-nepa-demo", data, folder, [*EDITS, *lengths, *edits], exclude=LEFT_OUT).model)


def beats(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Times of all N and V beats, s, and whether each is a V; with the RR history that they stand in."""
    marks = recording.annotations
    assert marks is not None
    names = {symbol: name for name, symbols in AAMI.items() for symbol in symbols}
    kept = [(s / recording.fs, names.get(y, "")) for s, y in zip(marks.samples.tolist(), marks.symbols, strict=True)]
    kept = [(time, name) for time, name in kept if name]
    return np.array([time for time, _ in kept]), np.array([name for _, name in kept])


def surprise_scores(model: Model, recordings: Sequence[Recording]) -> list[np.ndarray]:
    """The largest surprise around each beat of each recording."""
    table = surprise_table(model.loaded, model.preprocessing, whole_records(model.preprocessing, recordings))
    found = []
    for recording in recordings:
        own = table[table["id"] == recording.id]
        starts, values = np.array(own["start_s"]), np.array(own["surprise"])
        near = [(starts >= time - BEFORE_S) & (starts <= time + AFTER_S) for time in beats(recording)[0]]
        found.append(np.array([values[rows].max() if rows.any() else np.nan for rows in near]))
    return found


def prematurity(recording: Recording) -> np.ndarray:
    """1 - RR before each beat / median of the RRs before that; NaN for a record's first beats."""
    rr = np.diff(beats(recording)[0])
    usual = [np.median(rr[max(0, i - SEARCH) : i]) if i else np.nan for i in range(len(rr))]
    return np.concatenate([[np.nan], 1 - rr / np.array(usual)])


def template_distance(model: Model, recording: Recording) -> np.ndarray:
    """1 - correlation of each beat with the record's median beat; NaN for beats at its ends."""
    (signal,), fs = model.preprocessing.prepare(recording), model.preprocessing.fs
    before, after = (round(part * fs) for part in BEAT_S)
    middles = np.round(beats(recording)[0] * fs).astype(int)
    inside = (middles >= before) & (middles + after <= len(signal))
    cut = np.stack([signal[middle - before : middle + after] for middle in middles[inside]])
    template = np.median(cut - cut.mean(1, keepdims=True), axis=0)
    distance = np.full(len(middles), np.nan)
    distance[inside] = [1 - np.corrcoef(beat, template)[0, 1] if beat.std() else 1.0 for beat in cut]
    return distance


def areas(scores: Sequence[np.ndarray], recordings: Sequence[Recording]) -> dict[str, float]:
    """AUC of V against N over all beats, and the mean over the records that have both; not of beats without a score."""
    own, values, truth = [], [], []
    for score, recording in zip(scores, recordings, strict=True):
        names = beats(recording)[1]
        kept = np.isin(names, ["N", "V"]) & np.isfinite(score)
        values.append(score[kept])
        truth.append(names[kept] == "V")
        if 0 < truth[-1].sum() < kept.sum():
            own.append(roc_auc_score(truth[-1], values[-1]))
    together = np.concatenate(truth)
    return {
        "auc": float(roc_auc_score(together, np.concatenate(values))),
        "mean_of_records": float(np.mean(own)),
        "records": len(own),
        "v_beats": int(together.sum()),
        "n_beats": int((~together).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--records", nargs="+", default=TESTED, help="others than those of DS2")
    parser.add_argument("--set", action="append", default=[], dest="edits")
    parser.add_argument("--output", type=Path, default=Path("runs/surprise"))
    args = parser.parse_args()
    tested = [r for r in read(args.data, warn=False).recordings if r.id.removeprefix("mit-bih/") in args.records]
    assert len(tested) == len(args.records), "a record is missing"
    results = {}
    for seed in range(args.seeds):
        model = trained(seed, args.steps, args.edits, args.data, args.output)
        results[f"surprise, seed {seed}"] = areas(surprise_scores(model, tested), tested)
    control = trained(0, args.steps, args.edits, args.data, args.output)
    control.encoder = random_encoder(control.encoder, 0)
    results["random init"] = areas(surprise_scores(control, tested), tested)
    results["prematurity"] = areas([prematurity(r) for r in tested], tested)
    results["template distance"] = areas([template_distance(model, r) for r in tested], tested)
    for name, found in results.items():
        print(f"{name:20s}  AUC {found['auc']:.3f}  mean of {found['records']} records {found['mean_of_records']:.3f}")
    print(json.dumps({"results": results, "machine": environment()}))


if __name__ == "__main__":
    main()
