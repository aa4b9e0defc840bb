"""Open HDF5 files safely: check first that they do not refer to other files, crash, hang or fill the memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from anyjepa.data.files import regular_size
from anyjepa.data.mounts import inside
from anyjepa.errors import InputError, reason
from anyjepa.limits import COLUMNS, EXPANSION, HDF5_SECONDS, MEMORY, SMALL, check_size

_PROBE = Path(__file__).with_name("hdf5_probe.py")


@contextmanager
def open_hdf5(path: Path, part: str = "") -> Iterator[Any]:
    """Open a file with h5py after a separate process has examined its structure, once per process and file.

    part: name of the part that is read, used in messages.

    Raises InputError if it is not a regular HDF5 file, or has links (soft, external), values in other files (external
    storage, virtual data sets), filters that need a plugin, more than 32 nested groups, a group that contains itself,
    or damage that makes libhdf5 fail, crash or hang. Errors of h5py while the file is open also become InputError.
    """
    import h5py

    examine(path)
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (InputError, ImportError):
        raise
    except Exception as error:  # h5py and what reads from its files each raise their own
        raise InputError(f"{path}: {part}{' ' * bool(part)}cannot be read ({reason(error)})") from error


def examine(path: Path) -> Mapping[str, int]:
    """Memory in bytes that each data set takes, by name without a leading slash. Raises InputError like `open_hdf5`."""
    if inside(path) is not None:
        raise InputError(f"{path}: HDF5 files are not read inside archives or from other machines; copy it to a folder")
    size, status = regular_size(path), path.stat()
    return _examined(path, size, (status.st_dev, status.st_ino, status.st_mtime_ns))


def check_memory(path: Path, key: str) -> None:
    """Raise InputError if a data set, or everything in a group, needs more memory than the limits allow."""
    needed = sum(size for name, size in examine(path).items() if f"{name}/".startswith(f"{key}/" if key else ""))
    check_size(needed, path.stat().st_size, f"{path}: {key}" if key else str(path))


@lru_cache(maxsize=1024)
def _examined(path: Path, size: int, version: tuple[int, ...]) -> Mapping[str, int]:
    seconds = HDF5_SECONDS.value + size / 50e6
    most = max(size, min(MEMORY.value, max(SMALL, size * EXPANSION.value)))  # what check_size allows
    command = [sys.executable, "-P", _PROBE, path, str(COLUMNS.value), str(most)]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=environment)
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{path}: HDF5 did not finish reading the structure of the file within {seconds:.0f} s, so it is probably "
            f"damaged; to wait longer, set {HDF5_SECONDS.variable}={2 * HDF5_SECONDS.value}"
        ) from None
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
        reason = f"signal {-done.returncode}" if done.returncode < 0 else text
        raise InputError(f"{path}: HDF5 crashed while reading the structure of the file ({reason}); it is damaged")
    result = json.loads(done.stdout)
    if "problem" in result:
        raise InputError(f"{path}: {result['problem']}")
    return result["sizes"]
