"""Recipe files of one's own: they remember their base, and edits may repair them."""

from __future__ import annotations

from pathlib import Path

import pytest

from anyjepa.errors import InputError
from anyjepa.recipes.schema import changes, differences, load_recipe, origin, to_yaml


def test_a_recipe_remembers_its_base_when_it_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: ijepa-demo\nname: mine\ndescription: mine\ntraining: {steps: 200}\n")
    recipe = load_recipe(tmp_path / "mine.yaml")[0]
    (tmp_path / "recipe.yaml").write_text(to_yaml(recipe))
    again = load_recipe(tmp_path / "recipe.yaml")[0]
    assert again == recipe
    plain = again.model_dump(mode="json")
    assert origin(plain) == "ijepa-demo"
    assert ("training.steps", 200, load_recipe("ijepa-demo")[0].training.steps) in (differences(plain) or [])
    assert changes(plain) == ""
    (tmp_path / "other.yaml").write_text("base: mine2.yaml\nname: other\n")
    (tmp_path / "mine2.yaml").write_text(to_yaml(load_recipe("ijepa-demo")[0]))
    assert load_recipe(tmp_path / "other.yaml")[0].based_on is None


def test_a_file_that_is_valid_only_with_the_edits_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("base: ijepa-demo\nname: mine\ntraining: {steps: 300, optimiser: {warmup: 900}}\n")
    with pytest.raises(InputError, match=r"warmup 900 must be shorter"):
        load_recipe(file)
    for edit in ("training.optimiser.warmup=30", "training.steps=9000"):
        recipe, notices = load_recipe(file, [edit])
        assert recipe.training.optimiser.warmup < recipe.training.steps
        assert notices == []
    with pytest.raises(InputError, match=r"warmup 900 must be shorter"):
        load_recipe(file, ["training.seed=1"])
    file.write_text("name: mine\ndata: 3\n")
    with pytest.raises(InputError, match=r"mine\.yaml"):
        load_recipe(file, ["training.seed=1"])
