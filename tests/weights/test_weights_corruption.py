"""Whatever bytes a model folder holds, loading gives a model or one InputError."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from anyjepa.errors import InputError
from anyjepa.weights.folder import LoadedModel, load_model

edits = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)


def try_to_load(pristine: Path, copy: Path, name: str, content: bytes) -> None:
    shutil.copytree(pristine, copy, dirs_exist_ok=True)
    (copy / name).write_bytes(content)
    try:
        assert isinstance(load_model(copy), LoadedModel)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessing.json", "training_records.json"])
@given(edits=edits, header=st.booleans(), keep=st.none() | st.floats(0, 1))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes(name: str, pristine: Path, tmp_path: Path, edits: list, header: bool, keep: float | None):
    content = bytearray((pristine / name).read_bytes())
    span = min(len(content), 300) if header else len(content)
    for place, value in edits:
        content[int(place * span)] = value
    try_to_load(pristine, tmp_path / "copy", name, content if keep is None else content[: int(keep * len(content))])


numbers = st.sampled_from(
    ["0", "-1", "1e9", "5e9", "1e400", "9" * 40, "NaN", "Infinity", "null", '"x"', "[]", "{}", "1.5"]
)


@given(data=st.data())
@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_wild_numbers_in_the_config(data: st.DataObject, pristine: Path, tmp_path: Path):
    """A number of the config is replaced; without the saved architecture, so that shapes alone must show it."""

    text = (pristine / "config.json").read_text()
    found = list(re.finditer(r"-?\d+(\.\d+)?(e-?\d+)?", text))
    place = data.draw(st.sampled_from(found))
    text = text[: place.start()] + data.draw(numbers) + text[place.end() :]
    copy = tmp_path / "copy"
    shutil.copytree(pristine, copy, dirs_exist_ok=True)
    save_file(load_file(pristine / "model.safetensors"), copy / "model.safetensors")
    (copy / "config.json").write_text(text)
    try:
        assert isinstance(load_model(copy), LoadedModel)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_flipped_bit_in_the_tensors_is_noticed(pristine: Path, tmp_path: Path, place: float, bit: int):
    """Weights have a checksum: a model never loads with other numbers than were saved."""
    content = bytearray((pristine / "model.safetensors").read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    content[start + int(place * (len(content) - start))] ^= 1 << bit
    shutil.copytree(pristine, tmp_path / "copy", dirs_exist_ok=True)
    (tmp_path / "copy/model.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"its checksum does not match|NaN or infinite"):
        load_model(tmp_path / "copy")


def test_a_changed_preprocessing_is_noticed(pristine: Path, tmp_path: Path):
    shutil.copytree(pristine, tmp_path / "copy")
    assert not load_model(tmp_path / "copy").preprocessing_changed
    file = tmp_path / "copy/preprocessing.json"
    file.write_text(json.dumps(json.loads(file.read_text())))  # laid out in another way
    assert not load_model(tmp_path / "copy").preprocessing_changed
    file.write_text(json.dumps(json.loads(file.read_text()) | {"fs": 101.0}))
    assert load_model(tmp_path / "copy").preprocessing_changed
