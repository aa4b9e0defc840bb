"""Time of what an evaluation computes: encoding, linear probe, nearest neighbours, bootstrap intervals.

    python benchmarks/evaluation.py --data CIFAR [--model MODEL] [--images 6000] [--rounds 3]
    python benchmarks/evaluation.py --reference PATH/TO/ECG-JEPA [--rounds 3]

Images are those of a published set such as CIFAR-10 or Fashion-MNIST, every tenth by default; the encoder is that of
MODEL (a run or a model folder), else that of `ijepa-cifar10` with random weights. float32 and bf16 alternate. Prints
one JSON line: seconds, wall and processor time (best of the rounds), and the accuracy of the probe on features of both
precisions with the 95 % bootstrap interval of their difference.

--reference: instead, ten-second ECGs per second through the encoder of ECG-JEPA's ViT-S: ours in float32 and bf16, and
the public code's as it is, alternating, in batches of 16.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from public_steps import ecg_jepa_model

from anyjepa.data.images.dataset import ImageDataset
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.images.reading import read_images
from anyjepa.data.samples import ArraySamples, SelectedSamples, in_order
from anyjepa.evaluation.controls import raw_features
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.intervals import bootstrap, percentiles
from anyjepa.evaluation.metrics import Scored
from anyjepa.evaluation.nearest import most_similar, unit
from anyjepa.evaluation.probes import LinearProbe, linear_probe
from anyjepa.evaluation.splits import Split
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import environment
from anyjepa.runs.model import load
from anyjepa.training.precision import autocast


def timed(compute: Callable[[], object]) -> dict[str, float]:
    """Seconds by the clock and of the processor."""
    begin, used = time.perf_counter(), time.process_time()
    compute()
    return {"wall_s": time.perf_counter() - begin, "cpu_s": time.process_time() - used}


def best(times: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(min(one[name] for one in times), 3) for name in times[0]}


def neighbours(queries: int = 10_000, bank: int = 50_000, dim: int = 384) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    x, y = (unit(rng.normal(size=(rows, dim))) for rows in (queries, bank))
    return lambda: most_similar(x, y, 20)


def intervals(records: int = 2000, classes: int = 71, resamples: int = 1000) -> Callable[[], object]:
    """Intervals of all metrics, macro AUROC among them, of classes as rare as PTB-XL's statements."""
    rng = np.random.default_rng(0)
    values = (rng.random((records, classes)) < rng.uniform(0.005, 0.3, classes)).astype(float)
    scores = 1 / (1 + np.exp(-values - rng.normal(size=values.shape)))
    test = Scored(values, scores, np.arange(records), scores > 0.5)
    return lambda: bootstrap([test], resamples)


def images(data: Path, count: int, preprocessing: ImagePreprocessing) -> tuple[SelectedSamples, np.ndarray, np.ndarray]:
    """Every so many of CIFAR-10's images, their labels (N, C), and whether each is for testing (N,)."""
    dataset = ImageDataset.of(read_images(data), preprocessing)
    table = dataset.tables["class"]
    rows = np.arange(0, len(dataset), max(1, len(dataset) // count))
    return SelectedSamples(dataset, rows), table.values[rows], np.array(table.split)[rows] == "test"


def encodings(encoder: Encoder, samples: ArraySamples, rounds: int) -> tuple[dict, dict[str, np.ndarray]]:
    """Times and features of both precisions, alternating."""
    times, features = {"32": [], "bf16": []}, {}

    def encode(precision: str) -> None:
        with autocast(next(encoder.parameters()).device, precision):  # type: ignore[arg-type]
            features[precision] = mean_features(encoder, samples, Windows())

    for _ in range(rounds):
        for precision, of in times.items():
            of.append(timed(lambda precision=precision: encode(precision)))
    return {precision: best(of) for precision, of in times.items()}, features


def hits(x: np.ndarray, values: np.ndarray, split: Split) -> np.ndarray:
    """Whether a linear probe on features x (N, D) is right on each test image."""
    scores = linear_probe(x, values, split, True, LinearProbe()).scores
    return scores.argmax(1) == values[split.test].argmax(1)


def ecg_rates(checkout: Path, rounds: int) -> dict[str, float]:
    """Records per second of processor time, best of the rounds."""
    sys.path.insert(0, str(checkout))
    config, public = ecg_jepa_model(checkout, "S", torch.device("cpu"))
    recipe, x = load_recipe("ecg-jepa-s", [])[0], torch.randn(16, config.num_channels, config.channel_size)
    ours = recipe.objective.encoder.build(x.shape[1], x.shape[2:]).eval()
    encoder, used = public.encoder.eval(), defaultdict(list)
    compute: dict[str, Callable[[], object]] = {
        "32": lambda: ours.features(x),
        "bf16": lambda: ours.features(x),
        "public": lambda: encoder(x),
    }
    for _ in range(rounds + 1):
        for name, embed in compute.items():
            with torch.inference_mode(), autocast(x.device, "bf16" if name == "bf16" else "32"):
                used[name].append(timed(embed)["cpu_s"])
    return {name: round(len(x) / min(times[1:]), 1) for name, times in used.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if args.reference:
        print(json.dumps(ecg_rates(args.reference, args.rounds) | {"machine": environment()}))
        return
    if args.model:
        model = load(args.model)
        encoder, preprocessing = model.encoder, model.preprocessing
    else:
        torch.manual_seed(0)
        encoder = load_recipe("ijepa-cifar10", [])[0].objective.encoder.build(3, (32, 32))
        preprocessing = ImagePreprocessing(side=32, mean=(0.5,) * 3, std=(0.25,) * 3)
    samples, values, tested = images(args.data, args.images, preprocessing)
    found: dict = {"images": len(samples)}
    prepared: list[np.ndarray] = []
    found["prepare"] = timed(lambda: prepared.extend(in_order(samples, range(len(samples)))))
    found["raw_features"] = timed(lambda: raw_features(samples, 1000, samples[0].shape))
    found["encode"], features = encodings(encoder, ArraySamples(samples.ids, prepared), args.rounds)
    rest = np.flatnonzero(~tested)
    split = Split(rest[rest % 5 > 0], rest[rest % 5 == 0], np.flatnonzero(tested), seed=0)
    right = {precision: hits(x, values, split) for precision, x in features.items()}
    found["probe"] = timed(lambda: hits(features["bf16"], values, split))
    found["accuracy"] = {precision: float(hits.mean()) for precision, hits in right.items()}
    change = right["bf16"].astype(float) - right["32"]
    draws = np.random.default_rng(0).integers(len(change), size=(2000, len(change)))
    found["bf16_minus_32"] = percentiles(change[draws].mean(1))
    for name, compute in (("neighbours", neighbours()), ("bootstrap", intervals())):
        found[name] = best([timed(compute) for _ in range(args.rounds)])
    print(json.dumps(found | {"threads": torch.get_num_threads(), "machine": environment()}))


if __name__ == "__main__":
    main()
