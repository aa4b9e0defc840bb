"""The verdict on constructed logs: each fault alone is named, with its step and the key to turn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.diagnostics.verdict import COLLAPSED, STEP, covers, verdict_of

HEALTHY = {
    "loss": 0.4, "momentum": 0.996, "teacher_spread": 0.8, "teacher_between": 0.9, "teacher_token_rank": 30.0,
    "teacher_cosine": 0.95, "prediction_distance": 0.3, "trivial_mean": 0.5, "trivial_position": 0.4,
    "trivial_neighbour": 0.6,
    "input_skill": 0.5, "position_skill": 0.5, "attention_entropy": 0.9, "grad_norm": 0.1, "update": 0.004,
    "teacher_update": 1e-4, "input_mean": 0.0, "input_std": 1.0, "input_between": 0.9, "zero_weights": 0.0,
}  # fmt: skip
MASKED = {"objective": {"kind": "masked", "encoder": {"dim": 64}, "target": {"kind": "teacher"}}}
FAULTS = {
    "constant input": {"input_between": 0.0},
    "complete collapse": {"teacher_spread": 0.001},
    "positional collapse": {"teacher_between": 0.05},
    "dimensional collapse": {"teacher_token_rank": 2.0},
    "dead weights": {"zero_weights": 0.5},
    "unstable steps": {"update": 0.3},
    "wrong scale": {"input_std": 40.0},
    "frozen teacher": {"teacher_update": 0.0, "momentum": 1.0},
    "no teacher": {"momentum": 0.0, "teacher_cosine": 1.0},
    "positions ignored": {"position_skill": 0.0},
    "input ignored": {"input_skill": 0.001, "prediction_distance": 0.4},
    "dead attention": {"attention_entropy": 1.0},
    "shortcut": {"trivial_neighbour": 0.05, "prediction_distance": 0.05},
    "not finite": {"teacher_std": float("nan")},
}


def log(changes: dict[str, float], since: int = 0) -> list[dict[str, float]]:
    """Ten rows, with the changes from row `since` on, and rows between them without signs."""
    rows: list[dict[str, float]] = []
    for number in range(10):
        row = {"step": 100 * number, **HEALTHY, **(changes if number >= since else {})}
        rows += [row, {"step": 100 * number + 50, "loss": 0.4}]
    return rows


def test_a_healthy_log_is_not_accused() -> None:
    verdict = verdict_of(log({}), MASKED)
    assert verdict.healthy
    assert not verdict.collapsed
    assert str(verdict) == "no sign of collapse or of another known fault"


@pytest.mark.parametrize("kind", FAULTS)
def test_one_fault_is_named_alone(kind: str) -> None:
    verdict = verdict_of(log(FAULTS[kind]), MASKED)
    assert [finding.kind for finding in verdict.findings] == [kind]
    assert not verdict.healthy
    assert verdict.collapsed == ("collapse" in kind or kind == "constant input")
    single = verdict_of([HEALTHY | FAULTS[kind]], MASKED)  # without steps, as from `diagnose`
    assert [finding.kind for finding in single.findings] == [kind]
    assert single.findings[0].since is None


def test_the_words_give_step_evidence_and_key() -> None:
    text = str(verdict_of(log({"teacher_token_rank": 4.0}, since=3), MASKED))
    assert text.startswith("dimensional collapse since step 300: effective rank 4.0 of 64 (teacher); ")
    assert "training.optimiser.lr" in text
    assert "objective.target.momentum" in text


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"regulariser": {"kind": "vicreg"}}, "objective.regulariser.variance"),
        ({"regulariser": {"kind": "sigreg"}}, "objective.regulariser.weight"),
        ({"target": {"kind": "shared"}}, "objective.regulariser.kind=vicreg"),
        ({"target": {"kind": "teacher"}}, "objective.target.momentum"),
        ({}, "training.optimiser.lr"),
    ],
)
def test_the_key_against_collapse_belongs_to_the_objective(settings: dict[str, object], key: str) -> None:
    (finding,) = verdict_of(log({"teacher_spread": COLLAPSED / 2}), {"objective": settings}).findings
    assert key in finding.advice


def test_one_large_step_in_the_middle_is_remembered_and_the_first_does_not_count() -> None:
    rows = log({})
    rows[0]["update"] = 2 * STEP
    assert verdict_of(rows, MASKED).healthy
    rows[8]["update"] = 2 * STEP
    assert [finding.kind for finding in verdict_of(rows, MASKED).findings] == ["unstable steps"]


def test_predictions_may_ignore_the_input_early_in_training() -> None:
    early = [row for row in log(FAULTS["input ignored"]) if row["step"] < 500]
    assert verdict_of(early, MASKED).healthy
    row = HEALTHY | FAULTS["input ignored"]
    assert verdict_of([row], MASKED, steps=100).healthy
    assert not verdict_of([row], MASKED, steps=1000).healthy


def test_a_short_training_says_what_it_cannot_show() -> None:
    text = str(verdict_of([HEALTHY | {"step": 20}], MASKED | {"training": {"steps": 20}}))
    assert text == (
        "no sign of collapse or of another known fault; 20 steps are too few to show whether the input is used "
        "(500 are needed)"
    )
    assert str(verdict_of([HEALTHY], MASKED, steps=20)) == text
    for steps in (None, 500):
        assert "too few" not in str(verdict_of([HEALTHY], MASKED, steps=steps))
    without = {name: value for name, value in HEALTHY.items() if name != "input_skill"}  # not a sign of every method
    assert "too few" not in str(verdict_of([without], MASKED, steps=20))


def test_predictions_that_beat_trivial_ones_do_not_ignore_the_input() -> None:
    better = FAULTS["input ignored"] | {"prediction_distance": 0.3}  # the mean at each position has 0.4
    assert verdict_of(log(better), MASKED).healthy


def during(rows: list[dict[str, float]], steps: int) -> list[str]:
    """Kinds of faults that are named after the last row of a training of so many steps."""
    verdict = verdict_of(rows, MASKED | {"training": {"steps": steps}})
    return [finding.kind for finding in verdict.findings]


def test_during_training_a_fault_is_named_only_if_it_lasts() -> None:
    collapsed = FAULTS["complete collapse"]
    assert during(log({}), 1000) == []
    assert during(log(collapsed, since=5), 1000) == ["complete collapse"]
    assert during(log(collapsed, since=5)[:-6], 1000) == []  # two measurements
    brief = FAULTS["unstable steps"]
    assert during(log(brief, since=8), 1000) == []  # two measurements in a row
    assert during(log(brief, since=8), 900) == ["unstable steps"]  # the same at the end of the training
    assert not verdict_of(log(collapsed), MASKED | {"training": {"steps": 10_000}}).measured  # within the first fifth


@given(st.lists(st.sampled_from(["", *FAULTS]), min_size=1, max_size=12), st.integers(0, 11))
def test_what_is_said_during_training_is_part_of_what_is_said_at_the_end(kinds: list[str], more: int) -> None:
    """The same rows: with steps to come, and without."""
    rows = [{"step": 100 * n, **HEALTHY, **FAULTS.get(kind, {})} for n, kind in enumerate(kinds, 1)]
    steps = 100 * len(kinds)
    assert set(during(rows, steps + 100 * more)) <= set(during(rows, steps))


def test_the_first_measurement_of_a_short_run_does_not_hide_a_collapse() -> None:
    """I-JEPA on Fashion-MNIST with a warm-up of 30 steps: a linear probe has half the accuracy of one on pixels."""
    ranks = {1: 42.6, 100: 8.9, 200: 4.7, 300: 3.7}
    rows = [HEALTHY | {"step": step, "teacher_token_rank": rank} for step, rank in ranks.items()]
    settings = {"objective": MASKED["objective"] | {"encoder": {"dim": 128}}, "training": {"steps": 300}}
    (finding,) = verdict_of(rows, settings).findings
    assert str(finding).startswith("dimensional collapse since step 100: effective rank 4.2 of 128 (teacher)")
    assert verdict_of(rows[:3], settings).healthy  # two measurements are not enough while training goes on


def test_the_series_of_a_fault_is_the_newest_one() -> None:
    rows = log({})
    for place in (2, 8, 10):  # steps 100, 400 and 500
        rows[place]["update"] = 2 * STEP
    (finding,) = verdict_of(rows, MASKED).findings
    assert finding.since == 400


def test_a_graver_fault_covers_those_that_follow_from_it() -> None:
    verdict = verdict_of(log(FAULTS["complete collapse"]), MASKED)
    assert covers(verdict, "complete collapse")
    assert covers(verdict, "dimensional collapse")
    assert not covers(verdict, "wrong scale")
    assert not covers(verdict_of(log({}), MASKED), "dimensional collapse")


def test_positions_are_ignored_if_they_nearly_always_were() -> None:
    assert verdict_of(log(FAULTS["positions ignored"], since=4), MASKED).healthy
    by_chance = log(FAULTS["positions ignored"], since=1)
    assert [finding.kind for finding in verdict_of(by_chance, MASKED).findings] == ["positions ignored"]
    row = HEALTHY | FAULTS["positions ignored"]
    assert verdict_of([row], MASKED, steps=100).healthy
    assert not verdict_of([row], MASKED, steps=1000).healthy


def test_an_old_log_has_no_verdict() -> None:
    verdict = verdict_of([{"step": 1, "loss": 0.4, "teacher_std": 0.1}], MASKED)
    assert not verdict.measured
    assert not verdict.healthy
    assert not verdict.findings
    assert verdict_of([], {}).measured is False
