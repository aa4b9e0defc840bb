"""The command as a process: it serves, logs no content, and finishes requests when it is asked to end."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from served_bodies import FACTS, NPZ, npz
from served_process import server

import anyjepa


def ask(address: str, body: bytes, media: str = "application/x-npz") -> tuple[int, dict]:
    request = urllib.request.Request(f"{address}/embed", body, {"Content-Type": media})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def half_sent(address: str, body: bytes) -> Callable[[], tuple[int, dict]]:
    """Send half of a request; the function sends the rest, and gives status and answer."""
    connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
    connection.putrequest("POST", "/embed")
    for name, value in (NPZ | {"Content-Length": str(len(body))}).items():
        connection.putheader(name, value)
    connection.endheaders(body[: len(body) // 2])
    time.sleep(1)  # until it has its place

    def rest() -> tuple[int, dict]:
        connection.send(body[len(body) // 2 :])
        answer = connection.getresponse()
        status, content = answer.status, json.load(answer)
        connection.close()
        return status, content

    return rest


@pytest.mark.long
def test_a_request_in_flight_is_finished_when_the_process_is_asked_to_end(tiny_run, signals):
    with server(tiny_run) as (process, address):
        rest = half_sent(address, npz(signals=signals[0], **FACTS))
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        status, answer = rest()
        _, log = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGTERM
    assert status == 200
    np.testing.assert_allclose(answer["embedding"], anyjepa.load(tiny_run).embed(signals[0], fs=100), atol=1e-6)
    first, last = log.splitlines()
    assert re.fullmatch(r"[\d-]+ [\d:,]+ /embed 200 \d+\.\d ms 1 record 1 window", first)
    assert last == "anyjepa: stopped by SIGTERM"


@pytest.mark.long
def test_bodies_without_end_and_wrong_protocols_leave_the_service_well(tiny_run, signals):
    with server(tiny_run, "--max-mb", 1, "--queue", 1) as (process, address):
        host = (urlsplit(address).hostname, urlsplit(address).port)
        with socket.create_connection(host, 30) as client:
            client.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 400")
        with socket.create_connection(host, 30) as client:
            client.sendall(b"GET /metadata HTTP/1.1\r\nHost: page.example\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 421")
        with socket.create_connection(host, 30) as client:
            client.sendall(b"POST /embed HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npz\r\n")
            client.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(20):
                client.sendall(b"10000\r\n" + bytes(65536) + b"\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 413")
        with socket.create_connection(host, 30) as client:  # gone before the body is complete
            client.sendall(b"POST /embed?name=Doe HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
            client.sendall(b"Content-Length: 500\r\n\r\n{")
        time.sleep(1)  # until its place is free
        connection, body = HTTPConnection(str(host[0]), host[1], timeout=60), npz(signals=signals[0], **FACTS)
        rest = half_sent(address, body)
        connection.request("POST", "/embed", bytes(900_000), NPZ)  # refused before it is read
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Retry-After")) == (503, "1")
        assert json.load(answer) == {"detail": "too many requests at once; try again"}
        assert rest()[0] == 200
        times = []
        for _ in range(20):
            begin = time.monotonic()
            connection.request("GET", "/health")
            answer = connection.getresponse()
            assert (answer.status, answer.read()) == (200, b'{"status":"ok"}')
            times.append(time.monotonic() - begin)
        assert min(times[1:]) < 0.03  # a delayed ACK takes 40 ms
        connection.close()
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=60)
    assert "Traceback" not in log
    assert "Doe" not in log
    assert "/embed disconnected" in log


@pytest.mark.long
def test_bodies_that_are_made_to_take_memory_take_little(tiny_run):
    with server(tiny_run) as (process, address):

        def peak() -> int:
            return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())[0])

        before = peak()
        for unit, status in ((b"0.1,", 413), (b"{},", 400), (b"[],", 422)):
            body = b'{"fs":100,"signals":[' + unit * ((16 * 10**6 - 30) // len(unit)) + unit.rstrip(b",") + b"]}"
            assert ask(address, body, media="application/json")[0] == status
        assert peak() - before < 900_000


def test_wrong_starts_are_one_line(cli, tmp_path):
    assert cli("serve", tmp_path / "none").err.endswith(
        ": there is no such run or model; pass a folder, a name from 'anyjepa models', or hf:OWNER/NAME\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli("serve", "ecg-sim-xs", "--port", port)
        assert (done.code, done.out) == (2, "")
        assert done.err == f"anyjepa: --host 127.0.0.1 --port {port}: cannot be used (Address already in use)\n"
    done = cli("serve", "ecg-sim-xs", "--host", "no such host")
    assert done.code == 2
    assert len(done.err.splitlines()) == 1


def test_without_its_packages_the_command_says_what_to_install(cli, monkeypatch):
    monkeypatch.delitem(sys.modules, "anyjepa.serving.server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    done = cli("serve", "ecg-sim-xs")
    assert (done.code, done.err) == (2, "anyjepa: serve: needs FastAPI and uvicorn: pip install 'anyjepa[serve]'\n")
