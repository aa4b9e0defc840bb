"""A signal while several processes start to train together ends all of them with its exit code and one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WAITING = """
import os, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_module import Noise, config, fit, objective
if __name__ == "__main__":
    if os.environ.get("LOCAL_RANK"):  # the second process; the first waits for it in C++
        print(os.getpid(), flush=True)
        time.sleep(60)
    fit(objective(), config(), Noise(), Path({folder!r}), devices=2, strategy="ddp", progress=False)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="Windows has no signal masks")
def test_a_signal_before_training_ends_all_processes(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(WAITING.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "run")))
    command = [sys.executable, "-W", "ignore", str(script)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    second = int(process.stdout.readline())
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=30)  # both have closed their output
    assert (process.returncode, out, err) == (143, "", "anyjepa: stopped by SIGTERM\n")
    until = time.monotonic() + 10  # a process closes its output a moment before it has ended
    while _runs(second) and time.monotonic() < until:
        time.sleep(0.05)
    assert not _runs(second)
    assert not list(tmp_path.glob("run/**/*.ckpt"))


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended but was not waited for does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
