"""Logs as they come: cut off, resumed, with NaN."""

from __future__ import annotations

import numpy as np

from anyjepa.report.contents import read_contents
from anyjepa.report.curves import collapse, drawn_columns, training


def write(folder, text):
    (folder / "metrics.csv").write_text(text)
    return read_contents(folder)


def test_a_line_cut_off_is_left_out_and_named(tmp_path):
    run = write(tmp_path, "step,loss\n1,0.5\n2,0.4\n3,0.")
    assert run.metrics["loss"].values.tolist() == [0.5, 0.4]
    assert any("the last line is incomplete" in text for text in run.notes)


def test_lines_of_a_wrong_length_are_counted(tmp_path):
    run = write(tmp_path, "step,loss\n1,0.5\n2,0.4,9\n3\n4,0.3\n")
    assert run.metrics["loss"].step.tolist() == [1, 4]
    assert any("2 of 4 lines" in text for text in run.notes)


def test_of_a_step_logged_twice_the_last_counts(tmp_path):
    run = write(tmp_path, "step,loss\n1,5\n2,4\n3,3\n2,40\n3,30\n")
    assert run.metrics["loss"].values.tolist() == [5, 40, 30]


def test_an_empty_cell_is_no_point_and_nan_is_one(tmp_path):
    run = write(tmp_path, "step,loss,teacher_rank\n1,1,\n2,nan,3\n3,2,\n")
    assert run.metrics["teacher_rank"].step.tolist() == [2]
    np.testing.assert_array_equal(run.metrics["loss"].values, [1, np.nan, 2])
    assert "1 of 3 values are not finite" in training(run)
    assert "teacher_rank" in collapse(run)


def test_a_step_that_is_no_count_is_left_out(tmp_path):
    run = write(tmp_path, "step,loss\n1e308,5\n2,4\nnan,3\n-inf,2\n")
    assert run.metrics["loss"].step.tolist() == [2]
    assert "loss" in training(run)


def test_values_without_a_finite_one_are_named(tmp_path):
    text = training(write(tmp_path, "step,loss\n1,nan\n2,inf\n"))
    assert "loss: none of 2 values is a finite number" in text


def test_a_single_term_is_drawn_once(tmp_path):
    run = write(tmp_path, "step,loss,prediction,lr\n1,1,1,0.1\n2,0.5,0.5,0.2\n")
    assert drawn_columns(run) == ["loss", "lr"]
    two = write(tmp_path, "step,loss,prediction,variance\n1,1,0.6,0.4\n2,0.5,0.2,0.3\n")
    assert drawn_columns(two) == ["loss", "prediction", "variance"]


def test_long_noisy_logs_stay_small(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{step},{value}" for step, value in enumerate(rng.normal(size=20_000), 1)]
    assert len(training(write(tmp_path, "step,loss\n" + "\n".join(lines) + "\n"))) < 100_000


def test_schedules_are_drawn_as_they_are(tmp_path):
    lines = [f"{step},{step / 500 if step < 500 else 1}" for step in range(1000)]
    smoothed = training(write(tmp_path, "step,loss\n" + "\n".join(lines) + "\n"))
    exact = training(write(tmp_path, "step,lr\n" + "\n".join(lines) + "\n"))
    assert smoothed.count('"name":"loss"') == 2  # the values, faint, and their mean
    assert exact.count('"name":"lr"') == 1


def test_the_step_of_a_fault_is_marked(tmp_path):
    head = "step,loss,input_std,input_mean,input_between,teacher_spread"
    rows = [f"{step},0.4,1,0,0.9,{0.8 if step < 300 else 0.001}" for step in range(0, 1000, 100)]
    run = write(tmp_path, "\n".join([head, *rows]) + "\n")
    assert run.verdict.findings[0].since == 300
    for section in (training(run), collapse(run)):
        assert '"x0":300,"x1":300' in section
        assert '"text":"complete collapse"' in section
    assert '"text":"spread: collapsed below"' in collapse(run)


def test_numbers_at_the_end_of_the_range_are_drawn(tmp_path):
    run = write(tmp_path, "step,loss\n1,1e308\n2,-1e299\n3,1e299\n")
    assert "1 of 3 values are not finite or too large" in training(run)
    assert '"y":[null,-1e+299,1e+299]' in training(run)


def test_a_curve_is_described_once(tmp_path):
    page = training(write(tmp_path, "step,loss\n1,0.8\n2,0.9\n3,0.7\n"))
    assert page.count("Loss") == 1
    assert page.count("<p>loss between 0.7 and 0.9</p>") == 1  # what there is to read without scripts
    assert page.count("from 0.8 to 0.7") == 1
