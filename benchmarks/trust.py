"""Coverage of prediction sets and AUROC of typicality, on clean test records and on planted shifts.

    python benchmarks/trust.py ecg --real LUDB --seeds 5 --output runs/trust
    python benchmarks/trust.py images --model RUN --seeds 5 --output runs/trust [--real CIFAR10.npz]

Each seed simulates new patients or images, trains a linear probe (`anyjepa evaluate --save-classifier`) on half of
them, calibrates on a quarter and tests on a quarter, once as they are and once with each shift (`anyjepa predict
--coverage 0.9`). ECGs have five exclusive classes; the classes of images are not exclusive. --real: another data set,
LUDB as a folder or CIFAR-10 as an .npz file with `x_test`. Prints a table in Markdown, and for seed 0 the AUROC of
other scores of unusual records, JEPA-SCORE among them.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageFilter

import anyjepa
from anyjepa.cli import app
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig
from anyjepa.data.ecg.simulated.simulator import simulate as simulate_ecgs
from anyjepa.data.images.simulator import ImageSimulatorConfig
from anyjepa.data.images.simulator import simulate as simulate_images
from anyjepa.data.modalities import evaluation_data
from anyjepa.evaluation.metrics import auroc
from anyjepa.evaluation.novelty import distances, fit_whitening
from anyjepa.torch_defaults import torch_defaults

COVERAGE, CLEAN, TRAIN = 0.9, "none", "train"
ECG_CLASSES = ("NORM", "AFIB", "LBBB", "LVH", "AVB1")
FS = 250
Shift = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def swapped(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Electrodes of the right and left arm exchanged: x (N, 12, T)."""
    at = {name: place for place, name in enumerate(LEADS)}
    y = x.copy()
    y[:, at["I"]] = -x[:, at["I"]]
    for a, b in (("II", "III"), ("aVR", "aVL")):
        y[:, [at[a], at[b]]] = x[:, [at[b], at[a]]]
    return y


