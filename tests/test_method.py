"""docs/method.md shows the code as it is, runs its example, and its figure is drawn by its script."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from textwrap import dedent, indent

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/method.md").read_text()
EXCERPTS = re.findall(r"<!-- (\S+\.py) -->\n```python\n(.*?)```", PAGE, flags=re.S)


@pytest.mark.parametrize(("path", "code"), EXCERPTS, ids=[path for path, _ in EXCERPTS])
def test_excerpts_are_lines_of_the_source(path: str, code: str) -> None:
    source = (ROOT / path).read_text()
    assert code == dedent(code)
    assert any(f"\n{indent(code, ' ' * spaces)}" in source for spaces in (0, 4, 8)), f"{path} has changed; copy it anew"


def test_every_block_of_python_is_an_excerpt_or_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
    (example,) = set(blocks) - {code for _, code in EXCERPTS}
    assert len(EXCERPTS) >= 5
    names: dict[str, object] = {}
    exec(compile(example, "method.md", "exec"), names)
    assert names["losses"].total().isfinite()  # type: ignore[attr-defined]
    config = names["model"].config  # type: ignore[attr-defined]
    assert (config.distance.kind, config.target.normalise) == ("smooth_l1", True)  # as the formula
    assert names["model"].student.project.weight.grad is not None  # type: ignore[attr-defined]


def test_the_table_of_settings_is_that_of_the_recipes() -> None:
    from anyjepa.recipes.schema import load_recipe

    table = PAGE.split("They differ in settings:")[1].split("NEPA")[0]
    rows = {cells[0]: cells[1:] for line in table.splitlines() if len(cells := line.strip("| ").split(" | ")) == 4}
    for column, name in enumerate(rows["recipe"]):
        objective = load_recipe(name.strip("`"))[0].objective
        assert rows["masks"][column].startswith(f"`{objective.masks.kind}`")
        assert rows["$d$"][column] == {"l1": "L1", "smooth_l1": "smooth L1"}[objective.distance.kind]
        assert (rows["targets"][column] == "LayerNorm") == objective.target.normalise
        assert rows["teacher moves"][column] == f"{objective.target.update} the step"


def test_the_figure_is_drawn_by_its_script(tmp_path: Path) -> None:
    runpy.run_path(str(ROOT / "docs/method.py"))["main"](tmp_path / "method.png")
    new, shown = (
        np.asarray(Image.open(path).convert("L"), float) for path in (tmp_path / "method.png", ROOT / "docs/method.png")
    )
    assert new.shape == shown.shape
    assert np.abs(new - shown).mean() < 2
