from __future__ import annotations

import ast
import json
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from anyjepa.errors import InputError
from anyjepa.nn.pooling import HeadConfig, TokenHead
from anyjepa.objectives.masked import MaskedPrediction
from anyjepa.weights.card import model_card
from anyjepa.weights.folder import LoadedModel, load_model, read_config, save_model, save_pretrained
from anyjepa.weights.model import ClassifierConfig, Provenance


def test_a_model_saved_again_has_the_same_bytes(pristine: Path, objective: MaskedPrediction, tmp_path: Path):
    model = load_model(pristine)
    for attempt in range(6):
        again = save_pretrained(
            tmp_path / str(attempt) / "model", objective, model.preprocessing, model.provenance, model.records
        )
        for path in pristine.iterdir():
            assert (again / path.name).read_bytes() == path.read_bytes(), path.name


def test_round_trip(pristine: Path, objective: MaskedPrediction):
    model, x = load_model(pristine), torch.randn(3, 2, 50)
    assert model.weights == "teacher"
    assert not model.encoder.training
    assert torch.equal(model.encoder(x).values, objective.target.encoder(x).values)
    assert all(
        torch.equal(a, b) for a, b in zip(model.predictor.parameters(), objective.predictor.parameters(), strict=True)
    )
    student = load_model(pristine, "student")
    assert student.weights == "student"
    assert torch.equal(student.encoder(x).values, objective.student(x).values)
    assert model.preprocessing == {"kind": "ecg", "fs": 500.0, "leads": ["I", "II"], "note": "Ångström"}
    assert model.provenance.steps == 7
    assert model.head is None
    assert model.records is not None
    assert (model.records.ids, model.records.groups, model.records.named) == ((), (), False)  # not to be shared
    assert model.records.saw_signals(["digest", "other"]) == ["digest"]
    assert model.records.sources == ("mine",)


def test_files_are_what_the_format_says(pristine: Path):
    names = {path.name for path in pristine.iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "student.safetensors",
        "preprocessing.json",
        "training_records.json",
        "README.md",
    }
    assert {name.partition(".")[0] for name in load_file(pristine / "model.safetensors")} == {"encoder", "predictor"}
    assert {name.partition(".")[0] for name in load_file(pristine / "student.safetensors")} == {"encoder"}
    assert list(pristine.parent.iterdir()) == [pristine]  # no temporary folder stays


def test_a_loaded_model_can_be_trained(folder: Path):
    model, x = load_model(folder), torch.randn(2, 2, 50)
    shutil.rmtree(folder)  # nothing is mapped from the files
    model.encoder(x).values.sum().backward()
    assert all(p.grad is not None for p in model.encoder.parameters())


def test_a_classifier_keeps_its_head(pristine: Path, objective: MaskedPrediction, tmp_path: Path):
    head = TokenHead(HeadConfig(kind="attentive"), 8, 2, 3)
    settings = ClassifierConfig(head=head.config, classes=("a", "b", "c"), exclusive=True, window=25, stride=10)
    config = read_config(pristine).model_copy(
        update={"weights": "fine-tuned", "predictor": False, "classifier": settings}
    )
    tensors = torch.nn.ModuleDict({"encoder": objective.student, "head": head}).state_dict()
    model = load_model(save_model(tmp_path / "classifier", config, tensors, {"kind": "ecg"}))
    x = torch.randn(3, 2, 50)
    assert model.weights == "fine-tuned"
    assert model.predictor is None
    assert model.head is not None
    assert torch.equal(model.head(*model.encoder.features(x)), head(*objective.student.features(x)))
    with pytest.raises(InputError, match="has no student weights, only fine-tuned"):
        load_model(tmp_path / "classifier", "student")