def reversed_chest(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Electrodes V1 to V6 in the reverse order."""
    return np.concatenate([x[:, :6], x[:, :5:-1]], 1)


ECG_SHIFTS: dict[str, Shift] = {
    CLEAN: lambda x, rng: x,
    "gain 2 instead of 1": lambda x, rng: 2 * x,
    "gain 0.5 instead of 1": lambda x, rng: x / 2,
    "chest leads with gains of 0.5 to 2": lambda x, rng: (
        x * np.where(np.arange(12)[:, None] < 6, 1, 2.0 ** rng.uniform(-1, 1, (len(x), 12, 1))).astype(np.float32)
    ),
    "arms swapped": swapped,
    "V1 to V6 reversed": reversed_chest,
    "noise of 0.2 mV": lambda x, rng: x + rng.normal(0, 0.2, x.shape).astype(np.float32),
}


def blurred(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1.5))) for image in x])


IMAGE_SHIFTS: dict[str, Shift] = {
    CLEAN: lambda x, rng: x,
    "noise, deviation 25 of 255": lambda x, rng: (x + rng.normal(0, 25, x.shape)).clip(0, 255).astype(np.uint8),
    "blur, radius 1.5 pixels": blurred,
    "contrast halved": lambda x, rng: (x // 2 + 64).astype(np.uint8),
    "colours inverted": lambda x, rng: 255 - x,
    "half of the image black": lambda x, rng: np.where(np.arange(x.shape[2])[:, None] < x.shape[2] // 2, 0, x),
}


def run(*command: object) -> None:
    """A command of anyjepa, in this process, without its output."""
    with warnings.catch_warnings(action="ignore"), contextlib.redirect_stdout(io.StringIO()):
        app([*map(str, command)], standalone_mode=False)


def write_ecgs(folder: Path, x: np.ndarray, ids: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "records.npz", signals=x, fs=FS, leads=LEADS, unit="mV", ids=ids)
    return folder


def write_images(folder: Path, x: np.ndarray, ids: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for image, name in zip(x, ids, strict=True):
        Image.fromarray(image).save(folder / name)
    return folder


def ecgs(seed: int) -> tuple[np.ndarray, list[str], pd.DataFrame]:
    """Records (N, 12, T), ids, and classes: one column of names."""
    config = SimulatorConfig(patients=780, classes=ECG_CLASSES, seed=1000 + seed, fs=FS)  # type: ignore[arg-type]
    records = simulate_ecgs(config)
    names = [ECG_CLASSES[place % len(ECG_CLASSES)] for place in range(len(records))]
    return np.stack([r.signal for r in records]), [r.id for r in records], pd.DataFrame({"class": names})


def images(seed: int) -> tuple[np.ndarray, list[str], pd.DataFrame]:
    """Images (N, H, W, 3), ids, and classes: a column of 0 and 1 each."""
    made = simulate_images(ImageSimulatorConfig(train=2000, test=1, seed=1000 + seed))
    labels = made.labels["class"]
    names = np.array(labels.classes)[labels.numbers]
    columns = {word: [int(word in name) for name in names] for word in ("striped", "disk", "square", "triangle")}
    return np.asarray(made.images), [f"{place:05d}.png" for place in range(len(names))], pd.DataFrame(columns)


def covered(table: pd.DataFrame, truth: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Whether each true answer is in its set, and the number of answers in each set."""
    if "set" in table:
        sets = [entry.split(" | ") if entry else [] for entry in table["set"]]
        of = truth["class"]
        return np.array([name in s for name, s in zip(of, sets, strict=True)]), np.array([len(s) for s in sets])
    answers = np.stack([table[f"{name}.answer"] for name in truth])
    right = np.where(truth.to_numpy().T == 1, "yes", "no")
    return ((answers == right) | (answers == "unsure")).ravel(), np.where(answers == "unsure", 2, 1).ravel()


def measure(kind: str, seed: int, model: str, real: Path | None, output: Path, scored: int) -> list[dict[str, object]]:
    write, data, shifts = (write_ecgs, ecgs, ECG_SHIFTS) if kind == "ecg" else (write_images, images, IMAGE_SHIFTS)
    x, ids, truth = data(seed)
    rng, folder = np.random.default_rng(seed), output / f"{kind}-{seed}"
    classes = truth.astype(str).agg("".join, axis=1)
    rank = np.empty(len(classes))
    for rows in classes.groupby(classes).indices.values():
        rank[rows] = rng.permutation(len(rows)) / len(rows)
    part = np.where(rank < 0.5, "train", np.where(rank < 0.75, "validation", "test"))
    labels = truth.assign(id=ids, split=part)
    write(folder / "all", x, ids)
    labels.to_csv(folder / "labels.csv", index=False)
    asked = ("--id", "id", "--target", ",".join(truth), "--split", "split", "--split-by", "record", "--seeds", 1)
    fast = ("--set", "evaluation.bootstrap=0", "--set", "evaluation.min_count=0")
    kept = folder / "classifier"
    run("evaluate", model, "--data", folder / "all", "--labels", folder / "labels.csv", *asked, *fast,
        "--save-classifier", kept)  # fmt: skip
    test = np.flatnonzero(part == "test")
    parts = {name: write(folder / f"shift-{place}", shift(x[test], rng), [ids[i] for i in test])
             for place, (name, shift) in enumerate(shifts.items())}  # fmt: skip
    if real is not None and kind == "ecg":
        parts["LUDB"] = real
    elif real is not None:
        other = np.load(real)["x_test"][:500]
        parts["CIFAR-10"] = write_images(folder / "cifar", other, [f"{i}.png" for i in range(len(other))])
    rows, clean = [], np.empty(0)
    for name, place in parts.items():
        unit = ("--unit", "uV") if name == "LUDB" else ()
        run("predict", kept, place, "-o", folder / "out.parquet", "--coverage", COVERAGE, *unit)
        table = pd.read_parquet(folder / "out.parquet")
        typical = table["typicality"].to_numpy()
        clean = typical if name == CLEAN else clean
        row: dict[str, object] = {"shift": name, "seed": seed, "alarms": np.mean(typical <= 0.05)}
        row["auroc"] = area(-clean, -typical)
        if name in shifts:
            place_of = {name: place for place, name in enumerate(ids)}
            inside, size = covered(table, truth.iloc[[place_of[name] for name in table["id"]]])
            row |= {"covered": inside.mean(), "answers": len(inside), "size": size.mean()}
        rows.append(row)
        print(row, file=sys.stderr)
    if seed == 0:
        compare(model, folder, parts, x[part == "train"], write, scored)
    return rows


def area(clean: np.ndarray, shifted: np.ndarray) -> float:
    """AUROC of a score that should be higher for shifted records."""
    truth, scores = np.repeat([0.0, 1.0], [len(clean), len(shifted)]), np.concatenate([clean, shifted])
    return float(auroc(truth[:, None], scores[:, None])[0])


def compare(
    model: str, folder: Path, parts: dict[str, Path], train: np.ndarray, write: Callable[..., Path], scored: int
) -> None:
    """Print the AUROC of other scores: distances of embeddings, and JEPA-SCORE of `scored` records per part."""
    encoder = anyjepa.load(model, device="cpu")
    parts = {TRAIN: write(folder / "train", train, [f"{i:05d}.png" for i in range(len(train))]), **parts}
    vectors, densities = {}, {}
    for name, place in parts.items():
        options = {"unit": "uV"} if name == "LUDB" else {}
        samples = evaluation_data(encoder.preprocessing, [place], None, "raise", options)
        vectors[name] = encoder.embed_samples(samples)
        begin, inputs = time.process_time(), np.stack([samples[i] for i in range(min(scored, len(samples)))])
        densities[name] = jepa_score(encoder, inputs)
        took = (time.process_time() - begin) / len(inputs)
        print(f"{name}: JEPA-SCORE {densities[name].mean():.1f}, {took:.2f} s of processor per record", file=sys.stderr)
    bank, usual = vectors[TRAIN], np.median(densities[TRAIN])
    fitted, mean, std = fit_whitening(bank), bank.mean(0), bank.std(0) + 1e-9
    joined = {name: np.column_stack([z[:scored], densities[name]]) for name, z in vectors.items()}
    fitted_with = fit_whitening(joined[TRAIN])

    def nearest(z: np.ndarray, neighbours: int, cosine: bool) -> np.ndarray:
        pair = [(v.astype(float) - mean) / std for v in (z, bank)]
        if cosine:
            pair = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in pair]
        return np.array([np.sort(((pair[1] - row) ** 2).sum(1))[neighbours - 1] for row in pair[0]])

    methods: dict[str, Callable[[str], np.ndarray]] = {
        "Mahalanobis": lambda name: distances(vectors[name], *fitted),
        "nearest": lambda name: nearest(vectors[name], 1, False),
        "5th nearest": lambda name: nearest(vectors[name], 5, False),
        "10th nearest, cosine": lambda name: nearest(vectors[name], 10, True),
        "JEPA-SCORE, low": lambda name: -densities[name],
        "JEPA-SCORE, low or high": lambda name: np.abs(densities[name] - usual),
        "Mahalanobis with JEPA-SCORE": lambda name: distances(joined[name], *fitted_with),
    }
    print("\n| shift | " + " | ".join(methods) + " |\n|---" * 1 + "|---" * len(methods) + "|")
    scores = {name: {way: of(name) for way, of in methods.items()} for name in parts}
    for name in [name for name in parts if name not in (CLEAN, TRAIN)]:
        print(f"| {name} | " + " | ".join(f"{area(scores[CLEAN][w], scores[name][w]):.3f}" for w in methods) + " |")


