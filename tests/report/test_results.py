"""What the page says of an evaluation is what the result says."""

from __future__ import annotations

import pytest

from anyjepa.report.contents import Contents, read_contents
from anyjepa.report.headline import headline
from anyjepa.report.results import evaluations, per_class


def contents(tmp_path, *results):
    return Contents(tmp_path, results=list(results))


@pytest.mark.parametrize(
    ("control", "verdict"),
    [(0.84, "a clear gain"), (0.925, "no clear difference"), (0.96, "the control is better")],
)
def test_verdict_follows_the_interval(tmp_path, result, control, verdict):
    assert verdict in headline(contents(tmp_path, result(control=control)))[1]


@pytest.mark.parametrize("repeats", [1, 3])
@pytest.mark.parametrize(
    ("control", "said"),
    [
        (0.84, "Difference +0.090 (+0.070 to +0.110): a clear gain."),
        (0.92, "Difference +0.010 (-0.010 to +0.030): no clear difference."),
        (0.96, "Difference -0.030 (-0.050 to -0.010): the control is better."),
    ],
)
def test_on_one_test_part_the_verdict_is_over_patients(tmp_path, result, repeats, control, said):
    run = contents(tmp_path, result(control=control, repeats=repeats, spread=0.0, intervals="patients"))
    top = headline(run)[1]
    assert "(0.910 to 0.950)" in top
    assert f"{said} Intervals: 95 % over patients (bootstrap)." in top
    tables = evaluations(run) + per_class(run)
    assert "95 % over patients (bootstrap)" in tables
    assert "t over" not in tables
    assert "0.930 to 0.930" not in tables


def test_an_interval_without_width_is_not_shown(tmp_path, result):
    run = contents(tmp_path, result(spread=0.0))
    assert "Difference +0.090, without an interval." in headline(run)[1]
    assert " to " not in evaluations(run).split("</table>")[0].split("<table>")[1]


def test_headline_prefers_all_labels_to_few(tmp_path, result):
    few = result(encoder=0.7, settings={"low_shot": 5})
    both = contents(tmp_path, few, result())
    top = headline(both)[1]
    assert "0.930" in top
    assert "<summary>Linear probe of rhythm, 5 labels per class: macro AUROC 0.700" in evaluations(both)
    assert "5 labels per class" not in top
    assert "5 labels per class" in evaluations(contents(tmp_path, few))


@pytest.mark.parametrize(("low_shot", "labels"), [(20, "20 patients"), (0.1, "10% of the patients")])
def test_few_labels_of_single_tokens_are_those_of_patients(result, low_shot, labels):
    few = result(protocol="dense", what=("tokens", "patients"), settings={"low_shot": low_shot})
    assert few.heading == f"Linear probe on single tokens of rhythm, labels of {labels}"


def test_headline_prefers_the_first_task_of_the_data(tmp_path, result):
    run = contents(tmp_path, result(encoder=0.7, task="digit"), result(task="motion"))
    assert "0.700" in headline(run)[1]
    run.environment = {"data": {"tasks": ["motion", "digit"]}}
    assert "0.930" in headline(run)[1]


def test_notices_and_classes_left_out_are_shown(tmp_path, result):
    page = evaluations(contents(tmp_path, result(notices=("transductive: saw 5 test records",), dropped={"WPW": 3})))
    assert "transductive: saw 5 test records" in page
    assert "WPW (3)" in page


def test_an_unknown_number_is_a_dash(tmp_path, result):
    found = result()
    first = found.rows[0]
    unknown = first.metrics["macro_auroc"].__class__(None, None, None, 0)
    empty = first.model_copy(update={"metrics": {"macro_auroc": unknown}, "class_metrics": {}})
    run = contents(tmp_path, found.model_copy(update={"rows": (empty, found.rows[1])}))
    assert "–" in evaluations(run)
    assert "–" in per_class(run)
    assert "not evaluated yet" in headline(run)[1]


def test_many_classes_are_all_in_the_table(tmp_path, result):
    names = {f"class {number}": 10 for number in range(60)}
    page = per_class(contents(tmp_path, result(classes=names)))
    assert "The 40 best of 60 classes are shown" in page
    assert all(f">{name}<" in page for name in names)


@pytest.mark.parametrize("rows", [None, ()])
def test_a_result_that_does_not_fit_is_named(run, result, rows):
    text = '{"task": "rhythm"}' if rows is None else result(rows=rows).to_json()
    (run / "results" / "linear.json").write_text(text)
    found = read_contents(run)
    assert not found.results
    assert any("linear.json cannot be read" in text for text in found.notes)
