"""What a model folder, which is meant to be shared, says of the records that it was trained on."""

from __future__ import annotations

import shutil
from pathlib import Path

import anyjepa
from anyjepa.data.ecg.source import training_data
from anyjepa.runs.folder import open_run
from anyjepa.weights.model import fingerprint


def names_of(run: Path) -> set[str]:
    """Ids and patients, as recordings and as data sets name them."""
    dataset = training_data(open_run(run).recipe.data, ())
    return {*dataset.ids, *dataset.groups, *(group.rpartition("/")[2] for group in dataset.groups)}


def test_no_name_can_be_recovered_from_a_model_folder(tiny_run, tmp_path):
    names = names_of(tiny_run)
    anyjepa.evaluate(tiny_run, seeds=1, save_classifier=tmp_path / "classifier", name="kept")
    for folder in (tiny_run / "model", tmp_path / "classifier"):
        content = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
        assert not [name for name in names if fingerprint(name).encode() in content]
        assert not [name for name in names if len(name) > 4 and name.encode() in content]
    kept = (tiny_run / "training_records.json").read_text()
    assert all(fingerprint(name) in kept for name in training_data(open_run(tiny_run).recipe.data, ()).ids)


def test_a_shared_model_still_finds_the_records_that_it_was_trained_on(tiny_run, tmp_path):
    shared = Path(shutil.copytree(tiny_run / "model", tmp_path / "shared"))
    mine, theirs = anyjepa.load(tiny_run), anyjepa.load(shared)
    assert (mine.loaded.records.named, theirs.loaded.records.named) == (True, False)
    dataset = training_data(open_run(tiny_run).recipe.data, ())
    assert theirs.loaded.records.signals == mine.loaded.records.signals
    assert len(theirs.loaded.records.signals) == len(dataset)


def test_its_readme_says_what_is_in_it(tiny_run):
    card = (tiny_run / "model/README.md").read_text()
    assert "- No id of a record or patient, in plain or as a hash." in card
    assert "`training_records.json`, if it exists" in card