@torch_defaults()
def jepa_score(model: anyjepa.Model, inputs: np.ndarray, batch: int = 8) -> np.ndarray:
    """Sum of the log singular values of the Jacobian of each embedding with respect to its input (N, C, *S): (N,).

    Balestriero et al. 2025, who take it for the log density of the input; singular values below 1e-6 count as 1e-6.
    Exact: one backward pass per dimension of the embedding.
    """
    encoder, scores = model.encoder.eval().requires_grad_(False), []
    for x in torch.from_numpy(inputs).split(batch):
        x.requires_grad_()
        z = encoder.features(x)[1].mean(1)  # (B, D)
        rows = [torch.autograd.grad(column.sum(), x, retain_graph=True)[0].flatten(1) for column in z.T]
        jacobian = torch.stack(rows, 1).double()  # (B, D, C * S)
        squares = torch.linalg.eigvalsh(jacobian @ jacobian.mT)  # of the singular values
        scores.append(squares.clamp(min=1e-12).log().sum(1) / 2)
    return torch.cat(scores).numpy()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["ecg", "images"])
    parser.add_argument("--model", default="ecg-sim-xs")
    parser.add_argument("--real", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--scored", type=int, default=400, help="records per part with a JEPA-SCORE, which is slow")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = [
        row
        for seed in range(options.seeds)
        for row in measure(options.kind, seed, options.model, options.real, options.output, options.scored)
    ]
    frame = pd.DataFrame(rows)
    print("\n| shift | true answers in the set | answers per set | typicality of at most 0.05 | AUROC |")
    print("|---|---|---|---|---|")
    for name, of in frame.groupby("shift", sort=False):
        if not np.isnan(of["covered"].to_numpy()).any():
            p, n = np.average(of["covered"], weights=of["answers"]), of["answers"].sum()
            shown = f"{p:.1%} ± {1.96 * np.sqrt(p * (1 - p) / n):.1%} | {of['size'].mean():.2f}"
        else:
            shown = "- | -"
        print(f"| {name} | {shown} | {of['alarms'].mean():.1%} | {of['auroc'].mean():.3f} |")


if __name__ == "__main__":
    main()
