"""How often each row of an image is context and target: the published collator's masks beside `exact` ones.

    python benchmarks/mask_bias.py [--samples 40000] [--seed 0]

Prints a Markdown table. "Drawn": the mean context of batches of one, which nothing cuts; "kept": of whole batches.
"""

from __future__ import annotations

import argparse

import numpy as np
from torch import Tensor

from anyjepa.masks.base import Coverage, coverage
from anyjepa.masks.blocks import BlocksConfig

SEED_SCALES = {"scale": (0.15, 0.25), "context_scale": (0.75, 0.95)}
CASES: tuple[tuple[str, BlocksConfig, tuple[int, int], int], ...] = (
    ("14 x 14, reference, batch 64", BlocksConfig(mode="reference"), (14, 14), 64),
    ("14 x 14, reference, batch 128", BlocksConfig(mode="reference"), (14, 14), 128),
    ("14 x 14, exact", BlocksConfig(), (14, 14), 128),
    ("8 x 8, reference, batch 256, min_keep 4", BlocksConfig(mode="reference", min_keep=4), (8, 8), 256),
    ("8 x 8, exact", BlocksConfig(), (8, 8), 256),
    ("8 x 8, exact, scales of ijepa-cifar10", BlocksConfig(**SEED_SCALES), (8, 8), 256),  # type: ignore[arg-type]
)


def measure(
    config: BlocksConfig, grid: tuple[int, int], batch: int, samples: int, rng: np.random.Generator
) -> Coverage:
    """Coverage over about so many samples, drawn in batches."""
    masks = [config.draw(grid, batch, rng)[0] for _ in range(max(1, samples // batch))]
    return coverage(masks, grid[0] * grid[1])


def by_row(share: Tensor, grid: tuple[int, int]) -> str:
    return " ".join(f"{value:.2f}".lstrip("0") for value in share.unflatten(0, grid).mean(1).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    print("| masks | context drawn | kept | any target | P(context) by row | P(in one target) by row |")
    print("|---|---|---|---|---|---|")
    for name, config, grid, batch in CASES:
        drawn = measure(config, grid, 1, args.samples // 20, rng).context.sum()
        used = measure(config, grid, batch, args.samples, rng)
        sums = f"{drawn:.1f} | {used.context.sum():.1f} | {used.hidden.sum():.1f}"
        print(f"| {name} | {sums} | {by_row(used.context, grid)} | {by_row(used.target, grid)} |")


if __name__ == "__main__":
    main()
