from __future__ import annotations

import os
from pathlib import Path

import pytest
from lock_holder import held_elsewhere

from anyjepa.errors import InputError
from anyjepa.locking import locked


def test_one_process_at_a_time(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with held_elsewhere(file), pytest.raises(InputError, match="busy"), locked(file, "busy"):
        pass
    with locked(file, "busy"):  # a lock ends with its process, however that ends
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_that_is_not_a_file_is_refused_at_once(tmp_path: Path, make) -> None:
    make(tmp_path / ".lock")
    with pytest.raises(InputError, match=r"\.lock: is not a regular file"), locked(tmp_path / ".lock", "busy"):
        pass
