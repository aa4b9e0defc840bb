"""Does a run that is killed again and again equal one that never stopped?

Trains one recipe twice at the same time. One run is left alone; the other gets SIGKILL or SIGTERM, by chance, every few
minutes, and is resumed with the same command. Then every checkpoint and every row of metrics.csv that both have must be
equal to the last bit, except the rate of samples, and the memory of the run that was left alone must not have grown.

    python benchmarks/interruption.py --minutes 120 --output FOLDER
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from anyjepa.training.checkpoints import list_checkpoints, newest_checkpoint
from anyjepa.training.logs import read_metrics

EVERY = 200  # steps between checkpoints; all are kept


def command(recipe: str, folder: Path) -> list[str]:
    settings = ("training.steps=1000000", f"training.checkpoint_every={EVERY}", "training.keep_checkpoints=100000")
    more = [word for setting in (*settings, "training.workers=1") for word in ("--set", setting)]
    resume = ["--resume"] if (folder / "recipe.yaml").exists() else []
    return [sys.executable, "-m", "anyjepa", "pretrain", recipe, "-o", str(folder), *more, *resume]


def start(recipe: str, folder: Path) -> subprocess.Popen[bytes]:
    with open(folder.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(command(recipe, folder), stdout=log, stderr=log)


def memory_mb(process: subprocess.Popen[bytes]) -> float:
    """Resident memory of a process now (Linux)."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def interrupted_for(minutes: float, recipe: str, whole: Path, broken: Path, chance: random.Random) -> dict[str, object]:
    end = time.time() + 60 * minutes
    left_alone = start(recipe, whole)
    stops: list[dict[str, object]] = []
    memory: list[float] = []
    while time.time() < end:
        process, until = start(recipe, broken), min(end, time.time() + chance.uniform(60, 300))
        while time.time() < until:
            time.sleep(10)
            assert process.poll() is None, f"ended by itself with {process.returncode}; see {broken}.log"
            assert left_alone.poll() is None, f"ended by itself with {left_alone.returncode}; see {whole}.log"
            memory.append(memory_mb(left_alone))
        how = chance.choice([signal.SIGKILL, signal.SIGTERM])
        process.send_signal(how)
        code = process.wait(timeout=300)
        expected = -9 if how is signal.SIGKILL else 143
        newest = newest_checkpoint(broken / "checkpoints")
        stops.append({"signal": how.name, "exit": code, "newest": newest.stem if newest else None})
        print(time.strftime("%H:%M:%S"), stops[-1], f"{memory[-1]:.0f} MB", flush=True)
        assert code == expected or (newest is None and code == 128 + how), stops[-1]
    left_alone.send_signal(signal.SIGTERM)
    assert left_alone.wait(timeout=300) == 143
    third = len(memory) // 3
    return {
        "stops": stops,
        "memory_mb": {"first third": max(memory[:third]), "last third": max(memory[-third:])},
    }


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return isinstance(b, (list, tuple)) and len(a) == len(b) and all(map(same, a, b))
    return a == b


def compared(whole: Path, broken: Path) -> dict[str, object]:
    folders = [{p.name: p for p in list_checkpoints(run / "checkpoints")} for run in (whole, broken)]
    common = sorted(folders[0].keys() & folders[1].keys())
    unequal = []
    for name in common:
        a, b = (torch.load(folder[name], weights_only=True) for folder in folders)
        if not all(same(a[key], b[key]) for key in ("state_dict", "optimizer_states", "global_step")):
            unequal.append(name)
    rows = [
        {
            row.pop("step"): {k: v for k, v in row.items() if k != "samples_per_s"}
            for row in read_metrics(run / "metrics.csv")
        }
        for run in (whole, broken)
    ]
    steps = sorted(rows[0].keys() & rows[1].keys())
    return {
        "common checkpoints": len(common),
        "last": common[-1] if common else None,
        "unequal checkpoints": unequal,
        "common rows": len(steps),
        "unequal rows": [step for step in steps if rows[0][step] != rows[1][step]],
        "rows of one run only": sorted(s for s in rows[0].keys() ^ rows[1].keys() if s <= min(map(max, rows))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--recipe", default="ecg-jepa-demo")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and the signals")
    parser.add_argument("--output", type=Path, required=True)
    asked = parser.parse_args()
    whole, broken = asked.output / "whole", asked.output / "broken"
    found = interrupted_for(asked.minutes, asked.recipe, whole, broken, random.Random(asked.seed))
    found |= compared(whole, broken)
    (asked.output / "found.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({name: value for name, value in found.items() if name != "stops"}, indent=2))


if __name__ == "__main__":
    main()
