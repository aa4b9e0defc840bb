"""Whether explanations of a classifier find signals that were planted in simulated ECGs.

    python benchmarks/explanations.py --records 8 --output runs/explanations

Trains a linear probe on `ecg-sim-xs` (eight exclusive classes, 640 patients), and another one on shuffled labels. Both
explain the class of new patients of whom the first is sure. The simulator knows where the sign of a class is:

    STE_ANT   from the end of the QRS to the end of T in V1 to V4     LBBB, RBBB   the QRS complexes
    STE_INF   the same in II, III and aVF                             PVC          0.55 s from premature beats on
    AVB1      from the beginning of P to that of the QRS              AFIB         from the end of T to the next QRS

Prints for each class and method the mean effect inside and outside of these places, and the AUROC of effects as a
score for them, for single leads and for all leads together. Methods: occlusion by the median of each lead in the
record, by the mean of the training data, by samples of the record in random order, and integrated gradients
(Sundararajan et al. 2017; 32 steps from the median).
"""

from __future__ import annotations

import argparse
import json
import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.recording import Recording
from anyjepa.data.ecg.simulated.simulator import Beats, SimulatorConfig, simulate, simulate_patient
from anyjepa.evaluation.metrics import auroc
from anyjepa.evaluation.occlusion import Grid, OccludedSamples, log_odds, place_width
from anyjepa.runs.model import Model

CLASSES = ("NORM", "AFIB", "PVC", "LBBB", "RBBB", "STE_ANT", "STE_INF", "AVB1")
SETTINGS = {"fs": 250, "spread": 0.5, "classes": CLASSES}
LEADS_OF = {"STE_ANT": ("V1", "V2", "V3", "V4"), "STE_INF": ("II", "III", "aVF")}
SURE, STEPS = 0.5, 32  # smallest probability of the class; steps of integrated gradients


def planted(recording: Recording, beats: Beats, name: str, edges_s: np.ndarray) -> np.ndarray:
    """Which places (L, K) lie in the sign of a class by half or more."""
    waves = recording.waves()  # type: ignore[misc]
    at = {kind: [(a, b) for n, a, b in zip(*waves[:3], strict=True) if n == kind] for kind in ("P", "QRS", "T")}
    ends = sorted(end for _, end in at["T"])
    if name in LEADS_OF:
        spans = [(end, next((e for e in ends if e > end), end)) for _, end in at["QRS"]]
    elif name == "PVC":
        spans = [(onset, onset + 0.55) for onset in beats.onsets[beats.ventricular]]
    elif name == "AFIB":
        spans = [(end, min((a for a, _ in at["QRS"] if a > end), default=end)) for end in ends]
    else:
        spans = [(p, p + beats.pr_s) for p in beats.p_onsets] if name == "AVB1" else at["QRS"]
    fine = np.linspace(edges_s[0], edges_s[-1], 2001)[:-1]
    inside = np.array([[any(a <= t < b for a, b in spans)] for t in fine])
    share = np.array([inside[(fine >= a) & (fine < b)].mean() for a, b in pairwise(edges_s)])
    leads = np.isin(LEADS, LEADS_OF.get(name, LEADS))
    return leads[:, None] & (share >= 0.5)[None]


class Shuffled(OccludedSamples):
    """Hides a part by samples of the same channels in random order."""

    def __getitem__(self, index: int) -> np.ndarray:
        if index == 0:
            return self.record
        hidden, part = self.record.copy(), self._parts[index - 1].index
        other = np.random.default_rng(index).permutation(self.record.shape[1])[: part[1].stop - part[1].start]
        hidden[part] = self.record[part[0]][:, other]
        return hidden


def occlusion(model: Model, hidden: OccludedSamples, number: int) -> np.ndarray:
    """Effects (P,) of hiding each part on the log-odds of a class."""
    odds = []
    with torch.inference_mode():
        for first in range(0, len(hidden), 64):
            x = np.stack([hidden[place] for place in range(first, min(first + 64, len(hidden)))])
            odds.append(log_odds(model.head(*model.encoder.features(torch.from_numpy(x))).numpy(), True))  # type: ignore[misc]
    odds = np.concatenate(odds)[:, number]
    return odds[0] - odds[1:]


