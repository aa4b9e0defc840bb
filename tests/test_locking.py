from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anyjepa.errors import InputError
from anyjepa.locking import locked

HOLD = "import sys, pathlib; from anyjepa.locking import locked\n" + (
    "with locked(pathlib.Path(sys.argv[1]), 'busy'): print('held', flush=True); input()"
)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(InputError, match="busy"), locked(file, "busy"):
        pass
    holder.kill()  # a lock ends with its process, however that ends
    holder.communicate()
    with locked(file, "busy"):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_that_is_not_a_file_is_refused_at_once(tmp_path: Path, make) -> None:
    make(tmp_path / ".lock")
    with pytest.raises(InputError, match=r"\.lock: is not a regular file"), locked(tmp_path / ".lock", "busy"):
        pass
