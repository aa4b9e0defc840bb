"""Masked prediction on real series: six problems of the UCR and UEA archives, each pretrained on its own training part.

    python benchmarks/series.py --data TIMESERIES [--problems GunPoint ...] [--steps 600] [--seeds 3]
        [--set KEY=VALUE ...] [--output runs/series]

TIMESERIES holds a folder a problem with its X_TRAIN.ts and X_TEST.ts. The network of `series-jepa-demo` with tokens of
the problem's own length, pretrained on the official training part without labels; then a linear probe on mean teacher
tokens, trained on the same part (its strength chosen on a quarter of it), tested once on the official test part, beside
random weights, the network trained on the labels alone, raw values and statistics of each channel. Prints a Markdown
table of test accuracy, mean over seeds (smallest to largest), and a JSON line. A run that is there already is taken as
it is.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from kept import kept_run

from anyjepa.data.modalities import evaluation_data
from anyjepa.evaluation.finetune import Finetune
from anyjepa.evaluation.fit_config import FitConfig
from anyjepa.evaluation.protocol import Candidate, EvaluationConfig, evaluate
from anyjepa.evaluation.result import Result
from anyjepa.evaluation.splits import Fixed
from anyjepa.evaluation.windows import Windows
from anyjepa.runs.folder import Run, environment
from anyjepa.runs.model import load

PROBLEMS = {  # channels, samples of an input, samples of a token
    "ArrowHead": (1, 248, 8),
    "BasicMotions": (6, 100, 5),
    "GunPoint": (1, 150, 5),
    "ItalyPowerDemand": (1, 24, 1),
    "JapaneseVowels": (12, 7, 1),  # as long as the shortest series
    "OSULeaf": (1, 424, 8),
}
SCRATCH = FitConfig(steps=100, lr=1e-3, final_lr=1e-5, warmup=10, validate_every=10)


def trained(problem: str, seed: int, steps: int, edits: list[str], data: Path, folder: Path) -> Run:
    channels, length, patch = PROBLEMS[problem]
    sizes = [f"data.channels={channels}", f"data.length={length}", f"objective.encoder.patch=[{patch}]"]
    spans = [f"objective.masks.min_span={min(3, length // patch // 5)}"]
    lengths = [f"training.{key}" for key in (f"steps={steps}", f"optimiser.warmup={steps // 10}", f"seed={seed}")]
    return kept_run("series-jepa-demo", data, folder, [*sizes, *spans, *lengths, *edits])


def evaluated(runs: list[Run], data: Path) -> Result:
    """One repeat a seed: its own encoder, random weights and validation part."""
    models = [load(run.model) for run in runs]
    dataset = evaluation_data(models[0].preprocessing, [data], None, "raise", {})
    full = models[0].preprocessing.size[0]
    config = EvaluationConfig(
        split=Fixed(validation=0.25),
        seeds=len(runs),
        min_count=0,
        windows=Windows(length=full if dataset.longest > full else None),
        from_scratch=True,
        supervised=Finetune(fit=SCRATCH),
        bootstrap=0,
    )
    of = [Candidate(model.encoder, "teacher") for model in models]
    return evaluate(
        {"pretrained": lambda split: of[split.seed]}, dataset, dataset.tables["class"], config, data=data.name
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--problems", nargs="+", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", action="append", default=[], dest="edits")
    parser.add_argument("--output", type=Path, default=Path("runs/series"))
    args = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {}
    for problem in args.problems:
        folders = [args.output / f"{problem}-{args.steps}-{seed}" for seed in range(args.seeds)]
        runs = [
            trained(problem, seed, args.steps, args.edits, args.data / problem, folder)
            for seed, folder in enumerate(folders)
        ]
        result = evaluated(runs, args.data / problem)
        found[problem] = {row.name: [one.metrics["accuracy"] or 0.0 for one in row.repeats] for row in result.rows}
        if len(found) == 1:
            print(f"| problem | {' | '.join(found[problem])} |\n|---|{'---|' * len(found[problem])}")
        cells = [f"{statistics.mean(of):.3f} ({min(of):.3f} to {max(of):.3f})" for of in found[problem].values()]
        print(f"| {problem} | {' | '.join(cells)} |", flush=True)
    print(json.dumps({"accuracy": found, "machine": environment()}))


if __name__ == "__main__":
    main()
