"""Comparison of runs with results that are made by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import Cli

import anyjepa
from anyjepa.errors import InputError
from anyjepa.evaluation.result import Result


@pytest.fixture(scope="module")
def evaluated(cli: Cli, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same run twice; the second has another learning rate in its recipe, and 0.1 less AUROC in every repeat."""
    folder = tmp_path_factory.mktemp("compared")
    first, second = folder / "first", folder / "second"
    shutil.copytree(tiny_run, first)
    shutil.rmtree(first / "results", ignore_errors=True)
    tasks = json.loads((first / "environment.json").read_text())["data"]["tasks"]
    task = tasks[0]
    anyjepa.evaluate(first, task=task, seeds=2, folds=3, name="linear")
    shutil.copytree(first, second)
    recipe = second / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("steps: 4", "steps: 5", 1))
    result = json.loads((second / "results" / "linear.json").read_text())
    for repeat in result["rows"][0]["repeats"]:
        repeat["metrics"]["macro_auroc"] -= 0.1
    (second / "results" / "linear.json").write_text(json.dumps(result))
    return first, second


def test_only_settings_that_differ_are_shown(evaluated: tuple[Path, Path]) -> None:
    comparison = anyjepa.compare(evaluated)
    assert comparison.settings == {"training.steps": (4, 5)}
    assert comparison.training["loss"][0] == comparison.training["loss"][1]
    assert len(comparison.training["verdict"]) == 2


def test_differences_are_paired_by_repeat(evaluated: tuple[Path, Path]) -> None:
    (score,) = anyjepa.compare(evaluated).scores
    assert score.evaluation.startswith("Linear probe of ")
    assert score.evaluation.endswith(" on embedded ECGs")
    first, second = score.differences
    assert first is None
    assert second is not None
    assert second.mean == pytest.approx(-0.1)
    assert second.repeats == 6
    (same,) = anyjepa.compare([evaluated[0], evaluated[0]]).scores
    assert same.differences[1] is not None
    assert same.differences[1].mean == 0


def test_other_repeats_have_no_difference(evaluated: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(evaluated[1], other := tmp_path / "other")
    file = other / "results" / "linear.json"
    result = Result.from_json(file)
    row = result.rows[0]
    shorter = row.model_copy(update={"repeats": row.repeats[:2]})
    result.model_copy(update={"rows": (shorter, *result.rows[1:])}).to_json(file)
    (score,) = anyjepa.compare([evaluated[0], other]).scores
    assert score.differences == (None, None)


def test_a_single_run_and_other_folders_are_refused(evaluated: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least two runs"):
        anyjepa.compare([evaluated[0]])
    with pytest.raises(InputError, match="is not a run folder"):
        anyjepa.compare([evaluated[0], tmp_path])


def test_a_result_with_unknown_settings_is_one_line(evaluated: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(evaluated[1], other := tmp_path / "other")
    file = other / "results" / "linear.json"
    result = json.loads(file.read_text())
    result["settings"]["invented"] = 1
    file.write_text(json.dumps(result))
    with pytest.raises(InputError, match=rf"^{file}: settings: unknown key 'invented'"):
        anyjepa.compare([evaluated[0], other])


def test_the_command_prints_a_table_or_json(cli: Cli, evaluated: tuple[Path, Path]) -> None:
    done = cli("compare", *evaluated)
    assert done.code == 0, done.err
    assert "training.steps" in done.out
    assert "minus the first run" in done.out
    assert json.loads(cli("compare", *evaluated, "--json").out)["settings"] == {"training.steps": [4, 5]}


def test_the_page_has_the_scores_the_settings_and_one_line_per_run(
    cli: Cli, evaluated: tuple[Path, Path], tmp_path: Path
) -> None:
    assert cli("compare", *evaluated, "-o", tmp_path / "page.html").code == 0
    page = (tmp_path / "page.html").read_text()
    assert '<th scope="row">training.steps</th><td data-label="first"><span class="cell">4</span></td>' in page
    assert "-0.100" in page
    assert page.count('"name":"second"') == page.count('"name":"first"') == page.count('class="chart"') > 0
    refused = cli("compare", *evaluated, "-o", tmp_path / "page.txt")
    assert (refused.code, refused.err) == (2, f"anyjepa: {tmp_path / 'page.txt'}: a comparison is written as .html\n")
