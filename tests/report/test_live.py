"""The page of `anyjepa watch --serve` in a real browser, while its runs go on."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Cli

from anyjepa.errors import InputError
from anyjepa.report.live_server import live_server
from anyjepa.runs.watch import Watch

RECIPE = "name: demo\ndescription: a small one\ntraining: {steps: 100, batch_size: 8}\n"
HEADER = "step,loss,input_std,input_mean,teacher_spread,samples_per_s\n"


def until(tab, condition: str) -> None:
    """Wait until a JavaScript expression is true; the page asks for news every two seconds."""
    deadline = time.time() + 60
    while not tab.evaluate(condition):
        assert time.time() < deadline, condition
        time.sleep(0.1)


def log(folder: Path, steps: range, spread: float = 0.6) -> None:
    """Log these steps; the first ones begin the run."""
    if steps.start == 1:
        folder.mkdir()
        (folder / "recipe.yaml").write_text(RECIPE)
        (folder / "metrics.csv").write_text(HEADER)
    with open(folder / "metrics.csv", "a") as file:
        file.writelines(f"{step},{1 / step:.3f},1,0,{spread},80\n" for step in steps)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with two runs."""
    folder = tmp_path / "runs"
    folder.mkdir()
    log(folder / "first", range(1, 21))
    log(folder / "a-very-long-name-of-a-run-with-its-settings,lr=0.001,seed=0", range(1, 11))
    return folder


@pytest.fixture
def address(runs: Path) -> Iterator[str]:
    with served(runs, 0) as found:
        yield found


class served:
    """The server of a folder in a thread; its address."""

    def __init__(self, folder: Path, port: int):
        self.server = live_server(Watch([folder]), port)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False)])
def test_the_page_fits_the_window_and_has_no_errors(tab, address: str, width: int, dark: bool) -> None:
    tab.own, tab.problems[:] = address, []
    tab.open(address, width, dark=dark)
    until(tab, "performance.getEntriesByType('resource').filter(one => one.name.endsWith('now')).length > 1")
    measured = tab.evaluate("""({
        content: document.documentElement.scrollWidth,
        drawn: document.querySelectorAll('.chart .main-svg').length / 3,
        outside: [...document.querySelectorAll('figure, th, td, .main-svg')]
            .filter(one => one.getBoundingClientRect().right > innerWidth).length,
        ink: getComputedStyle(document.querySelector('.ytick text')).fill,
        lost: getComputedStyle(document.getElementById('lost')).display,
    })""")
    ink = "rgb(154, 166, 176)" if dark else "rgb(93, 104, 114)"
    assert measured == {"content": width, "drawn": 2, "outside": 0, "ink": ink, "lost": "none"}
    assert not tab.problems


def test_the_page_follows_the_runs_and_keeps_zoom_and_filter(tab, runs: Path, address: str) -> None:
    tab.own, tab.problems[:] = address, []
    tab.open(address)
    chart = "document.querySelector('#curves .chart')"
    newest = f"{chart}.data.map(trace => [trace.x.at(-1), trace.visible ?? true])"
    assert tab.evaluate(newest) == [[10, True], [20, True]]
    tab.evaluate("document.querySelector('#curves .filter input').click()")
    x, y, width, height = tab.evaluate(f"""(() => {{ {chart}.scrollIntoView({{block: "center"}});
        const box = {chart}.querySelector('.nsewdrag').getBoundingClientRect();
        return [box.x, box.y, box.width, box.height]; }})()""")
    for kind, share in (("Moved", 0.3), ("Pressed", 0.3), ("Moved", 0.5), ("Moved", 0.7), ("Released", 0.7)):
        tab.mouse(kind, x + share * width, y + height / 2)
    tab.evaluate("new Promise(done => setTimeout(done, 200))")
    zoomed = tab.evaluate(f"{chart}.layout.xaxis.range")
    assert 1 < zoomed[0] < zoomed[1] < 20
    log(runs / "first", range(21, 31))
    until(tab, f"{chart}.data[1].x.at(-1) === 30")
    assert tab.evaluate(newest) == [[10, False], [30, True]]
    assert tab.evaluate(f"{chart}.layout.xaxis.range") == zoomed
    assert "30 of 100 (30%)" in tab.evaluate("document.querySelector('#runs').textContent")
    assert "first 0.033" in tab.evaluate("document.querySelector('#curves figcaption').textContent")

    log(runs / "later", range(1, 31), spread=0.001)  # a new series: the charts are drawn anew
    until(tab, f"{chart}.data?.length === 3")
    assert tab.evaluate(newest) == [[10, True], [30, True], [30, True]]
    assert "later: complete collapse since step 1" in tab.evaluate("document.querySelector('header').textContent")
    assert tab.evaluate("document.querySelectorAll('#curves .filter').length") == 2
    assert not tab.problems


def test_the_page_says_when_nobody_answers(tab, runs: Path) -> None:
    with served(runs, 0) as address:
        tab.own, tab.problems[:] = address, []
        tab.open(address)
        port = int(address.rstrip("/").rpartition(":")[2])
    shown = "getComputedStyle(document.getElementById('lost')).display"
    until(tab, f"{shown} === 'block'")
    with served(runs, port):
        until(tab, f"{shown} === 'none'")


def test_only_the_page_is_served_and_only_under_its_own_name(runs: Path, address: str) -> None:
    def code(path: str, **headers: str) -> int:
        try:
            with urllib.request.urlopen(urllib.request.Request(address + path, headers=headers), timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    assert code("") == code("now") == 200
    assert code("../recipe.yaml") == code("first/metrics.csv") == code("now?x") == 404
    assert code("now", Host="elsewhere.example") == 404
    with urllib.request.urlopen(address + "now", timeout=20) as answer:
        assert len(answer.read()) < 20_000  # without the library that draws
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_a_port_in_use_is_one_line(cli: Cli, runs: Path, address: str) -> None:
    port = address.rstrip("/").rpartition(":")[2]
    with pytest.raises(InputError, match="cannot be used"):
        live_server(Watch([runs]), int(port))
    done = cli("watch", runs, "--serve", "--port", port)
    assert (done.code, done.err) == (
        2, f"anyjepa: port {port}: cannot be used (Address already in use); pass another --port\n",
    )  # fmt: skip
