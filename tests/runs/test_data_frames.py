"""Tables of labels may be in memory, results become data frames, and a loaded model can be saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import anyjepa
from anyjepa.data.ecg.simulated.simulator import SimulatorConfig, simulate
from anyjepa.data.labels import read_label_table
from anyjepa.data.split_files import read_split
from anyjepa.errors import InputError


class Polars:
    """A table that offers itself to Arrow as polars does, with views of texts."""

    def __init__(self, frame: pd.DataFrame):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        types = [
            pa.string_view() if field.type in (pa.string(), pa.large_string()) else field.type for field in table.schema
        ]
        self.table = table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


FRAME = pd.DataFrame({
    "id": ["a", "b", "c", "d"],
    "beat": pd.Categorical(["x", "y", "x", "y"]),
    "AF": [True, False, True, False],
    "patient": [1, 2, 3, 3],
    "part": ["train", "test", "validation", "validation"],
})  # fmt: skip
LIBRARIES = [
    lambda frame: frame,
    Polars,
    lambda frame: pa.Table.from_pandas(frame),
    lambda frame: frame.set_index("part"),
]


@pytest.mark.parametrize("library", LIBRARIES[:3])
@pytest.mark.parametrize("target", ["beat", ["AF"]])
def test_a_table_in_memory_is_read_as_its_file(tmp_path, library, target):
    FRAME.to_csv(tmp_path / "labels.csv", index=False)
    of_file = read_label_table(tmp_path / "labels.csv", "id", target, "patient", "part")
    found = read_label_table(library(FRAME), "id", target, "patient", "part")
    assert np.array_equal(found.values, of_file.values)
    assert (found.ids, found.classes, found.groups, found.split) == (
        of_file.ids, of_file.classes, of_file.groups, of_file.split,
    )  # fmt: skip


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_is_wrong_with_it_is_one_clear_line(library):
    frame = library(FRAME.assign(AF=["yes", None, "no", "no"]))
    with pytest.raises(InputError, match=r"^table: column 'beet' is missing; did you mean 'beat'\?$"):
        read_label_table(frame, "id", "beet", "patient")
    with pytest.raises(InputError, match=r"^table: row 2: column 'AF' is empty; fill in or remove the row$"):
        read_label_table(frame, "id", ["AF", "beat"], "patient")
    with pytest.raises(InputError, match=r"^table: cannot be read as a table \("):
        read_label_table(pd.DataFrame({"id": ["a", 1], "beat": ["x", "y"]}), "id", "beat", split_by="record")


def test_a_split_may_be_in_memory(tmp_path):
    frame = FRAME.rename(columns={"part": "split"})[["id", "split"]]
    assert read_split(frame).split == ("train", "test", "validation", "validation")
    assert read_split(Polars(frame)).ids == ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def labels() -> pd.DataFrame:
    records = simulate(SimulatorConfig(patients=44, fs=100, duration_s=6))  # the tiny recipe's
    return pd.DataFrame({"id": [r.id for r in records], "odd": [i % 2 for i in range(44)]})


def test_an_evaluation_takes_a_data_frame_and_gives_one(tiny_run: Path, labels: pd.DataFrame, monkeypatch):
    results = tiny_run / "results"
    before = set(results.glob("*.json"))
    names = set()
    for frame in (labels, labels.assign(odd=1 - labels["odd"])):
        table = anyjepa.LabelFile(frame, "id", "odd", split_by="record")
        result = anyjepa.evaluate(tiny_run, labels=table, folds=2, bootstrap=0)
        names |= set(results.glob("*.json")) - before - names
    assert len(names) == 2  # other labels are another evaluation
    found = result.table()
    assert result.task == "odd (table)"
    area = found[(found["row"] == "pretrained (teacher)") & (found["metric"] == "macro_auroc")]
    assert area["mean"].tolist() == [result.rows[0].metrics["macro_auroc"].mean]
    assert found[found["class"] == "odd"]["metric"].tolist().count("auroc") == len(result.rows)
    assert found["low"].isna().sum() < len(found)
    every = anyjepa.results(tiny_run)
    assert set(every["result"]) == {file.stem for file in results.glob("*.json")}
    own = every[every["result"].isin([name.stem for name in names])]
    assert len(own) == 2 * len(found)
    for name in names:
        name.unlink()


def test_without_results_there_is_one_clear_line(tmp_path, tiny_recipe):
    run = anyjepa.pretrain(tiny_recipe, output=tmp_path / "run", edits=["training.steps=2"])
    with pytest.raises(InputError, match=r"run'.*: was not evaluated yet$"):
        anyjepa.results(run)
    with pytest.raises(InputError, match=r"^results: no run: was not evaluated yet$"):
        anyjepa.results()


@pytest.mark.parametrize("weights", ["teacher", "student"])
def test_a_saved_model_is_the_loaded_one(tiny_run: Path, tmp_path: Path, weights) -> None:
    records = [r.signal for r in simulate(SimulatorConfig(patients=3, fs=100, duration_s=6))]
    model = anyjepa.load(tiny_run, weights)
    assert model.save(tmp_path / "copy") == tmp_path / "copy"
    again = anyjepa.load(tmp_path / "copy")
    assert np.array_equal(again.embed(records, fs=100), model.embed(records, fs=100))
    assert again.loaded.weights == weights
    assert again.loaded.config.provenance == model.loaded.config.provenance
    assert again.loaded.predictor is not None
    (tmp_path / "copy" / "mine.txt").touch()
    with pytest.raises(InputError, match=r"contains 'mine\.txt', which is not part of a model; choose another folder"):
        model.save(tmp_path / "copy")


def test_a_saved_classifier_keeps_its_calibration(tiny_run: Path, tmp_path: Path) -> None:
    records = [r.signal for r in simulate(SimulatorConfig(patients=3, fs=100, duration_s=6))]
    anyjepa.evaluate(tiny_run, bootstrap=0, name="kept", save_classifier=tmp_path / "classifier")
    model = anyjepa.load(tmp_path / "classifier")
    again = anyjepa.load(model.save(tmp_path / "copy"))
    assert again.predict_classes(records, fs=100).table().equals(model.predict_classes(records, fs=100).table())
