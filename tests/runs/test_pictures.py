"""Runs on images, video and series: what they keep for the report, what the report says of it, and the model card."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import anyjepa
from anyjepa import plot
from anyjepa.evaluation.nearest import nearest
from anyjepa.evaluation.result import Result
from anyjepa.randomness import generator
from anyjepa.recipes.schema import Recipe
from anyjepa.report import write_report
from anyjepa.runs.evaluate import evaluate
from anyjepa.runs.folder import Run
from anyjepa.runs.pretrain import pretrain

RNG = np.random.default_rng(0)
SHAPES = {
    "images": ({"simulator": {"train": 40, "test": 16}, "side": 16}, [4, 4], {"kind": "blocks"}),
    "video": ({"moving_digits": {"clips": 60}, "side": 16}, [2, 4, 4], {"kind": "tubes"}),
    "series": ({"simulator": {"series": 60}}, [8], {"kind": "spans", "min_span": 3}),
}
NAMES = {"images": "images", "video": "videos", "series": "series"}
RAW = {
    "images": np.zeros((2, 20, 30, 3), np.uint8),
    "video": np.zeros((2, 9, 20, 30, 3), np.uint8),
    "series": np.zeros((2, 5, 300)),
}


def tiny(kind: str, **changes) -> Recipe:
    """Two steps."""
    data, patch, masks = SHAPES[kind]
    return Recipe.model_validate(
        {
            "name": f"tiny-{kind}",
            "description": "seconds",
            "data": {"kind": kind, **data, **changes},
            "objective": {
                "encoder": {"patch": patch, "dim": 8, "depth": 1, "heads": 2},
                "predictor": {"dim": 8, "depth": 1, "heads": 2},
                "masks": masks,
            },
            "training": {"steps": 2, "batch_size": 4, "workers": 0, "precision": "32", "optimiser": {"warmup": 1}},
            "evaluation": {"seeds": 1, "min_count": 1, "bootstrap": 20},
        }
    )


@pytest.fixture(scope="module", params=SHAPES)
def run(request, tmp_path_factory) -> Run:
    """Trained for two steps and evaluated."""
    done = pretrain(tiny(request.param), output=tmp_path_factory.mktemp("pictures") / request.param)
    evaluate(done, protocol="knn", task="motion" if request.param == "video" else "class")
    evaluate(done, protocol="linear", task="motion" if request.param == "video" else "class")
    return done


def arrays(run: Run, name: str) -> dict[str, np.ndarray]:
    return dict(np.load(run.artifacts / f"{name}.npz"))


def test_masks_are_those_of_the_first_step(run):
    kept, recipe = arrays(run, "masks"), run.recipe
    grid = tuple(n // p for n, p in zip(recipe.data.size, recipe.objective.encoder.patch, strict=True))
    masks = recipe.objective.masks
    groups = masks.draw(grid, 4, generator(recipe.training.seed, "masks", 0))
    assert str(kept["kind"]) == recipe.data.kind
    if recipe.data.kind == "series":
        np.testing.assert_array_equal(kept["context"], groups[0].context[0])
        assert "often_context" not in kept
        return
    for number, group in enumerate(groups):
        row = group.context[0] if group.context_valid is None else group.context[0][group.context_valid[0]]
        np.testing.assert_array_equal(np.flatnonzero(kept["context"][number, 0]), row)
        assert not (kept["context"][number] & kept["targets"][number].any(1)).any()
    assert kept["pictures"].shape[1:] == ((1, 16, 16, 3) if recipe.data.kind == "images" else (8, 16, 16, 1))
    assert len(kept["often_context"]) == len(groups) == (2 if recipe.data.kind == "video" else 1)
    assert int(kept["counted"]) == 2000
    if recipe.data.kind == "video":  # a tube's token is context or target
        np.testing.assert_allclose(kept["often_context"] + kept["often_target"], 1)


def test_neighbours_are_training_records_and_queries_test_records(run):
    kept = arrays(run, "neighbours")
    assert str(kept["among"]).endswith(f"training {NAMES[run.recipe.data.kind]}")
    assert kept["records"].shape[:2] == kept["labels"].shape == (6, 7)
    assert np.all(np.diff(kept["similarity"], axis=1) <= 0)
    assert ("attention" in kept) == (run.recipe.data.kind == "images")
    if "attention" in kept:
        np.testing.assert_allclose(kept["attention"].sum((1, 2)), 1, rtol=1e-5)


def test_the_report_speaks_of_the_data_in_their_own_words(run):
    page = write_report(run.folder).read_text()
    name = NAMES[run.recipe.data.kind]
    assert f"Training {name}" in page
    groups = "groups" if name == "videos" else name  # those that show one image of a moving digit
    assert f"95 % over {groups} (bootstrap)" in page
    for word in ("There is no", "patients", "ECG", "could not be drawn"):
        assert word not in re.sub(r"<details>.*?</details>|data:image[^\"]*", "", page, flags=re.S)
    assert "Nearest neighbours." in page
    assert ("Where does the model look?" in page) == (run.recipe.data.kind == "images")
    assert ("Use of tokens." in page) == (run.recipe.data.kind != "series")
    assert Result.from_json(next(run.results.glob("linear*.json"))).what == (name, groups)


def test_the_cards_example_runs(run, monkeypatch):
    monkeypatch.chdir(run.folder)
    (code,) = re.findall(r"```python\n(.*?)```", Path("model/README.md").read_text(), flags=re.S)
    found: dict = {"images": RAW["images"], "videos": RAW["video"], "series": RAW["series"]}
    exec(compile(code, "README.md", "exec"), found)
    assert found["vectors"].shape == (2, 8)


def test_predictions_are_explained_place_by_place(run, tmp_path):
    kind = run.recipe.data.kind
    task = "motion" if kind == "video" else "class"
    evaluate(run, protocol="linear", task=task, name="explained", save_classifier=tmp_path / "kept")
    (found,) = anyjepa.load(tmp_path / "kept").explain(RAW[kind][0] + RNG.integers(0, 99, RAW[kind][0].shape, np.uint8))
    table = found.table(found.classes[0])
    where = {
        "images": ["row", "row_end", "column", "column_end"],
        "video": ["frame", "frame_end", "row", "row_end", "column", "column_end"],
        "series": ["channel", "start", "end"],
    }
    assert list(table)[2:-2] == where[kind]
    assert len(table) == {"images": 4 * 4, "video": 5 * 4 * 4, "series": 38 * 6 + 5}[kind]
    assert found.strongest_s is None
    image = plot.explanation(found)
    image.savefig(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        assert np.ptp(np.asarray(picture.convert("L"))) > 50


def test_errors_are_largest_where_nothing_can_be_predicted(tmp_path):
    """All series are one wave, apart from noise in samples 128 to 159."""
    place = np.arange(320)
    wave = np.stack([np.sin(2 * np.pi * place / period) for period in (32, 40, 64, 80, 160)])
    values = np.repeat(wave[None], 48, axis=0)
    values[:, :, 128:160] = RNG.normal(size=(48, 5, 32))
    recipe = tiny("series", length=320).model_dump(mode="json")
    recipe["training"] |= {"steps": 300, "batch_size": 16, "optimiser": {"warmup": 10, "lr": 0.005}}
    recipe["objective"]["encoder"]["dim"] = recipe["objective"]["predictor"]["dim"] = 32
    run = pretrain(Recipe.model_validate(recipe), values, tmp_path / "run")
    kept = arrays(run, "places")
    assert kept["errors"].shape == (2, 40)
    noise = kept["errors"][:, 16:20]
    assert noise.min() > 3 * np.median(kept["errors"])
    assert np.isin(kept["errors"].argmax(1), range(16, 20)).all()
    np.testing.assert_allclose(kept["signals"][0, :, :100], values[0, :, :100], atol=1e-5)
    figure = plot.prediction_error(anyjepa.load(run), values[0])
    assert darkest(figure) == pytest.approx(144, abs=16)


def darkest(figure) -> float:
    """The middle of the darkest background of a series."""
    shades = [shade for shade in figure.axes[0].collections if len(shade.get_facecolor())]
    strongest = max(shades, key=lambda shade: shade.get_facecolor()[0, 3])
    return float(strongest.get_paths()[0].vertices[:, 0].mean())


def test_places_are_kept_for_every_kind_of_data(run):
    kept, kind = arrays(run, "places"), run.recipe.data.kind
    grid = run.recipe.grid
    records = len(kept["colours"])
    assert records == {"images": 6, "video": 1, "series": 2}[kind]
    assert kept["colours"].shape == (records, *grid, 3)
    assert kept["errors"].shape == (records, *grid)
    assert np.isfinite(kept["errors"]).mean() > 0.9  # hardly a place is never hidden in 64 draws
    page = write_report(run.folder).read_text()
    assert "Where is prediction hard?" in page
    assert page.count("Mean error of each hidden place") == 1  # the last of the pictures is described
    assert "Which parts look alike to the model?" in page


def test_an_objective_without_masks_says_so(tmp_path):
    (tmp_path / "recipe.yaml").write_text("name: n\nobjective: {kind: next_embedding}\n")
    page = write_report(tmp_path).read_text()
    assert "No tokens were hidden" in page
    assert "masks.npz" not in page


def test_a_record_is_not_its_own_neighbour_and_the_copy_comes_first():
    features = np.random.default_rng(0).normal(size=(30, 4))
    features[7] = features[3] * 1.0
    rows, similarity = nearest(features, np.array([3]), np.arange(30), 6)
    assert rows[0, 0] == 7
    assert similarity[0, 0] == pytest.approx(1)
    assert 3 not in rows


@pytest.mark.realdata
def test_a_run_on_moving_mnist_is_evaluated_on_its_own_clips(test_data, tmp_path):
    recipe = tiny("video", moving_mnist={"clips": 20, "test_clips": 10, "frames": 8})
    run = pretrain(recipe, test_data / "mnist", tmp_path / "run")
    assert evaluate(run, test_data / "mnist", protocol="knn").records == 30
