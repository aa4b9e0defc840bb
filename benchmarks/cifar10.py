"""Pretrain on CIFAR-10; probe with all 50,000 training images, once on the test images, beside all controls.

    python benchmarks/cifar10.py --data CIFAR [--recipe ijepa-cifar10] [--epochs 5] [--seeds 3] [--set KEY=VALUE ...]
        [--protocols linear knn attentive supervised] [--curve] [--output runs/cifar10]
    python benchmarks/cifar10.py --data CIFAR --reference PATH/TO/ijepa [--epochs 5] [--protocols linear knn]

Warm-up is a tenth of the steps. A run that is there already is taken as it is, an interrupted one goes on. Linear and
nearest-neighbour probes read mean-pooled tokens; the linear probe's penalty is chosen on 5,000 training images held
out, then it is trained on all 50,000. The other protocols have the 45,000; supervised: the network trained on their
labels alone for as many epochs, batches of 256, no augmentation, the best epoch by validation. --curve: the linear
probe (10,000 training images) of every checkpoint, beside the minutes since the start. Prints accuracies and a JSON
line.

--reference trains the public I-JEPA code instead (its loop as shipped, one seed): the network of `ijepa-cifar10`, the
published scales, min_keep 4 (10 never ends on 8 x 8 tokens), half of the images mirrored, ImageNet's colour constants,
warm-up in a tenth. Its checkpoint is imported and probed as any other model.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from ijepa_code import train_public_code
from kept import kept_run

from anyjepa.data.dataset import Dataset
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.data.images.reading import read_images
from anyjepa.data.modalities import evaluation_data
from anyjepa.data.samples import SelectedSamples
from anyjepa.evaluation.features import mean_features
from anyjepa.evaluation.finetune import Finetune
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.probes import LinearProbe, linear_probe
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig, evaluate
from anyjepa.evaluation.splits import Fixed, Split, splits
from anyjepa.evaluation.windows import Windows
from anyjepa.nn.encoder import Encoder
from anyjepa.objectives.base import Weights
from anyjepa.progress import Lines, listening
from anyjepa.recipes.schema import load_recipe
from anyjepa.runs.folder import Run, environment
from anyjepa.runs.model import load
from anyjepa.runs.pretrain import build_objective
from anyjepa.training.checkpoints import list_checkpoints, step_of
from anyjepa.weights.importers import import_weights
from anyjepa.weights.meta_jepa import MEAN, STD

IMAGES = 50_000
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)


def trained(name: str, epochs: int, seed: int, edits: list[str], data: Path, folder: Path) -> Run:
    """The recipe's schedule in `epochs` epochs."""
    epoch = IMAGES // load_recipe(name, edits)[0].training.batch_size
    lengths = [f"steps={epochs * epoch}", f"optimiser.warmup={epochs * epoch // 10}", f"checkpoint_every={epoch}"]
    lengths += [f"keep_checkpoints={epochs}", f"monitor_every={epoch // 5}", f"seed={seed}"]
    return kept_run(name, data, folder, [*(f"training.{length}" for length in lengths), *edits], progress=True)


class Epochs:
    """The training images for the public code's loop: shuffled anew each epoch, standardised, half of them mirrored."""

    def __init__(self, collate: Callable[..., Any], pixels: np.ndarray, preprocessing: ImagePreprocessing, batch: int):
        self.collate, self.pixels, self.preprocessing, self.batch = collate, pixels, preprocessing, batch
        self.sampler, self.epoch = self, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.pixels) // self.batch

    def __iter__(self) -> Iterator[Any]:
        rng = np.random.default_rng(self.epoch)
        order = rng.permutation(len(self.pixels))[: len(self) * self.batch]
        for rows in order.reshape(len(self), self.batch):
            pixels, mirrored = self.pixels[rows], rng.random(self.batch) < 0.5
            pixels[mirrored] = pixels[mirrored, :, ::-1]
            yield self.collate([(image, 0) for image in torch.from_numpy(self.preprocessing.standardise(pixels))])


def trained_by(checkout: Path, epochs: int, data: Path, folder: Path) -> Path:
    """A model folder of what the public code made of the network of `ijepa-cifar10`."""
    if not (folder / "model").exists():
        scales = {"scale": [0.15, 0.2], "context_scale": [0.85, 1.0], "min_keep": 4, "mode": "reference"}
        recipe = load_recipe("ijepa-cifar10", [f"objective.masks.{key}={value}" for key, value in scales.items()])[0]
        images, preprocessing = read_images(data), ImagePreprocessing(side=32, mean=MEAN, std=STD)
        pixels = np.asarray(images.images)[np.array(images.split) == "train"]
        loader = partial(Epochs, pixels=pixels, preprocessing=preprocessing, batch=recipe.training.batch_size)
        checkpoint = train_public_code(
            checkout, recipe, loader, folder, epochs=epochs, warmup=epochs / 10, start_lr=0.0
        )
        import_weights(checkpoint, folder / "model", heads=recipe.objective.encoder.heads)
    return folder / "model"