def gradients(model: Model, record: np.ndarray, neutral: np.ndarray, grid: Grid, number: int) -> np.ndarray:
    """Integrated gradients of the log-odds of a class, summed over each part, (P,)."""
    change = torch.from_numpy(record - neutral[:, None])
    along = ((torch.arange(STEPS) + 0.5) / STEPS)[:, None, None]
    x = (torch.from_numpy(neutral)[:, None] + along * change).requires_grad_()
    logits = model.head(*model.encoder.features(x))  # type: ignore[misc]
    others = [place for place in range(logits.shape[1]) if place != number]
    (logits[:, number] - logits[:, others].logsumexp(1)).sum().backward()
    assert x.grad is not None
    values = (x.grad.mean(0) * change).numpy()
    return np.array([values[part.index].sum() for part in grid])


def train(output: Path, shuffle: bool) -> Path:
    folder = output / ("shuffled" if shuffle else "trained")
    if not folder.exists():
        records = simulate(SimulatorConfig(patients=640, seed=77, **SETTINGS))  # type: ignore[arg-type]
        names = [CLASSES[place % len(CLASSES)] for place in range(len(records))]
        if shuffle:
            names = np.random.default_rng(0).permutation(names).tolist()
        signals = np.stack([record.signal for record in records])
        asked = {"labels": names, "fs": 250, "seeds": 1, "settings": {"bootstrap": 0, "min_count": 0}}
        print(anyjepa.evaluate("ecg-sim-xs", signals, **asked, save_classifier=folder))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=8, help="new patients of each class")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    options.output.mkdir(parents=True, exist_ok=True)
    model, control = (anyjepa.load(train(options.output, shuffle)) for shuffle in (False, True))
    assert model.loaded.config.classifier is not None
    classes, made = model.loaded.config.classifier.classes, model.preprocessing
    config = SimulatorConfig(patients=options.records * len(CLASSES), seed=4242, **SETTINGS)  # type: ignore[arg-type]
    scores: dict[tuple[str, str], list[list[float]]] = {}
    for patient in range(config.patients):
        name = CLASSES[patient % len(CLASSES)]
        recording, beats = next(simulate_patient(config, patient))
        record, number = made.prepare(recording), classes.index(name)
        sure = model.predict_classes(recording.signal, fs=recording.fs).probabilities[0, number] >= SURE
        if name == "NORM" or not sure:
            continue
        grid = Grid.of(record.shape, place_width(made.size, model.encoder.config.patch, None))
        middle = np.median(record, axis=1)
        methods = {
            "median": occlusion(model, OccludedSamples(record, grid, middle), number),
            "mean": occlusion(model, OccludedSamples(record, grid, np.zeros_like(middle)), number),
            "shuffled samples": occlusion(model, Shuffled(record, grid, middle), number),
            "integrated gradients": gradients(model, record, middle, grid, number),
            "median, shuffled labels": occlusion(control, OccludedSamples(record, grid, middle), number),
        }
        truth = planted(recording, beats, name, grid.edges[0] / made.fs)
        for method, effects in methods.items():
            single, together, places = grid.by_channel(effects), grid.together(effects), truth.any(0)
            areas = [auroc(t.reshape(-1, 1).astype(float), e.reshape(-1, 1))[0]
                     for t, e in ((truth, single), (places, together)) if 0 < t.sum() < t.size]  # fmt: skip
            if len(areas) == 2:
                means = [together[places].mean(), together[~places].mean()]
                scores.setdefault((name, method), []).append(
                    [single[truth].mean(), single[~truth].mean(), *means, *areas]
                )
        print(name, patient, flush=True)
    (options.output / "scores.json").write_text(
        json.dumps({" | ".join(k): v for k, v in scores.items()}, default=float)
    )
    print("| class | method | records | one lead: inside | outside | AUROC | all leads: inside | outside | AUROC |")
    for (name, method), rows in scores.items():
        a, b, c, d, e, f = np.mean(rows, 0)
        print(f"| {name} | {method} | {len(rows)} | {a:+.3f} | {b:+.3f} | {e:.2f} | {c:+.3f} | {d:+.3f} | {f:.2f} |")
    for method in dict.fromkeys(method for _, method in scores):
        areas = np.mean([np.mean(rows, 0)[4:] for (_, m), rows in scores.items() if m == method], 0)
        print(f"| mean over classes | {method} | AUROC {areas[0]:.3f} and {areas[1]:.3f} |")


if __name__ == "__main__":
    main()
