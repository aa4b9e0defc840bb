"""Feed damaged files to the readers: python tests/fuzz/run.py --reader wfdb --cases 10000 --seed 1 --log out.jsonl

A case is a valid input with one file damaged, drawn from (reader, seed, number): it can be run again alone by
`--start NUMBER --cases 1`. Cases run in a process of their own, with 4 GiB of memory and 20 s of processor time each.
A case fails unless the reader gives finite values or raises `InputError`; failures are lines of the log, and with
`--keep` their files stay. The exit code is 1 if there was one.
"""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import os
import re
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parent / "data")]

import archives  # noqa: E402, F401
import chunks  # noqa: E402, F401
import documents  # noqa: E402, F401
import numpy as np  # noqa: E402
from formats import mutated  # noqa: E402
from reader import Gaps, Reader  # noqa: E402
from readers import READERS  # noqa: E402

SECONDS = 20  # of processor time for one case
SHARED = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # in memory: most of a case is copying files
BATCH = 500  # cases that one process takes, so that what it leaks does not count as a file's
FINE = ("read", "refused")
WAIT = 180  # s by the clock: a case that sleeps for ever
MEMORY = 4 * 2**30  # bytes that a case may take beyond what a process has without it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", action="append", choices=sorted(READERS), help="default: all")
    parser.add_argument("--cases", type=int, default=100, help="of each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop with a reader after so long")
    parser.add_argument("--log", type=Path, help="JSON lines: a failure each, and a summary of each reader")
    parser.add_argument("--keep", type=Path, help="folder for the files of failures")
    given = parser.parse_args()
    import_everything()
    failed = False
    for name in given.reader or READERS:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with tempfile.TemporaryDirectory(prefix=f"fuzz-{name}-", dir=SHARED) as place:
            counts = fuzz(name, given, Path(place).resolve())
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)
        failed |= any(kind not in FINE for kind in counts)
        about = {"reader": name, "seed": given.seed, "start": given.start, "processor_s": seconds}
        log(given.log, {**about, "counts": dict(counts)})
    return int(failed)


def import_everything() -> None:
    """What readers import when they are first used, so that a forked process has it."""
    import matplotlib

    matplotlib.use("agg")
    for module in [
        "anndata",
        "av",
        "h5py",
        "pandas",
        "pyarrow.parquet",
        "pydicom",
        "scipy.signal",
        "wfdb",
        "lightning",
        "torch",
        "PIL.Image",
        "yaml",
        "ecgdatakit.parsing.parsers.ge_muse_xml",
        "ecgdatakit.parsing.parsers.hl7_aecg",
        "ecgdatakit.parsing.parsers.scp_ecg",
        "anyjepa.report.page",
        "anyjepa.runs.model",
        "anyjepa.runs.pretrain",
        "anyjepa.runs.cells.evaluate_perturbations",
        "anyjepa.runs.evaluate",
        "anyjepa.weights.inspection",
        "rich.console",
        "huggingface_hub",
    ]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            __import__(module)


def fuzz(name: str, given: argparse.Namespace, place: Path) -> Counter[str]:
    """Counts of outcomes. `place` takes the valid inputs and, one after the other, the damaged ones."""
    data = os.environ.get("ANYJEPA_TEST_DATA")
    if os.waitpid(forked(build, name, place, Path(data) if data else None), 0)[1]:
        return Counter(invalid=1)  # what has not been damaged yet
    counts: Counter[str] = Counter()
    number, end, started = given.start, given.start + given.cases, time.monotonic()
    while number < end and time.monotonic() - started < given.seconds:
        for outcome in worked(name, given, place, number, min(end, number + BATCH)):
            counts[outcome["outcome"]] += 1
            number = outcome["case"] + 1
            if outcome["outcome"] not in FINE:
                log(given.log, {"reader": name, "seed": given.seed, **outcome})
    return counts


def log(path: Path | None, line: dict[str, Any]) -> None:
    print(json.dumps({key: value for key, value in line.items() if key != "trace"})[:1000], flush=True)
    if path:
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def forked(function: Any, *arguments: Any) -> int:
    """The process that runs a function and ends."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        function(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def build(name: str, place: Path, data: Path | None) -> None:
    """Write the valid inputs of a reader; each must be read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        READERS[name].build(place / "whole", data)
        for folder in sorted((place / "whole").iterdir()):
            copied = Path(shutil.copytree(folder, place / "valid" / folder.name))
            for values in READERS[name].read(copied):
                assert not not_finite(values, isinstance(values, Gaps)), folder


