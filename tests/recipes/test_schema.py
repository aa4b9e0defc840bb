"""Recipes: the published numbers, edits, and one-line errors."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from anyjepa.errors import InputError
from anyjepa.objectives.masked import MaskedPrediction
from anyjepa.recipes.plain import recipe_names
from anyjepa.recipes.schema import changes, differences, load_recipe, to_yaml
from anyjepa.runs.objective import build_objective


def count(model: MaskedPrediction, part: str) -> int:
    return sum(p.numel() for p in getattr(model, part).parameters())


@pytest.mark.parametrize(
    ("name", "encoder", "predictor"),
    [
        ("ecg-jepa-xs", 3_600_000, 923_328),
        ("ecg-jepa-s", 14_277_888, 3_689_856),
        ("ecg-jepa-b", 85_185_024, 21_833_472),
        ("ecg-jepa-xs-1lead", 3_547_200, 923_328),  # 25 x 11 x 192 fewer in the patches' projection
        ("ecg-jepa-xs-2lead", 3_552_000, 923_328),
    ],
)
def test_published_sizes(name: str, encoder: int, predictor: int) -> None:
    model = build_objective(load_recipe(name)[0])
    assert (count(model, "student"), count(model, "predictor")) == (encoder, predictor)


@pytest.mark.parametrize(("name", "batch", "micro"), [("xs", 2048, 1), ("s", 2048, 1), ("b", 1024, 2)])
def test_published_settings(name: str, batch: int, micro: int) -> None:
    recipe = load_recipe(f"ecg-jepa-{name}")[0]
    training, optimiser = recipe.training, recipe.training.optimiser
    assert (training.steps, training.batch_size, training.accumulation) == (100_000, batch, micro)
    assert (training.order, training.checkpoint_every) == ("replacement", 10_000)
    assert (optimiser.lr, optimiser.start_lr, optimiser.final_lr, optimiser.warmup) == (1e-3, 1e-6, 1e-6, 10_000)
    assert (optimiser.weight_decay, optimiser.betas, optimiser.eps) == ((0.01, 0.1), (0.9, 0.99), 1e-6)
    assert (optimiser.clip, optimiser.decay_rule) == (None, "matrices")
    assert (recipe.data.fs, recipe.data.size, recipe.data.channels, recipe.data.clip) == (500, (5000,), 12, 5)
    assert recipe.data.leads == ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    assert not recipe.data.absolute_time
    objective = recipe.objective
    assert (objective.masks.keep, objective.masks.min_span, objective.masks.edges) == ((0.15, 0.25), 10, "reference")
    assert (objective.target.momentum, objective.target.update) == ((0.998, 0.9995), "before")
    assert not objective.target.normalise
    assert objective.distance.kind == "l1"
    for block in (objective.encoder.block, objective.predictor.block):
        assert (block.mlp_ratio, block.bias, block.qkv_bias, block.norm_eps) == (4, False, False, 1e-6)
        assert (block.dropout, block.attention_dropout, block.drop_path, block.layer_scale) == (0, 0, 0, None)
    assert objective.encoder.positions == objective.predictor.positions
    assert (objective.encoder.positions.kind, objective.encoder.registers) == ("sincos", 1)
    assert objective.encoder.init == "scaled"


@pytest.mark.parametrize("name", recipe_names())
def test_a_printed_recipe_is_the_recipe(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)[0]
    (tmp_path / "copy.yaml").write_text(to_yaml(recipe))
    assert load_recipe(tmp_path / "copy.yaml")[0] == recipe


def test_edits_are_typed_values() -> None:
    recipe, notices = load_recipe(
        "ecg-jepa-demo", ["training.steps=700", "objective.masks.keep=[0.3, 0.4]", "data.missing_leads=zero"]
    )
    assert recipe.training.steps == 700
    assert recipe.objective.masks.keep == (0.3, 0.4)
    assert recipe.data.missing_leads == "zero"
    assert notices == []


def test_another_kind_drops_its_siblings_with_a_notice() -> None:
    recipe, notices = load_recipe("ecg-jepa-xs", ["objective.encoder.positions.kind=learned"])
    assert recipe.objective.encoder.positions.kind == "learned"
    assert notices == [
        "objective.encoder.positions.kind=learned drops layout, base, axes, which belonged to the old kind"
    ]


def test_a_recipe_is_laid_over_its_base(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: ecg-jepa-xs\nname: mine\ntraining: {steps: 50000}\n")
    recipe = load_recipe(tmp_path / "mine.yaml")[0]
    assert (recipe.name, recipe.training.steps, recipe.objective.encoder.dim) == ("mine", 50_000, 192)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("training.stepz=5", r"unknown key 'training\.stepz'; did you mean 'steps'\?"),
        ("objective.masks.min_spam=5", r"unknown key 'objective\.masks\.min_spam'; did you mean 'min_span'\?"),
        ("objective.encoder.positions.layoutt=halves", r"unknown key .*layoutt.*did you mean 'layout'"),
        ("training.steps=-1", r"training\.steps must be greater than 0, got -1"),
        ("training.steps=ten", r"training\.steps must be a whole number, got 'ten'"),
        ("training.batch_size=10000000", r"training\.batch_size must be at most 1048576"),
        ("training.workers=100000", r"training\.workers must be at most 256"),
        ("objective.encoder.dim=1000000000", r"objective\.encoder\.dim must be at most 65536"),
        ("objective.encoder.depth=100000", r"objective\.encoder\.depth must be at most 1000"),
        ("objective.encoder.patch=[100000000]", r"objective\.encoder\.patch\[0\] must be at most"),
        ("objective.predictor.dim=1000000000", r"objective\.predictor\.dim: must be 1 to 65536, or a ratio"),
        ("objective.predictor.depth=100000", r"objective\.predictor\.depth: must be 1 to 1000, or a ratio"),
        ("training.accumulation=7", r"batch_size 2048 is not a multiple of accumulation 7"),
        ("training.optimiser.warmup=100000", r"warmup 100000 must be shorter than steps 100000"),
        ("data.duration_s=0.03", r"not a positive multiple of the patch"),
        ("objective.masks.kind=blobs", r"objective\.masks"),
        ("objective.masks.keep=[0.999, 0.9999]", r"200 tokens cannot be split into context and targets"),
        ("objective.masks.keep=[0.9, 0.1]", r"keep must be 0 < low <= high < 1"),
        ("nonsense", r"--set nonsense: write it as key=value"),
        ("name.x=1", r"'name' is a value, not a table"),
    ],
)
def test_a_wrong_edit_is_one_line(edit: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_recipe("ecg-jepa-xs", [edit])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,", "not YAML"),
        ("just words", "a recipe must be a table of keys, not a str"),
        ("name: x\ndescription: y\n", "key 'objective' is missing"),
        ("name: ../x\ndescription: y\nobjective: {}\n", "name must be text that matches"),
        ("name: 2020-99-99\n", "not YAML"),
        ("name: a\nsteps: !!timestamp 7\n", "line 2 has the tag 'tag:yaml.org,2002:timestamp'; remove it"),
        ("a: !!bool 7\n", "line 1 has the tag"),
        ("a: !!python/object/apply:os.system [x]\n", "line 1 has the tag"),
        ("[" * 100_000, "not YAML"),
        ("base: ecg-jepa-s\n", "recipes inherit one level"),
        ("base: nothing\n", "there is no recipe 'nothing'"),
    ],
)
def test_a_broken_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_recipe(tmp_path / "broken.yaml")
    assert "\n" not in str(error.value)


def test_an_unknown_name_has_a_suggestion() -> None:
    with pytest.raises(InputError, match="there is no recipe 'ecg-jepa-x'; did you mean 'ecg-jepa-xs'"):
        load_recipe("ecg-jepa-x")
    with pytest.raises(InputError, match="there is no such file or folder"):
        load_recipe("absent.yaml")


def test_every_key_has_a_place_in_the_printed_yaml() -> None:
    plain = yaml.safe_load(to_yaml(load_recipe("ecg-jepa-demo")[0]))
    assert set(plain) == {"schema_version", "name", "description", "data", "objective", "training", "evaluation"}


def test_learned_positions_have_no_absolute_time() -> None:
    with pytest.raises(InputError, match=r"data\.absolute_time needs positions without an end"):
        load_recipe("ecg-jepa-demo", ["data.absolute_time=true"])


def test_a_base_file_lies_beside_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(to_yaml(load_recipe("ecg-jepa-demo")[0]))
    (tmp_path / "mine.yaml").write_text("base: base.yaml\nname: mine\n")
    assert load_recipe(tmp_path / "mine.yaml")[0].objective == load_recipe("ecg-jepa-demo")[0].objective
    (tmp_path / "wrong.yaml").write_text("base: [1]\nname: mine\n")
    with pytest.raises(InputError, match="base must be the name of a recipe"):
        load_recipe(tmp_path / "wrong.yaml")


def test_a_changed_recipe_is_not_described_as_the_packaged_one() -> None:
    def told(*edits: str, **other: str) -> str:
        return changes(load_recipe("ecg-jepa-demo", edits)[0].model_dump(mode="json") | other)

    assert told() == told("evaluation.seeds=2") == told("training.steps=200", description="mine") == ""
    assert told("training.steps=200", "data.fs=50") == "ecg-jepa-demo, changed: data.fs=50.0, training.steps=200"
    many = [f"training.{key}=170" for key in ("steps", "workers", "log_every", "seed", "monitor_every")]
    assert told(*many, "data.fs=50", "training.batch_size=4").endswith(", 1 more")
    assert changes({}) == changes({"name": ["ecg-jepa-demo"]}) == ""
    plain = load_recipe("ecg-jepa-demo")[0].model_dump(mode="json")
    steps = plain["training"].pop("steps")
    assert differences(plain | {"new": {"key": 1}}) == [("new.key", 1, None), ("training.steps", None, steps)]


def test_perturbation_is_a_section_of_recipes_for_cells_only() -> None:
    cells, plain = load_recipe("perturb-demo", ["perturbation.bootstrap=3"])[0], load_recipe("ijepa-demo")[0]
    assert cells.perturbation is not None
    assert cells.perturbation.bootstrap == 3
    assert yaml.safe_load(to_yaml(cells))["perturbation"]["bootstrap"] == 3
    assert plain.perturbation is None
    with pytest.raises(InputError, match=r"perturbation: these settings are for cells, and data\.kind is images"):
        load_recipe("ijepa-demo", ["perturbation.bootstrap=3"])


def test_a_short_training_has_a_short_warmup() -> None:
    recipe, notices = load_recipe("ecg-jepa-demo", ["training.steps=20"])
    assert (recipe.training.steps, recipe.training.optimiser.warmup) == (20, 2)
    assert notices == ["20 steps are too few for a warm-up of 160: training.optimiser.warmup=2"]
    recipe, notices = load_recipe("ecg-jepa-demo", ["training.steps=161"])
    assert (recipe.training.optimiser.warmup, notices) == (160, [])
    recipe, _ = load_recipe("ecg-jepa-demo", ["training={steps: 5}"])
    assert (recipe.training.steps, recipe.training.optimiser.warmup) == (5, 0)
    recipe, _ = load_recipe("ecg-jepa-demo", ["training.steps=20", "training.optimiser.lr=0.002"])
    assert (recipe.training.optimiser.lr, recipe.training.optimiser.warmup) == (0.002, 2)
    with pytest.raises(InputError, match="warmup 160 must be shorter than steps 20"):
        load_recipe("ecg-jepa-demo", ["training.steps=20", "training.optimiser.warmup=160"])


@pytest.mark.parametrize("name", recipe_names())
def test_any_recipe_can_be_tried_for_a_few_steps(name: str) -> None:
    assert load_recipe(name, ["training.steps=20"])[0].training.steps == 20


def test_precision_32_may_be_a_number():
    assert load_recipe("ijepa-demo", ["training.precision=32"])[0].training.precision == "32"
    with pytest.raises(InputError, match="precision must be 'auto', '32' or 'bf16'"):
        load_recipe("ijepa-demo", ["training.precision=16"])


def test_an_error_of_an_edit_names_the_edit(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_text(to_yaml(load_recipe("ijepa-demo")[0]))
    edits = ["training.steps=20", "objective.masks.size=3"]
    with pytest.raises(
        InputError, match=r"^--set objective\.masks\.size=3: unknown key 'objective\.masks\.size'; there"
    ):
        load_recipe(path, edits)
    path.write_text(path.read_text().replace("targets: 4", "targets: 0"))
    with pytest.raises(InputError, match=r"board\.yaml: objective\.masks\.targets must be greater than 0, got 0$"):
        load_recipe(path, ["training.steps=20"])
