"""Requests per second and waiting times of `anyjepa serve`, one at a time and batched, alternately in one run.

    python benchmarks/serve.py [--model ecg-sim-xs] [--clients 1 8 32] [--seconds 10] [--rounds 2] [--json]

Two servers run on this machine: one with --batch 1 and one with the defaults, which batch. Each client is a thread
that sends one 10-s ECG of 12 leads at 500 Hz after the other, as .npz in float32 or, with --json, as JSON. Prints one
JSON line: per server and number of clients the requests per second, percentiles of the time of a request in ms, the
processor time of the server per request in ms (Linux), and how many requests got status 503.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.runs.folder import environment

SERVERS = {"one at a time": ["--batch", "1"], "batched": []}


def start(model: str, options: list[str], stack: ExitStack) -> tuple[int, str]:
    """Process id and address of a server."""
    command = [sys.executable, "-m", "anyjepa", "serve", model, "--port", "0", "--threads", "1", *options]
    process = stack.enter_context(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    )
    stack.callback(process.kill)
    assert process.stdout is not None
    return process.pid, urlsplit(process.stdout.readline().split()[-1]).netloc


def load(address: str, body: bytes, media: str, clients: int, seconds: float) -> tuple[list[float], int]:
    """Seconds that each answered request took, and the number of refused ones."""
    until, times, refused = time.monotonic() + seconds, list[float](), list[int]()

    def ask() -> None:
        connection = HTTPConnection(address, timeout=60)
        while (begin := time.monotonic()) < until:
            connection.request("POST", "/embed", body, {"Content-Type": media})
            answer = connection.getresponse()
            answer.read()
            if answer.status == 200:
                times.append(time.monotonic() - begin)
            else:
                assert answer.status == 503, answer.status
                refused.append(answer.status)
                time.sleep(float(answer.getheader("Retry-After") or 1))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times, len(refused)


def processor_s(pid: int) -> float:
    """User and system time of a process; NaN where there is no /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return float("nan")
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ecg-sim-xs")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    record = next(iter(simulate(SimulatorConfig(patients=1, fs=500, duration_s=10))))
    if args.json:
        signals = record.signal.astype(float).round(3).tolist()
        body, media = json.dumps({"signals": signals, "fs": 500}).encode(), "application/json"
    else:
        file = io.BytesIO()
        np.savez(file, signals=record.signal, fs=500, leads=record.leads, unit="mV")
        body, media = file.getvalue(), "application/x-npz"
    rows = []
    with ExitStack() as stack:
        servers = {name: start(args.model, options, stack) for name, options in SERVERS.items()}
        for _, address in servers.values():
            load(address, body, media, 4, 2)
        for clients in args.clients:
            times = {name: list[float]() for name in servers}
            used, refused = dict.fromkeys(servers, 0.0), dict.fromkeys(servers, 0)
            for _ in range(args.rounds):
                for name, (pid, address) in servers.items():
                    begin = processor_s(pid)
                    answered, busy = load(address, body, media, clients, args.seconds)
                    used[name] += processor_s(pid) - begin
                    times[name] += answered
                    refused[name] += busy
            for name, of in times.items():
                p50, p95, p99 = 1e3 * np.percentile(of, [50, 95, 99])
                rows.append(
                    {
                        "server": name,
                        "clients": clients,
                        "per_s": round(len(of) / args.rounds / args.seconds, 1),
                        "p50_ms": round(p50, 1),
                        "p95_ms": round(p95, 1),
                        "p99_ms": round(p99, 1),
                        "processor_ms": round(1e3 * used[name] / len(of), 2),
                        "refused": refused[name],
                    }
                )
    print(json.dumps({"body_kb": len(body) // 1000, "media": media, "rows": rows, "machine": environment()}))


if __name__ == "__main__":
    main()
