from __future__ import annotations

from pathlib import Path

import numpy as np

from anyjepa.report.contents import Contents, Curve, rows_of
from anyjepa.report.headline import headline

SIGNS = {"input_std": 1.0, "input_mean": 0.0, "input_between": 0.9, "teacher_spread": 0.8, "loss": 0.4}


def contents(**changes: float) -> Contents:
    step = np.arange(10) * 100.0
    metrics = {name: Curve(step, np.full(10, value)) for name, value in {**SIGNS, **changes}.items()}
    return Contents(Path("run"), recipe={"objective": {"target": {"kind": "shared"}}}, metrics=metrics)


def test_the_first_sentence_of_the_page_is_the_verdict() -> None:
    assert "no sign of collapse" in headline(contents())[1]
    collapsed = headline(contents(teacher_spread=0.001))[1]
    assert "complete collapse since step 0: representations of different inputs differ by 0.10%" in collapsed
    assert "objective.regulariser.kind=vicreg" in collapsed
    assert collapsed.index("complete collapse") < collapsed.index("not evaluated yet")


def test_a_log_without_signs_has_no_verdict() -> None:
    run = contents()
    del run.metrics["input_std"]
    assert "erdict" not in headline(run)[1]


def test_rows_are_those_of_the_log() -> None:
    metrics = {"a": Curve(np.array([1.0, 3.0]), np.array([5.0, 6.0])), "b": Curve(np.array([3.0]), np.array([7.0]))}
    assert rows_of(metrics) == [{"step": 1, "a": 5}, {"step": 3, "a": 6, "b": 7}]
