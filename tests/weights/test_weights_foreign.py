from __future__ import annotations

import os
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anyjepa.errors import InputError
from anyjepa.weights.foreign import read_foreign


class Attack:
    def __init__(self, victim: Path):
        self.victim = victim

    def __reduce__(self):
        return os.system, (f"touch {self.victim}",)


@pytest.mark.parametrize("form", ["pickle", "new pickle", "torch", "legacy torch"])
def test_a_malicious_checkpoint_is_refused_and_does_nothing(form: str, tmp_path: Path):
    path, victim = tmp_path / "chkpt_1.pt", tmp_path / "victim"
    content = {"model": {"encoder.norm.weight": torch.ones(3)}, "config": Attack(victim)}
    if "pickle" in form:
        path.write_bytes(pickle.dumps(content["config"], protocol=2 if form == "pickle" else 5))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "torch")
    reason = (
        "is not a PyTorch checkpoint" if form == "new pickle" else "refused, its pickle asks to run '(posix|nt).system'"
    )
    with pytest.raises(InputError, match=rf"chkpt_1\.pt: {reason}") as caught:
        read_foreign(path)
    assert "\n" not in str(caught.value)
    assert not victim.exists()
    with path.open("rb") as file:  # the file would have done it
        pickle.load(file) if "pickle" in form else torch.load(file, weights_only=False)
    assert victim.exists()


def test_odd_escapes_in_a_pickle_are_refused_without_a_warning(tmp_path: Path):
    (tmp_path / "x.pt").write_bytes(b"S'\\q'\n.")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(InputError, match="PyTorch checkpoint"):
            read_foreign(tmp_path / "x.pt")
    assert not caught


def test_files_that_are_no_checkpoint(tmp_path: Path):
    path = tmp_path / "file.pt"
    for content in (b"", b"hello", b"\x80\x02", bytes(range(256)) * 8):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"file\.pt: is not a PyTorch checkpoint"):
            read_foreign(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(InputError, match="is not a PyTorch checkpoint"):
        read_foreign(path)
    torch.save([torch.ones(2)], path)
    with pytest.raises(InputError, match="contains a list; it must contain a dictionary"):
        read_foreign(path)
    with pytest.raises(InputError, match=r"missing\.pt: there is no such file"):
        read_foreign(tmp_path / "missing.pt")
    with pytest.raises(InputError, match="is a folder; only regular files are read"):
        read_foreign(tmp_path)
    os.mkfifo(tmp_path / "fifo.pt")
    with pytest.raises(InputError, match=r"fifo\.pt: is a FIFO"):
        read_foreign(tmp_path / "fifo.pt")
    torch.save({"a": torch.ones(999)}, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"file\.pt: .*(truncated|is not a PyTorch checkpoint)"):
        read_foreign(path)


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_any_corruption_is_an_input_error_or_reads(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("fuzz") / "file.pt"
    torch.save({"model": {"a": torch.ones(3)}, "step": 2}, path)
    content = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=5)):
        content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        assert isinstance(read_foreign(path), dict)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
