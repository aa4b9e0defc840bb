"""Recipes that could not fit into memory are refused by their numbers, before anything is allocated."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyjepa.data.cells.simulator import CellSimulatorConfig
from anyjepa.data.cells.simulator import simulate as simulate_cells
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.series.simulator import WavesConfig
from anyjepa.data.series.simulator import simulate as simulate_series
from anyjepa.errors import InputError
from anyjepa.recipes.plain import recipe_names
from anyjepa.recipes.schema import load_recipe
from anyjepa.recipes.yaml_text import plain_yaml
from anyjepa.runs.objective import check_objective
from anyjepa.runs.pretrain import pretrain

REFUSED = {
    "a batch of long inputs": (
        ["data.length=4294967296", "objective.encoder.patch=[65536]"],
        "a batch of 32 inputs of .*set ANYJEPA_LIMIT_BATCH=",
    ),
    "a batch of tokens": (
        ["training.batch_size=1048576", "objective.encoder.dim=960"],
        "a batch of 1048576 x 101 tokens of width 960 needs 407 GB, .*set ANYJEPA_LIMIT_BATCH=407GB",
    ),
    "registers": (["objective.encoder.registers=1000000000000"], "at most 4096"),
    "targets": (["objective.masks.targets=1000000000"], "at most 256"),
    "workers": (["training.workers=100000"], "at most 256"),
    "repeats": (["evaluation.seeds=1000000"], "at most 1000"),
    "a number of 70 bits": (["training.steps=1180591620717411303424"], "steps is a number of more than 64 bits"),
    "a number of 20,000 bits": ([f"training.steps=0x{'f' * 5000}"], "steps is a number of more than 64 bits"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_settings_that_cannot_fit_are_refused(what: str) -> None:
    edits, message = REFUSED[what]
    recipe = {"targets": "ijepa-demo", "a batch of long inputs": "series-jepa-demo"}.get(what, "ecg-jepa-demo")
    with pytest.raises(InputError, match=message) as error:
        load_recipe(recipe, edits)
    assert "\n" not in str(error.value)


def test_parameters_are_counted_before_data_are_read(tmp_path: Path) -> None:
    edits = ["objective.encoder.dim=65520", "objective.encoder.depth=20", "training.batch_size=2"]
    with pytest.raises(InputError, match=r"the model needs [\d,]{15,} parameters, .*set ANYJEPA_LIMIT_PARAMETERS="):
        pretrain("ecg-jepa-demo", tmp_path / "not there", tmp_path / "run", edits=edits)


@pytest.mark.parametrize("name", ["vjepa-vit-l16", "ijepa-vit-h14-in1k", "nepa-l14"])
def test_the_largest_published_recipes_are_allowed(name: str) -> None:
    assert name in recipe_names()
    check_objective(load_recipe(name)[0])


def test_a_limit_is_raised_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    edits = REFUSED["a batch of tokens"][0]
    monkeypatch.setenv("ANYJEPA_LIMIT_BATCH", "407GB")
    assert load_recipe("ecg-jepa-demo", edits)[0].training.batch_size == 2**20


def test_embedded_sets_that_cannot_fit_are_refused() -> None:
    for simulate_it, config in (
        (simulate, SimulatorConfig(patients=10**9)),
        (simulate, SimulatorConfig(duration_s=1e9)),
        (simulate_series, WavesConfig(series=10**9)),
        (simulate_cells, CellSimulatorConfig(cells=10**9)),
    ):
        with pytest.raises(InputError, match=r"a simulation of .*set ANYJEPA_LIMIT_MEMORY="):
            simulate_it(config)  # type: ignore[arg-type]


def test_yaml_with_aliases_is_what_it_says() -> None:
    assert plain_yaml("a: &x [1, 2]\nb: *x\nc: {<<: &y {d: 1}, e: *y}", "x") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": {"d": 1, "e": {"d": 1}},
    }
    assert plain_yaml("", "x") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "key 'a' occurs twice"),
        ("a: &a [*a]", "a value in it contains itself"),
        ("a: [", "not YAML"),
        ('a: 1\n"\\ud800": 2', r"x: is not YAML \(line 2 contains half of a character: '.ud800'\)"),
        ('a: {kind: "b\\udfff"}', r"x: is not YAML \(line 1 contains half of a character: 'b.udfff'\)"),
    ],
)
def test_yaml_that_cannot_be_right_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plain_yaml(text, "x")