def evaluated(models: list[Path], dataset: Dataset, protocol: str, epochs: int, cache: Path) -> dict[str, list[float]]:
    """Test accuracies of each row, one a seed."""
    own, student = cast(Weights, load(models[0]).loaded.weights), cast(Weights, "student")
    encoders = {
        weights: [Candidate(load(model, weights).encoder, weights) for model in models]
        for weights in dict.fromkeys((own, student))  # without a teacher the same
    }
    epoch = IMAGES * 9 // 10 // 256  # of the labelled images that are not for validation
    fit = FitConfig(
        steps=epochs * epoch,
        batch=256,
        lr=1e-3,
        final_lr=1e-5,
        warmup=epochs * epoch // 10,
        weight_decay=0.05,
        validate_every=epoch,
    )
    config = EvaluationConfig(
        protocol=protocol,  # type: ignore[arg-type]
        split=Fixed(validation=0.1),
        seeds=len(models),
        linear=LinearProbe(strengths=STRENGTHS, refit=True),
        supervised=Finetune(dropout=0, fit=fit),
        raw_dimensions=3072,
        bootstrap=0,
    )
    with listening(Lines(f"{protocol}: ")):
        result = evaluate(
            {name: lambda split, of=of: of[split.seed] for name, of in encoders.items()},
            dataset,
            dataset.tables["class"],
            config,
            cache=cache,
        )
    return {row.name: [repeat.metrics["accuracy"] or 0.0 for repeat in row.repeats] for row in result.rows}


def probed(encoder: Encoder, dataset: Dataset, labels: float = 0.2) -> float:
    """Test accuracy of a linear probe of fixed strength on mean tokens, with a share of the training labels."""
    table = dataset.tables["class"]
    (whole,) = splits(table, Fixed(validation=1 - labels), 0)
    rows, n = np.concatenate([whole.train, whole.test]), len(whole.train)
    samples, values = SelectedSamples(dataset, rows), table.values[rows]
    split = Split(np.arange(n), np.arange(0), np.arange(n, len(rows)), seed=0)
    x = mean_features(encoder, samples, Windows(batch=256))
    scores = linear_probe(x, values, split, True, LinearProbe(strengths=(1e-2,))).scores
    return float((scores.argmax(1) == values[split.test].argmax(1)).mean())


def curve(run: Run, dataset: Dataset) -> list[dict[str, float]]:
    """Of each checkpoint: minutes since the start, pauses included, and the model's accuracy, a fifth of the labels."""
    objective, start = build_objective(run.recipe), (run.folder / "environment.json").stat().st_mtime
    found = []
    for path in list_checkpoints(run.folder / "checkpoints"):
        state = torch.load(path, weights_only=True)["state_dict"]
        objective.load_state_dict({name.removeprefix("objective."): tensor for name, tensor in state.items()})
        accuracy = probed(next(iter(objective.encoders().values())), dataset)
        found.append({"step": step_of(path), "minutes": (path.stat().st_mtime - start) / 60, "accuracy": accuracy})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--recipe", default="ijepa-cifar10")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="edits")
    parser.add_argument("--protocols", nargs="*", default=["linear", "knn", "attentive"])
    parser.add_argument("--curve", action="store_true")
    parser.add_argument("--output", type=Path, default=Path("runs/cifar10"))
    args = parser.parse_args()
    runs = []
    if args.reference:
        models = [trained_by(args.reference, args.epochs, args.data, args.output / f"public-{args.epochs}-epochs")]
    else:
        for seed in range(args.seeds):
            folder = args.output / f"{args.recipe}-{args.epochs}-epochs-{seed}"
            runs.append(trained(args.recipe, args.epochs, seed, args.edits, args.data, folder))
        models = [run.model for run in runs]
    preprocessing = load(models[0]).preprocessing.model_copy(update={"centre": 1.0})
    dataset = evaluation_data(preprocessing, [args.data], None, "raise", {})
    found = {
        protocol: evaluated(models, dataset, protocol, args.epochs, args.output / "features")
        for protocol in args.protocols
    }
    for protocol, rows in found.items():
        for name, accuracies in rows.items():
            print(f"{protocol:10} {name:60} {' '.join(f'{100 * accuracy:.2f}' for accuracy in accuracies)}")
    curves = [curve(run, dataset) for run in runs] if args.curve else []
    print(json.dumps({"accuracy": found, "curves": curves, "machine": environment()}))


if __name__ == "__main__":
    main()
