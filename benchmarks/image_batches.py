"""Milliseconds that a training batch of images takes to make, with each augmentation.

    python benchmarks/image_batches.py [--batch 256] [--side 32] [--rounds 30]

Images in memory, one processor; medians of processor time. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch

from anyjepa.data.images.augmentation import AugmentationConfig, CropConfig
from anyjepa.data.images.colours import RecolourConfig
from anyjepa.data.images.dataset import ImageDataset
from anyjepa.data.images.image_set import ImageSet
from anyjepa.data.images.preprocessing import ImagePreprocessing
from anyjepa.randomness import generator
from anyjepa.runs.folder import environment

FORMS = {
    "as they are": AugmentationConfig(),
    "flips": AugmentationConfig(flip=0.5),
    "crops and flips": AugmentationConfig(flip=0.5, crop=CropConfig()),
    "recolour": AugmentationConfig(recolour=RecolourConfig()),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args()
    torch.set_num_threads(1)
    shape = (4 * args.batch, args.side, args.side, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    images = ImageSet("random", tuple(map(str, range(len(pixels)))), pixels)
    preprocessing = ImagePreprocessing(side=args.side, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    sets = {name: ImageDataset.of(images, preprocessing, augmentation) for name, augmentation in FORMS.items()}
    times = {name: [] for name in sets}
    for step in range(args.rounds):
        rows = np.random.default_rng(step).integers(0, len(pixels), args.batch)
        for name, dataset in sets.items():
            rngs = [generator(0, name, step * args.batch + i) for i in range(args.batch)]
            begin = time.process_time()
            dataset.crops(rows, rngs)
            times[name].append(1e3 * (time.process_time() - begin))
    found = {name: round(statistics.median(values), 2) for name, values in times.items()}
    print(json.dumps({"ms": found, "machine": environment()}))


if __name__ == "__main__":
    main()
