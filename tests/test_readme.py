"""What README and docs show is run: Python blocks whole, commands as far as their options go."""

from __future__ import annotations

import pydoc
import re
import runpy
import shlex
import tomllib
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import typer
from h5ad_writing import write
from PIL import Image

from anyjepa.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
COMMANDS = sorted(
    {
        (page.name, line)
        for page in PAGES
        for block in re.findall(r"```\n(.*?)```", page.read_text(), flags=re.S)
        for line in (re.sub(r"\s+#.*", "", text).strip() for text in block.splitlines())
        if re.match(r"(\.venv/bin/)?anyjepa ", line)
    }
)


def test_the_readmes_python_runs_and_prints_what_its_comments_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_screen(tmp_path / "screen.h5ad")
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S):
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["(40, 96)", "(40,)", "4", "(400, 128)"]


def write_screen(path: Path) -> None:
    """Counts of 400 cells and 2,000 genes: seven knockdowns and controls."""
    rng = np.random.default_rng(0)
    genes = [f"G{number}" for number in range(2000)]
    conditions = np.repeat(["control", *genes[:7]], 50)
    counts = rng.poisson(rng.gamma(2, 1, 2000), (400, 2000)).astype(np.float32)
    cells = pd.DataFrame({"perturbation": conditions}, index=[f"cell{number}" for number in range(400)])
    write(anndata.AnnData(counts, cells, pd.DataFrame(index=genes)), path)


def test_the_readmes_picture_is_drawn_by_its_script(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "docs/masks.py"))["main"](tmp_path / "masks.png")
    drawn, shown = (
        np.asarray(Image.open(path)).astype(float) for path in (tmp_path / "masks.png", ROOT / "docs/masks.png")
    )
    assert drawn.shape == shown.shape
    assert np.abs(drawn - shown).mean() < 1  # of 255; fonts differ a little between versions
    assert (ROOT / "docs/masks.png").stat().st_size < 150_000


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_a_shown_command_exists_with_its_options(page: str, line: str) -> None:
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    assert {word.split("=")[0] for word in words if word.startswith("-")} <= known, f"{page}: {line}"


def test_the_page_on_architecture_lists_the_floors_that_imports_are_checked_by() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    floors = [set(re.findall(r"\w+", layer)) for layer in contracts[0]["layers"]]
    table = re.findall(r"^\| \d+ \| (.+?) \|", (ROOT / "docs/architecture.md").read_text(), flags=re.M)
    assert [set(re.findall(r"`(\w+)`", packages)) for packages in table] == floors[1:]  # without __main__


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_scripts_exist(page: Path) -> None:
    text = page.read_text()
    imported = [
        f"{module}.{name}"
        for module, names in re.findall(r"^from (anyjepa[\w.]*) import (.+)$", text, flags=re.M)
        for name in re.findall(r"(\w+)(?: as \w+)?", names)
    ]
    for name in [*imported, *re.findall(r"`(anyjepa(?:\.\w+)+)", text)]:
        assert pydoc.locate(name) is not None, f"{page.name}: {name}"
    for file in re.findall(r"[\w./]+/\w+\.py\b", text):
        assert any((folder / file).exists() for folder in (ROOT, ROOT / "src/anyjepa", page.parent)), (
            f"{page.name}: {file}"
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", page.read_text()):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name}: {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_picture_of_results_shows_their_table(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "docs/results.py"))
    minutes, scores, best = script["read_table"]((ROOT / "docs/results.md").read_text())
    assert minutes[0] == 0
    assert {len(values) for values in scores.values()} == {len(minutes)}
    assert all(max(values) > control for values, (_, control) in zip(scores.values(), best.values(), strict=True))
    script["main"](tmp_path / "results.png")
    with Image.open(tmp_path / "results.png") as drawn, Image.open(ROOT / "docs/results.png") as shown:
        assert drawn.size == shown.size