def worked(name: str, given: argparse.Namespace, place: Path, number: int, end: int) -> Iterator[dict[str, Any]]:
    """Outcomes of cases from `number` on, from a process that is killed when it hangs; the last may be its death."""
    receiving, sending = os.pipe()
    pid = forked(work, name, given, place, number, end, sending)
    os.close(sending)
    pending, ended = b"", False
    try:
        while not ended:
            ready = select.select([receiving], [], [], WAIT)[0]
            content = os.read(receiving, 2**16) if ready else b""
            if not content:
                break
            *lines, pending = (pending + content).split(b"\n")
            for line in map(json.loads, lines):
                ended = line["case"] == end - 1
                number = line["case"] + 1
                yield line
        if not ended:
            status = died(pid)
            kind = "hang" if status in (signal.SIGPROF, signal.SIGKILL) else "crash"
            trace = (place / "stderr").read_text(errors="replace")[-3000:]
            keep(given, name, number, place)
            yield {"case": number, "outcome": kind, "error": f"ended with {status}", "trace": trace}
            pid = 0
    finally:
        os.close(receiving)
        if pid:
            died(pid)


def died(pid: int) -> int:
    """How a process of ours ended: a negative signal's number is positive here. It is killed if it goes on."""
    for _ in range(20):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) * -1
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    return -os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def work(name: str, given: argparse.Namespace, place: Path, number: int, end: int, sending: int) -> None:
    """In a process of its own: cases one after the other, an outcome each as a line; it ends after a failure."""
    standard = os.open(place / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(standard, 2)
    os.dup2(standard, 1)
    faulthandler.enable()
    sys.dont_write_bytecode = True
    size = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["TMPDIR"] = tempfile.tempdir = str(place / "case")
    guard = Guard(place / "case")
    examine_in_forks(guard)
    valid = sorted(path for path in (place / "whole").iterdir())
    gc.freeze()  # else every collection goes through all imported modules
    for case in range(number, end):
        gc.collect()
        outcome = run_case(READERS[name], name, given.seed, case, valid, place, guard)
        if outcome["outcome"] not in FINE:
            keep(given, name, case, place)
        os.write(sending, json.dumps({"case": case, **outcome}).encode() + b"\n")


def examine_in_forks(guard: Guard) -> None:
    """Replace what starts a Python for each HDF5 file by a fork, of which the guard takes no notice."""
    import forked_probe

    from anyjepa.data import hdf5

    def run(*arguments: Any, **options: Any) -> Any:
        active, guard.active = guard.active, False
        try:
            return forked_probe.run(*arguments, **options)
        finally:
            guard.active = active

    hdf5.subprocess = SimpleNamespace(**{**vars(hdf5.subprocess), "run": run})  # type: ignore[assignment]


def keep(given: argparse.Namespace, name: str, case: int, place: Path) -> None:
    if given.keep:
        kept = given.keep / f"{name}-{given.seed}-{case}"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(place / "case", kept)


class Guard:
    """Notes what is done outside of the folder of a case: files written, removed, renamed; programs, sockets."""

    def __init__(self, folder: Path):
        self.folder, self.active, self.seen = f"{folder}/", False, ""
        sys.addaudithook(self.note)

    def note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.active or self.seen:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes or (isinstance(mode, str) and set(mode) & set("wax+")):
                self._outside(event, path)
        elif event in ("os.remove", "os.rmdir"):
            self._outside(event, *arguments)
        elif event in ("os.mkdir", "os.truncate", "os.symlink", "os.link", "os.chmod"):
            self._outside(event, arguments[1] if event in ("os.symlink", "os.link") else arguments[0])
        elif event == "os.rename":
            self._outside(event, arguments[0])
            self._outside(event, arguments[1])
        elif event == "subprocess.Popen" and list(arguments[1])[:1] == [sys.executable]:
            pass  # a process of anyjepa's own, in which a library may crash
        elif event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect", "os.fork"):
            self.seen = f"{event} {arguments!r:.200}"

    def _outside(self, event: str, path: object, folder: int = -1) -> None:
        """folder: descriptor of the folder that a relative path starts from; -1: the current one."""
        if isinstance(path, (str, bytes, os.PathLike)):
            start = os.readlink(f"/proc/self/fd/{folder}") if folder >= 0 else ""
            written = os.path.abspath(os.path.join(start, os.fsdecode(path)))
            if not f"{written}/".startswith(self.folder) and written != "/dev/null":
                self.seen = f"{event} {written}"


def run_case(
    reader: Reader, name: str, seed: int, case: int, valid: list[Path], place: Path, guard: Guard
) -> dict[str, Any]:
    rng = Random(f"{name} {seed} {case}")
    folder, damage = damaged(reader, rng, valid, place / "case")
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    started = time.monotonic()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            outcome = outcome_of(reader, folder, guard)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        guard.active = False
    from anyjepa.errors import DataWarning

    if outcome["outcome"] in FINE:
        if guard.seen:
            outcome = {"outcome": "outside", "error": guard.seen}
        elif foreign := [one for one in caught if not issubclass(one.category, DataWarning)]:
            one = foreign[0]
            where = f"{one.filename}:{one.lineno}"
            outcome = {"outcome": "warning", "error": f"{one.category.__name__}: {one.message}"[:500], "where": where}
    return {**outcome, "damage": damage, "seconds": round(time.monotonic() - started, 2)}


def damaged(reader: Reader, rng: Random, valid: list[Path], place: Path) -> tuple[Path, str]:
    """A valid input copied to `place`, with one file of it damaged (rarely a second one); and which."""
    source = rng.choice(valid)
    shutil.rmtree(place, ignore_errors=True)
    folder = Path(shutil.copytree(source, place / source.name))
    files = sorted(path for path in folder.rglob(reader.damaged) if path.is_file())
    chosen = rng.sample(files, min(len(files), rng.choice([1, 1, 1, 1, 2])))
    for file in chosen:
        alike = [path for other in valid for path in sorted(other.rglob(f"*{file.suffix}")) if path.is_file()]
        other = rng.choice(alike or [file]).read_bytes()
        file.write_bytes(mutated(rng, file.read_bytes(), other, file.name))
    if reader.resign is not None and rng.random() < 0.8:
        with suppress(Exception):  # what is damaged too much to be signed stays as it is
            reader.resign(folder, rng)
    return folder, ", ".join(str(file.relative_to(place)) for file in chosen)


def outcome_of(reader: Reader, folder: Path, guard: Guard) -> dict[str, Any]:
    from anyjepa.errors import InputError

    guard.active, guard.seen = True, ""
    try:
        for values in reader.read(folder):
            guard.active = False
            wrong = not_finite(values, isinstance(values, Gaps))
            guard.active = True
            if wrong:
                return {"outcome": "not finite", "error": wrong}
        return {"outcome": "read"}
    except InputError as error:
        message = str(error)
        if "\n" in message or len(message) > 12_000:  # 1000 characters, each of which may be escaped
            return {"outcome": "message", "error": message[:2000]}
        if short := out_of_memory(error):
            return {"outcome": "memory", "error": f"{message[:300]} ({short})", "trace": traceback.format_exc()[-3000:]}
        return {"outcome": "refused"}
    except Exception as error:
        frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        ours = [frame for frame in frames if "/anyjepa/" in frame]
        return {
            "outcome": "traceback",
            "error": f"{type(error).__name__}: {error}"[:500],
            "where": (ours or frames)[-1],
            "trace": traceback.format_exc()[-3000:],
        }


def out_of_memory(error: BaseException | None) -> str:
    """What an error follows from, if it is that memory ran out: then a file made the reader ask for over 4 GiB.

    Not where only room for what a file claims to hold was asked for: what is not there is never written into it. More
    than any machine has (1 TiB) is refused at once, without a limit, too.
    """
    while error is not None:
        text, frames = str(error), traceback.extract_tb(error.__traceback__)
        line = frames[-1].line or "" if frames else ""
        room = "read(" in line or "np.empty(" in line or (frames and "/numpy/lib/" in frames[-1].filename)
        ran_out = isinstance(error, MemoryError) or re.search("nable to allocate|can't allocate", text)
        by_ffmpeg = type(error).__module__.startswith("av.")  # it has limits of its own, and says the same of them
        if ran_out and not (room or by_ffmpeg or re.search(r"\d [TPE]iB", text)):
            return f"{type(error).__name__}: {text[:200]}"
        error = error.__cause__ or error.__context__
    return ""


def not_finite(values: Any, gaps: bool, at: str = "") -> str:
    """Where a number is infinite, or NaN unless there may be gaps; '' if nowhere."""
    if type(values).__module__.startswith("torch"):
        values = values.detach().numpy()
    if type(values).__module__.startswith("pandas"):
        values = {name: column.to_numpy() for name, column in values.items()}
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fc":
            return ""
        wrong = np.isinf(values).any() if gaps else not np.isfinite(values).all()
        return f"{at}: array {values.shape}" if wrong else ""
    if isinstance(values, (float, np.floating)):
        return "" if np.isfinite(values) or (gaps and np.isnan(values)) else f"{at}: {values}"
    if is_dataclass(values) and not isinstance(values, type):
        values = {field.name: getattr(values, field.name) for field in fields(values)}
    if isinstance(values, Mapping):
        inner: Any = values.items()
    else:
        inner = enumerate(values) if isinstance(values, (list, tuple)) else ()
    return next(filter(None, (not_finite(value, gaps, f"{at}.{key}") for key, value in inner)), "")


if __name__ == "__main__":
    sys.exit(main())
