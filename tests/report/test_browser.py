"""The page in a real browser, from a desk's width to a phone's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from anyjepa.report import write_report

MEASURE = """<script>
const pictures = [...document.querySelectorAll("svg")].map(svg => svg.getBoundingClientRect());
document.title = JSON.stringify({
  width: innerWidth,
  content: document.documentElement.scrollWidth,
  drawn: pictures.filter(box => box.width > 100 && box.height > 50).length,
  external: performance.getEntriesByType("resource").length,
});
</script>"""


@pytest.mark.parametrize("width", [1280, 520])
def test_page_fits_the_window_and_loads_nothing(run, tmp_path, width):
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed")
    page = tmp_path / "measured.html"
    page.write_text(write_report(run).read_text() + MEASURE)
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--dump-dom",
    ]  # fmt: skip
    found = subprocess.run([browser, *options, page.as_uri()], capture_output=True, text=True, timeout=60, check=True)
    title = re.search("<title>({.*?})</title>", found.stdout)
    assert title, found.stderr[-500:]
    measured = json.loads(title[1])
    assert measured["content"] <= measured["width"]
    assert measured["drawn"] == 9
    assert measured["external"] == 0
