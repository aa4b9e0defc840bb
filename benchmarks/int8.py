"""What `anyjepa export --int8` costs: accuracy and AUROC of a classifier on real records, size, and speed.

    python benchmarks/int8.py ecg --data LUDB --output runs/int8
    python benchmarks/int8.py images --data CIFAR10.npz --model RUN --output runs/int8
    python benchmarks/int8.py vit-s --output runs/int8

ecg: rhythms of LUDB by a linear probe on `ecg-sim-xs`, five folds, so that each record is tested once. images: classes
of CIFAR-10, an .npz file with `x_train`, `y_train`, `x_test` and `y_test`. Each classifier is exported twice, and
both graphs predict the same test records. Intervals are a bootstrap over test records with the same draws for both.
vit-s: size and speed of a ViT-S/16 for images of 224 pixels with random weights. Prints rows in Markdown. Times are
processor time on one thread, the median of 15 batches of 4.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import anyjepa
from anyjepa.data.ecg.leads import LEADS
from anyjepa.data.ecg.reading import iterate
from anyjepa.data.labels import LabelTable
from anyjepa.data.modalities import evaluation_data
from anyjepa.evaluation.metrics import auroc
from anyjepa.runs.export import export
from anyjepa.weights.importers import import_weights

FOLDS, DRAWS = 5, 2000


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options)


def both(model: Path | str, folder: Path, **options: Any) -> list[Path]:
    """The exported graph, and that with int8."""
    return [export(model, folder / f"{name}.onnx", int8=name == "int8", **options) for name in ("float32", "int8")]


def describe(name: str, paths: list[Path], record: np.ndarray) -> None:
    """Print a row: size, processor time per record, and the relative difference of embeddings."""
    sessions, batch, times = [session(path) for path in paths], np.stack([record] * 4), []
    for one in sessions:
        spent = []
        for _ in range(15):
            begin = time.process_time()
            one.run(["embedding"], {"input": batch})
            spent.append((time.process_time() - begin) / len(batch))
        times.append(1000 * np.median(spent))
    sizes = [path.stat().st_size / 1e6 for path in paths]
    a, b = (np.asarray(one.run(["embedding"], {"input": batch})[0]) for one in sessions)
    off = np.linalg.norm(a - b) / np.linalg.norm(a)
    print(f"| {name} | {sizes[0]:.2f} | {sizes[1]:.2f} | {times[0]:.2f} | {times[1]:.2f} | {off:.1%} |", flush=True)


def compare(
    model: str, raw: list[np.ndarray], labels: LabelTable, folds: np.ndarray, output: Path, **options: Any
) -> None:
    """Print accuracy and AUROC of both graphs. folds (F, N): train, validation or test."""
    name = Path(model).name
    probabilities = np.zeros((2, *labels.values.shape))
    fs = {"fs": options["fs"]} if "fs" in options else {}
    for number, split in enumerate(folds):
        kept, table = output / f"{name}-{number}", replace(labels, split=tuple(split))
        settings = options.get("settings")
        anyjepa.evaluate(model, raw, labels=table, ids=list(labels.ids), seeds=1, bootstrap=0, min_count=0,
                         settings=settings, save_classifier=kept, **fs)  # fmt: skip
        paths, test = both(kept, output, **fs), np.flatnonzero(split == "test")
        for place, one in enumerate(map(session, paths)):
            for rows in np.array_split(test, -(-len(test) // 32)):
                batch = np.stack([raw[row] for row in rows])
                probabilities[place, rows] = np.asarray(one.run(["probabilities"], {"input": batch})[0])
        if number == 0:
            describe(name, paths, raw[test[0]])
    tested = np.flatnonzero((folds == "test").any(0))
    truth, scores = labels.values[tested], probabilities[:, tested]

    def measured(rows: np.ndarray) -> np.ndarray:
        """(2, 2): accuracy and macro AUROC of both graphs."""
        right = [np.mean(one[rows].argmax(1) == truth[rows].argmax(1)) for one in scores]
        return np.array([right, [np.nanmean(auroc(truth[rows], one[rows])) for one in scores]])

    rng, everything = np.random.default_rng(0), measured(np.arange(len(tested)))
    draws = np.array([np.diff(measured(rng.integers(0, len(tested), len(tested))))[:, 0] for _ in range(DRAWS)])
    for place, metric in enumerate(("accuracy", "macro AUROC")):
        before, after = everything[place]
        low, high = np.nanpercentile(draws[:, place], [2.5, 97.5])
        change = f"{after - before:+.4f} [{low:+.4f}, {high:+.4f}]"
        print(f"| {name}, {len(tested)} records | {metric} | {before:.4f} | {after:.4f} | {change} |", flush=True)


def ecg(data: Path, output: Path) -> None:
    model = anyjepa.load("ecg-sim-xs", device="cpu")
    _, labels = evaluation_data(model.preprocessing, [data], None, "raise", {"unit": "uV"}).for_task("rhythm")
    labels, _ = labels.drop_rare(10)
    signals = {record.id: record.signal for record in iterate(data, unit="uV", leads=LEADS)}
    rng, fold = np.random.default_rng(0), np.empty(len(labels), int)
    for rows in map(np.flatnonzero, labels.values.T):
        fold[rows] = rng.permutation(len(rows)) % FOLDS
    parts = np.array(["test", "validation", "train", "train", "train"])
    folds = np.array([parts[(fold - number) % FOLDS] for number in range(FOLDS)])
    raw, settings = [signals[name] for name in labels.ids], {"linear": {"head": "dynamics"}}
    compare("ecg-sim-xs", raw, labels, folds, output, fs=500, settings=settings)


def images(data: Path, model: str, output: Path) -> None:
    with np.load(data) as arrays:
        pixels = np.concatenate([arrays["x_train"], arrays["x_test"]])
        names = [f"class {one}" for one in np.concatenate([arrays["y_train"], arrays["y_test"]])]
        train, test = len(arrays["x_train"]), len(arrays["x_test"])
    ids, parts = [str(n) for n in range(len(names))], {"train": train - 1000, "validation": 1000, "test": test}
    folds = np.array([[name for name, count in parts.items() for _ in range(count)]])
    compare(model, list(pixels), LabelTable.of_names(ids, names, ids), folds, output)


def vit_s(output: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536)
    ViTModel(config, add_pooling_layer=False).save_pretrained(output / "vit-s-random")
    model = import_weights(output / "vit-s-random", output / "vit-s")
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    describe("ViT-S/16", both(model, output), pixels)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=["ecg", "images", "vit-s"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(action="ignore"):
        if options.kind == "ecg":
            ecg(options.data, options.output)
        elif options.kind == "images":
            images(options.data, options.model, options.output)
        else:
            vit_s(options.output)


if __name__ == "__main__":
    main()
