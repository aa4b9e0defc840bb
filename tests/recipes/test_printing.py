"""Recipes as people read them: commented YAML, and what the list says about each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyjepa.recipes.plain import about, recipe_names
from anyjepa.recipes.printing import commented
from anyjepa.recipes.schema import load_recipe


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("name", recipe_names())
def test_a_printed_recipe_is_the_recipe(name: str, everything: bool, tmp_path: Path) -> None:
    recipe = load_recipe(name)[0]
    (tmp_path / "copy.yaml").write_text(commented(recipe, everything))
    assert load_recipe(tmp_path / "copy.yaml")[0] == recipe


def test_keys_have_descriptions_and_unused_sections_are_left_out() -> None:
    text = commented(load_recipe("ecg-jepa-xs")[0])
    assert "    dim: 192  # width D\n" in text
    assert "evaluation:" not in text
    assert "simulator:" not in text
    assert "\n  linear:" in commented(load_recipe("ecg-jepa-xs")[0], everything=True)
    edited = commented(load_recipe("ecg-jepa-xs", ["evaluation.seeds=9", "data.simulator.patients=3"])[0])
    assert "\nevaluation:" in edited
    assert "\n  seeds: 9" in edited
    assert "    patients: 3" in edited


@pytest.mark.parametrize("name", recipe_names())
def test_the_list_says_what_the_recipe_is(name: str) -> None:
    recipe = load_recipe(name)[0]
    with torch.device("meta"):
        objective = recipe.objective.build(recipe.data.channels, recipe.data.size, getattr(recipe.data, "other", None))
    (encoder, *_) = objective.encoders().values()
    millions = sum(parameter.numel() for parameter in encoder.parameters()) / 1e6
    listed = about(name)
    assert listed["data"] == recipe.data.kind
    assert listed["parameters"] == f"{float(f'{millions:.2g}'):g} M"
    assert (listed["needs"] == "nothing (simulated)") == name.endswith(("-demo", "-sim"))