def edit_json(name: str, change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        change(content)
        (folder / name).write_text(json.dumps(content))

    return edit


def edit_tensors(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "model.safetensors"
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata)

    return edit


def truncate(name: str, share: float) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return cut


NORM = "encoder.norm.weight"
FAR = {"head": {"kind": "mean"}, "classes": ["a"], "exclusive": False, "window": 10, "stride": 10**30}
BROKEN = {
    "no config": (
        lambda f: (f / "config.json").unlink(),
        "is neither a run nor a model folder; there is no config.json in it",
    ),
    "no tensors": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors: there is no such file"),
    "no preprocessing": (lambda f: (f / "preprocessing.json").unlink(), "preprocessing.json: there is no such file"),
    "config is text": (lambda f: (f / "config.json").write_text("hello"), "config.json: is not JSON (Expecting value"),
    "config is binary": (lambda f: (f / "config.json").write_bytes(b"\xff\xfe\0"), "config.json: is not JSON"),
    "config is a list": (lambda f: (f / "config.json").write_text("[]"), "config.json: must contain a JSON object"),
    "deep JSON": (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json: is not JSON"),
    "unknown key": (
        edit_json("config.json", lambda c: c["objective"]["encoder"].update(dimm=3)),
        "config.json: unknown key 'objective.encoder.dimm'; did you mean 'dim'?",
    ),
    "missing key": (
        edit_json("config.json", lambda c: c["objective"]["encoder"].pop("dim")),
        "config.json: key 'objective.encoder.dim' is missing",
    ),
    "wrong type": (
        edit_json("config.json", lambda c: c.update(channels="two")),
        "config.json: channels must be",
    ),
    "newer schema": (
        edit_json("config.json", lambda c: c.update(schema_version=2, future=1)),
        "config.json: schema_version 2 was written by a newer anyjepa",
    ),
    "no schema": (
        edit_json("config.json", lambda c: c.pop("schema_version")),
        "schema_version must be from 1 to 1, got None",
    ),
    "boolean schema": (
        edit_json("config.json", lambda c: c.update(schema_version=True)),
        "schema_version must be from 1 to 1, got True",
    ),
    "size is no multiple": (
        edit_json("config.json", lambda c: c.update(size=[52])),
        "config.json: input of (52,) samples is not a positive multiple of the patch (5,)",
    ),
    "gigantic stride": (
        edit_json("config.json", lambda c: c.update(classifier=FAR)),
        "config.json: classifier.stride must be at most",
    ),
    "gigantic size": (edit_json("config.json", lambda c: c.update(size=[5e12])), "a position table of"),
    "more blocks": (
        edit_json("config.json", lambda c: c["objective"]["encoder"].update(depth=1000)),
        "was saved with another config: objective.encoder.depth is 1000, was 2",
    ),
    "absurdly many blocks": (
        edit_json("config.json", lambda c: c["objective"]["encoder"].update(depth=10**12)),
        "config.json: objective.encoder.depth must be at most 1000",
    ),
    "other heads": (  # no shape shows it
        edit_json("config.json", lambda c: c["objective"]["encoder"].update(heads=4)),
        "model.safetensors: was saved with another config: objective.encoder.heads is 4, was 2",
    ),
    "missing tensor": (edit_tensors(lambda t: t.pop(NORM)), f"model.safetensors: tensor '{NORM}' is missing"),
    "extra tensor": (
        edit_tensors(lambda t: t.update({"encoder.more": torch.ones(1)})),
        "model.safetensors: tensor 'encoder.more' does not belong to this model",
    ),
    "missing block": (
        edit_tensors(lambda t: [t.pop(name) for name in list(t) if ".blocks.1." in name]),
        "model.safetensors: its encoder has 1 blocks, its config says 2",
    ),
    "wrong shape": (
        edit_tensors(lambda t: t.update({NORM: torch.ones(9)})),
        f"model.safetensors: tensor '{NORM}' has shape (9,), expected (8,)",
    ),
    "wrong type of tensor": (
        edit_tensors(lambda t: t.update({NORM: torch.ones(8).half()})),
        f"model.safetensors: tensor '{NORM}' is torch.float16, expected torch.float32",
    ),
    "NaN": (
        edit_tensors(lambda t: t[NORM].__setitem__(3, torch.nan)),
        f"model.safetensors: tensor '{NORM}' contains NaN or infinite values",
    ),
    "half the tensors": (
        truncate("model.safetensors", 0.5),
        "model.safetensors: is truncated or not a safetensors file",
    ),
    "empty tensors": (truncate("model.safetensors", 0), "model.safetensors: is truncated or not a safetensors file"),
    "tensors are a folder": (
        lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
        "model.safetensors: ",
    ),
    "preprocessing without kind": (
        edit_json("preprocessing.json", lambda c: c.pop("kind")),
        "preprocessing.json: preprocessing must be a JSON object whose 'kind' is a name",
    ),
    "records": (
        edit_json("training_records.json", lambda c: c.pop("ids")),
        "training_records.json: key 'ids' is missing",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_the_first_mismatch_is_named_in_one_line(case: str, folder: Path):
    spoil, message = BROKEN[case]
    spoil(folder)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        load_model(folder)
    assert str(caught.value).startswith(str(folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessing.json", "training_records.json"])
def test_a_fifo_in_a_model_folder_is_refused_at_once(name: str, folder: Path):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=rf"{re.escape(name)}: is a FIFO; only regular files are read"):
        load_model(folder)


def test_a_broken_student_does_not_hide_behind_the_teacher(folder: Path):
    save_file({"encoder.norm.weight": torch.ones(8)}, folder / "student.safetensors")
    load_model(folder)
    with pytest.raises(InputError, match=r"student\.safetensors: its encoder has 0 blocks"):
        load_model(folder, "student")
    (folder / "student.safetensors").unlink()
    with pytest.raises(InputError, match="has no student weights, only teacher"):
        load_model(folder, "student")


def test_tensors_saved_again_by_another_program_still_load(folder: Path):
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")  # metadata is gone
    assert isinstance(load_model(folder), LoadedModel)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Writing past `size` bytes fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_the_old_folder(folder: Path, objective: MaskedPrediction):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with largest_file(4096), pytest.raises(InputError, match=r"cannot be written \(File too large\)"):
        save_pretrained(folder, objective, {"kind": "other"}, Provenance(data="new"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert list(folder.parent.iterdir()) == [folder]
    save_pretrained(folder, objective, {"kind": "other"}, Provenance(data="new"))
    assert load_model(folder).preprocessing == {"kind": "other"}
    assert not (folder / "training_records.json").exists()  # nothing of the old folder is left in the new one


def test_only_a_model_folder_is_replaced(tmp_path: Path, objective: MaskedPrediction):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"contains 'thesis\.tex', which is not part of a model"):
        save_pretrained(tmp_path, objective, {"kind": "ecg"}, Provenance(data="x"))
    with pytest.raises(InputError, match="is a file; choose another folder"):
        save_pretrained(tmp_path / "thesis.tex", objective, {"kind": "ecg"}, Provenance(data="x"))
    with pytest.raises(InputError, match=r"cannot be written"):
        save_pretrained(tmp_path / "thesis.tex" / "model", objective, {"kind": "ecg"}, Provenance(data="x"))


def test_nothing_is_saved_that_could_not_be_loaded(pristine: Path, tmp_path: Path):
    config, tensors = read_config(pristine), load_file(pristine / "model.safetensors")
    with pytest.raises(InputError, match="is missing"):
        save_model(tmp_path / "m", config, {n: t for n, t in tensors.items() if n != NORM}, {"kind": "ecg"})
    with pytest.raises(InputError, match="NaN"):
        save_model(tmp_path / "m", config, tensors | {NORM: torch.full((8,), torch.nan)}, {"kind": "ecg"})
    with pytest.raises(InputError, match="'kind' is a name"):
        save_model(tmp_path / "m", config, tensors, {})
    assert not (tmp_path / "m").exists()


def test_paths_that_are_no_folder(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="there is no such run or model"):
        load_model(tmp_path / "nothing")
    with pytest.raises(InputError, match="is a file, but a model is a folder"):
        load_model(folder / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="there is no such run or model"):
        load_model("model/missing")  # the folder 'model' is here, so this is no name on the hub


@pytest.mark.parametrize(
    "path", ["./x", "./runs/x", "../x", "/runs/x", "~/x", "runs/x/", "runs/x/model", "runs/.x", "x", Path("runs/x")]
)
def test_a_path_is_never_looked_up_on_the_hub(path: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked the hub"))
    with pytest.raises(InputError, match="there is no such run or model"):
        load_model(path)


def test_a_hugging_face_id(folder: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(folder))
    assert load_model("someone/ecg-model").weights == "teacher"


@pytest.mark.parametrize("name", ["hf:", "hf:a", "hf:a/b/c"])
def test_an_incomplete_hugging_face_id(name: str):
    with pytest.raises(
        InputError,
        match=f"{name}: there is no such run or model; pass a folder, a name from 'anyjepa models', or hf:OWNER/NAME",
    ):
        load_model(name)


def test_a_hugging_face_id_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="ecg-model: is not a folder here; the Hugging Face Hub cannot be") as caught:
        load_model("someone/ecg-model")
    assert "\n" not in str(caught.value)


def test_card(pristine: Path, objective: MaskedPrediction):
    card = (pristine / "README.md").read_text()
    encoder = sum(p.numel() for p in objective.student.parameters())
    for text in ("ten records", f"encoder {encoder:,}", "| optimiser steps | 7 |", 'anyjepa.load("model")', "Ångström"):
        assert text in card


HOSTILE = "<img src=x onerror=a()> | [b](http://c) `d` **e** _f_ # $g$ &lt; x_y\n---\nlicense: h\n\x1b[31m\u202e"
SHOWN = (
    r"&lt;img src=x onerror=a()&gt; \| \[b\](http\://c) \`d\` \*\*e\*\* \_f\_ \# \$g\$ &amp;lt; x_y "
    r"--- license: h \\x1b\[31m\\u202e"
)


def test_a_card_says_what_is_true_of_cells_and_videos(pristine: Path):
    config = load_model(pristine).config
    cells, videos = (model_card("a", config, {"kind": kind}, {"encoder": 1}) for kind in ("cells", "video"))
    assert "- Inputs with another order of genes or scale give" in cells
    assert "- Inputs with another frame rate, order of channels or range of values give" in videos
    assert "a list of videos of any size, at least one clip long" in videos
    assert "samples; longer videos are read in half-overlapping clips" in videos


def test_text_in_a_card_reads_as_it_is(pristine: Path):
    """Folder, provenance, classes and preprocessing come from outside: no HTML, Markdown, YAML, control characters."""
    config = load_model(pristine).config
    made = Provenance(data=HOSTILE, recipe=HOSTILE, origin=HOSTILE, notes=(HOSTILE,))
    head = ClassifierConfig(head=HeadConfig(), classes=(HOSTILE, "b"), exclusive=True)
    config = config.model_copy(update={"provenance": made, "classifier": head})
    card = model_card(f'a"{HOSTILE}', config, {"kind": "ecg", HOSTILE: HOSTILE, "leads": [HOSTILE]}, {"encoder": 1})
    plain = model_card("a", load_model(pristine).config, {"kind": "ecg", "x": 1, "leads": ["I"]}, {"encoder": 1})
    assert card.count(SHOWN) == 9
    (call,) = (line for line in card.splitlines() if line.startswith("model = anyjepa.load("))
    assert "<" not in card.replace(call, "")  # code is shown as it is
    assert card.replace("\n", "").isprintable()
    assert len(card.splitlines()) == len(plain.splitlines()) + 4  # recipe, origin, a note and predictions; classes
    assert card.startswith("---\nlibrary_name: anyjepa\ntags: [self-supervised, jepa]\n---\n# a")
    assert ast.literal_eval(call.removeprefix("model = anyjepa.load(").removesuffix(")")) == f'a"{HOSTILE}'


def test_a_link_in_a_circle_is_no_place_for_a_model(pristine: Path, objective: MaskedPrediction, tmp_path: Path):
    model, place = load_model(pristine), tmp_path / "model"
    place.symlink_to("model")
    with pytest.raises(InputError, match="cannot be written"):
        save_pretrained(place, objective, model.preprocessing, model.provenance, model.records)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
