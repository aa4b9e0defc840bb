"""The page in a real browser: every control works, it fits a desk and a phone, and it needs nothing but itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from anyjepa.report import write_report

RNG = np.random.default_rng(0)
PICTURES = {
    "images": {"pixels": RNG.integers(0, 256, (40, 1, 8, 8, 3)).astype(np.uint8)},
    "ecg": {
        "signals": RNG.normal(size=(40, 2, 200)).astype(np.float16),
        "fs": 100.0,
        "leads": np.array(["I", "V5"]),
    },
}


@pytest.fixture
def page(run, request):
    """The report of a run with pictures behind the points of the map, and with a long path."""
    arrays = dict(np.load(run / "artifacts" / "embedding.npz"))
    kind = getattr(request, "param", "images")
    pictures = {"kind": kind, "pictured": np.arange(40), **PICTURES[kind]}
    ids = np.array([f"record-{n}" for n in range(60)])
    np.savez(run / "artifacts" / "embedding.npz", **arrays, ids=ids, **pictures)
    (run / "environment.json").write_text(json.dumps({"command": "anyjepa pretrain /" + "very/long/" * 40}))
    return write_report(run)


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (1200, True), (390, False)])
def test_the_page_fits_the_window_and_has_no_errors(tab, page, width, dark):
    tab.open(page, width, dark=dark)
    tab.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    tab.evaluate("new Promise(done => setTimeout(done, 300))")
    measured = tab.evaluate("""({
        content: document.documentElement.scrollWidth,
        drawn: document.querySelectorAll('.chart .main-svg').length / 3,
        wide: [...document.querySelectorAll('.scroll')]
            .filter(one => one.scrollWidth > one.clientWidth + 1 && !one.closest('.paper')).length,
        outside: [...document.querySelectorAll('figure, caption, th, .main-svg')]
            .filter(one => one.getBoundingClientRect().right > innerWidth).length,
        ink: getComputedStyle(document.querySelector('.ytick text')).fill,
    })""")
    assert measured["content"] == width
    assert measured["drawn"] == 7
    assert measured["wide"] == measured["outside"] == 0
    assert measured["ink"] == ("rgb(230, 233, 235)" if dark else "rgb(27, 33, 38)")
    assert not tab.problems


def test_a_class_is_hidden_and_shown_with_the_keyboard(tab, page):
    tab.open(page)
    count = "document.querySelectorAll('#map .chart .points path').length"
    before = tab.evaluate(count)
    tab.evaluate("document.querySelector('#map .filter input').focus()")
    tab.key(" ")
    assert tab.evaluate(count) < before
    tab.key(" ")
    assert tab.evaluate(count) == before
    assert not tab.problems


def test_hover_shows_values_and_drag_zooms(tab, page):
    tab.open(page)
    box = tab.evaluate("""(() => { const chart = document.querySelector('#training .chart');
        chart.scrollIntoView({block: "center"});
        const {x, y, width, height} = chart.querySelector('.nsewdrag').getBoundingClientRect();
        return [x, y, width, height]; })()""")
    x, y, width, height = box
    tab.mouse("Moved", x + width / 2, y + height / 2)
    tab.evaluate("new Promise(done => setTimeout(done, 200))")
    assert "loss" in tab.evaluate("document.querySelector('#training .hoverlayer').textContent")
    ends = "document.querySelector('#training .chart').layout.xaxis.range"
    before = tab.evaluate(ends)
    for kind, share in (("Moved", 0.3), ("Pressed", 0.3), ("Moved", 0.5), ("Moved", 0.7), ("Released", 0.7)):
        tab.mouse(kind, x + share * width, y + height / 2)
    tab.evaluate("new Promise(done => setTimeout(done, 200))")
    low, high = tab.evaluate(ends)
    assert before[0] < low < high < before[1]
    assert not tab.problems


@pytest.mark.parametrize("page", ["images", "ecg"], indirect=True)
def test_the_sample_behind_a_point_is_shown(tab, page):
    tab.open(page)
    name = "document.querySelector('.sample .name').textContent"
    picture = """(one => one.toDataURL?.() ?? one.lastElementChild.getAttribute('d'))(
        document.querySelector('.sample .picture').firstElementChild)"""
    assert tab.evaluate(name) == "record-0: normal"
    first = tab.evaluate(picture)
    tab.evaluate("document.querySelector('.sample .on').click()")
    assert tab.evaluate(name) == "record-1: AF"
    assert tab.evaluate(picture) != first
    near = tab.evaluate("document.querySelector('.near button').textContent")
    tab.evaluate("document.querySelector('.near button').click()")
    assert near.startswith(tab.evaluate(name))
    place = tab.evaluate("""(() => { const chart = document.querySelector('#map .chart');
        chart.scrollIntoView({block: "center"});
        const {x, y, width, height} = chart.querySelector('.trace:nth-child(2) .points path').getBoundingClientRect();
        return [x + width / 2, y + height / 2]; })()""")
    tab.mouse("Moved", *place)
    tab.evaluate("new Promise(done => setTimeout(done, 200))")
    for kind in ("Pressed", "Released"):
        tab.mouse(kind, *place)
    tab.evaluate("new Promise(done => setTimeout(done, 400))")
    hovered = tab.evaluate("document.querySelector('#map .hoverlayer').textContent")
    assert hovered == tab.evaluate(name)
    assert not tab.problems


@pytest.mark.parametrize("page", ["ecg"], indirect=True)
def test_on_a_phone_ecgs_are_large_and_scroll_in_their_own_box(tab, page):
    tab.open(page, 390)
    measured = tab.evaluate("""({
        content: document.documentElement.scrollWidth,
        papers: [...document.querySelectorAll('.paper svg, .picture svg')]
            .map(one => one.getBoundingClientRect().width),
        boxes: [...document.querySelectorAll('.paper .scroll, .picture')].map(one => one.clientWidth),
        buttons: [...document.querySelectorAll('.sample .bar button')].map(one => one.getBoundingClientRect().top),
    })""")
    assert measured["content"] == 390
    assert min(measured["papers"]) >= 720
    assert max(measured["boxes"]) < 390
    assert len(set(measured["buttons"])) == 1
    assert not tab.problems


def test_without_scripts_the_page_still_gives_the_numbers(tab, page):
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        tab.open(page, 390)
    finally:
        tab.call("Emulation.setScriptExecutionDisabled", value=False)
    text = tab.evaluate("document.body.innerText")
    assert "normal 0.930 (0.920 to 0.940)" in text
    assert "loss from 1 to 0.05" in text
    assert "previous" not in text  # what needs scripts is not there


def test_a_dark_page_is_printed_in_light_colours(tab, page):
    tab.open(page, dark=True)
    tab.call("Page.printToPDF", printBackground=True)
    ink = "getComputedStyle(document.querySelector('.ytick text')).fill"
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert tab.evaluate(ink) == "rgb(27, 33, 38)"
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert tab.evaluate(ink) == "rgb(230, 233, 235)"
    assert not tab.problems
