"""Crops a second for training: from a store, from memory, and from the files each time.

    python benchmarks/data.py --data PATH [--data PATH ...] [--unit uV] [--crops 400] [--rounds 5] [--workers 0]

Alternately in one process, crops of 10 s at 500 Hz by the training's own loader in batches of 32 (from files: read and
prepared anew for each crop); prints one JSON line with medians, the size of the store a record, and what float16
instead of float32 would change.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from anyjepa.data.ecg.config import EcgDataConfig
from anyjepa.data.ecg.dataset import EcgDataset
from anyjepa.data.ecg.prepare.writing import prepare_store
from anyjepa.data.ecg.reading import find
from anyjepa.data.ecg.source import find_recordings, training_data, training_set
from anyjepa.data.ecg.stores.store import Store
from anyjepa.errors import DataWarning
from anyjepa.masks.spans import SpanConfig
from anyjepa.runs.folder import environment
from anyjepa.training.config import OptimiserConfig, TrainingConfig
from anyjepa.training.draws import Collate, DrawnCrops, DrawSampler

BATCH = 32


def loaded(dataset: EcgDataset, crops: int, workers: int) -> Iterable[object]:
    config = TrainingConfig(
        steps=crops // BATCH, batch_size=BATCH, order="replacement", optimiser=OptimiserConfig(warmup=0)
    )
    sampler = DrawSampler(config, len(dataset))
    collate: Any = Collate(SpanConfig(), (200,), sampler)  # PyTorch's type of it takes lists only
    return DataLoader(DrawnCrops(dataset, config.seed), batch_sampler=sampler, collate_fn=collate, num_workers=workers)


def read_anew(dataset: EcgDataset, paths: list[Path], unit: str | None, crops: int) -> Iterator[object]:
    """Each crop from its file."""
    entries = list(find(paths, unit=unit))
    rng = np.random.default_rng(0)
    for _ in range(crops):
        yield dataset.preprocessing.prepare(entries[int(rng.integers(len(entries)))].read()[0])[:, :5000]


def float16_error(store: Store) -> dict[str, float]:
    """Largest and root mean square of what rounding to float16 changes, microvolts."""
    largest, squares, count = 0.0, 0.0, 0
    for index in range(len(store)):
        signal = store.signal(index)
        error = (signal.astype(np.float16).astype(np.float32) - signal) * 1e3
        largest = max(largest, float(np.abs(error).max()))
        squares, count = squares + float((error**2).sum()), count + signal.size
    return {"float16_largest_uv": round(largest, 3), "float16_rms_uv": round((squares / count) ** 0.5, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, action="append", required=True)
    parser.add_argument("--unit")
    parser.add_argument("--crops", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("ignore", DataWarning)
    config = EcgDataConfig(unit=args.unit)
    memory = training_set(config, find_recordings(config, args.data, part="train"))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        store = prepare_store(args.data, Path(folder, "store"), unit=args.unit)
        row = {"records": len(store), "prepare_records_a_s": round(len(store) / (time.perf_counter() - begin), 1)}
        begin = time.perf_counter()
        store = Store(store.path)
        row["open_ms"] = round((time.perf_counter() - begin) * 1e3, 1)
        stored = training_data(EcgDataConfig(), [store.path])
        rates: dict[str, list[float]] = {"store": [], "memory": [], "files": []}
        for _ in range(args.rounds + 1):
            for name, crops in (
                ("store", loaded(stored, args.crops, args.workers)),
                ("memory", loaded(memory, args.crops, args.workers)),
                ("files", read_anew(memory, args.data, args.unit, args.crops)),
            ):
                begin = time.perf_counter()
                for _ in crops:
                    pass
                rates[name].append(args.crops // BATCH * BATCH / (time.perf_counter() - begin))
        row |= {f"{name}_crops_a_s": round(statistics.median(values[1:])) for name, values in rates.items()}
        size = sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
        row |= {"kb_a_record": round(size / len(store) / 1e3), **float16_error(store)}
    print(json.dumps(row | {"workers": args.workers, "machine": environment()}))


if __name__ == "__main__":
    main()
