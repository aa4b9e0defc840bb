"""Time and memory of reading a large screen that stays in its file.

    python benchmarks/large_screen.py [--cells 1000000] [--genes 2000] [--counts 200] [--folder FOLDER]

Writes an .h5ad file of random counts by parts (8 bytes a count above zero), then reads it: every value is checked and
counted for quality control, and 256 random cells are taken. Prints one JSON line: processor seconds, and the largest
memory of the process in GB, its libraries included.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np

from anyjepa.data.cells.files import CellFileConfig, read_h5ad
from anyjepa.data.cells.qc import QualityConfig
from anyjepa.runs.folder import environment

PART = 50_000  # cells that are written at a time
CONDITIONS = ("control", "A", "B", "C")


def write(path: Path, cells: int, genes: int, counts: int) -> None:
    rng = np.random.default_rng(0)
    text = h5py.string_dtype()
    with h5py.File(path, "w") as file:
        file.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (cells, genes)})
        x["indptr"] = np.arange(cells + 1, dtype=np.int64) * counts
        data = x.create_dataset("data", (cells * counts,), np.float32, chunks=(2**18,))
        indices = x.create_dataset("indices", (cells * counts,), np.int32, chunks=(2**18,))
        for first in range(0, cells, PART):
            rows = min(PART, cells - first)
            place = slice(first * counts, (first + rows) * counts)
            data[place] = rng.integers(1, 5, rows * counts).astype(np.float32)
            chosen = np.sort(rng.random((rows, genes), np.float32).argpartition(counts, 1)[:, :counts], 1)
            indices[place] = chosen.ravel()
        for name, index in (("obs", [f"c{i}" for i in range(cells)]), ("var", [f"g{i}" for i in range(genes)])):
            table = file.create_group(name)
            columns = ["perturbation"] if name == "obs" else []
            table.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"})
            table.attrs["column-order"] = np.array(columns, dtype=text)
            table.create_dataset("_index", data=index, dtype=text)
            table["_index"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        labels = file.create_group("obs/perturbation")
        labels.attrs.update({"encoding-type": "categorical", "encoding-version": "0.2.0", "ordered": False})
        labels["codes"] = rng.integers(0, len(CONDITIONS), cells).astype(np.int8)
        labels.create_dataset("categories", data=list(CONDITIONS), dtype=text)
        labels["categories"].attrs.update({"encoding-type": "string-array", "encoding-version": "0.2.0"})
        labels["codes"].attrs.update({"encoding-type": "array", "encoding-version": "0.2.0"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--counts", type=int, default=200, help="genes of a cell with counts")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    args = parser.parse_args()
    path = args.folder / f"screen-{args.cells}-{args.genes}-{args.counts}.h5ad"
    if not path.exists():
        part = path.with_suffix(".part")
        write(part, args.cells, args.genes, args.counts)
        part.rename(path)
        print(f"{path} is written; run again to read it with the memory of a fresh process")
        return
    begin = time.process_time()
    screen = read_h5ad(path, CellFileConfig(quality=QualityConfig(min_genes=0), memory="backed"))
    read = time.process_time()
    screen.rows(np.random.default_rng(1).integers(0, len(screen), 256))
    found = {
        "cells": len(screen),
        "file_gb": round(path.stat().st_size / 1e9, 2),
        "read_s": round(read - begin, 2),
        "rows_s": round(time.process_time() - read, 2),
        "memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
    }
    print(json.dumps(found | {"machine": environment()}))


if __name__ == "__main__":
    main()
