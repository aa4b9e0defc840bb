"""Folders of classes and of a split: every usual name is known, and what does not fit is refused or named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.data.class_folders import ClassFile, class_files, part_of
from anyjepa.errors import InputError


def files_of(root: Path, *places: str, remarks: list[str] | None = None) -> list[ClassFile]:
    """Each place with a file in it, as `class_files` sees them; remarks: where they go, there must be none if None."""
    for place in places:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    into: list[str] = []
    files = class_files(root, (".png",), "image", into if remarks is None else remarks)
    assert not into
    return files


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("training_set", "train"),
        ("val", "validation"),
        ("valid", "validation"),
        ("VALIDATION", "validation"),
        ("dev", "validation"),
        ("trn", "train"),
        ("TST", "test"),
        ("eval", "validation"),
        ("test", "test"),
        ("testing", "test"),
        ("Test-Set", "test"),
        ("testset", "test"),
        ("cat", None),
        ("set", None),
        ("trains", None),
        ("train2017", None),
    ],
)
def test_names_of_parts(name: str, part: str | None) -> None:
    assert part_of(name) == part


@given(name=st.sampled_from(["train", "training", "val", "test", "dev"]), data=st.data())
def test_case_does_not_matter(name: str, data: st.DataObject) -> None:
    upper = data.draw(st.lists(st.booleans(), min_size=len(name), max_size=len(name)))
    assert part_of("".join(c.upper() if up else c for c, up in zip(name, upper, strict=True))) == part_of(name)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("training", "testing"), ["train", "test"]),
        (("Train", "Valid", "Test"), ["train", "validation", "test"]),
        (("val", "test"), ["validation", "test"]),
        (("test",), ["test"]),
        (("train",), [None]),  # no split
    ],
)
def test_parts_and_classes(tmp_path: Path, names: tuple[str, ...], parts: list[str | None]) -> None:
    files = files_of(tmp_path, *(f"{name}/{label}/1.png" for name in names for label in ("cat", "dog")))
    assert [file.part for file in files] == [part for part in parts for _ in "12"]
    assert [file.label for file in files] == ["cat", "dog"] * len(names)
    assert files[0].id == f"{names[0]}/cat/1.png"


REFUSED = {
    "a folder beside parts": (
        ("train/cat/1.png", "extra/1.png"),
        r"extra: is next to 'train', which is a part of a s",
    ),
    "a class called as a part": (
        ("valid/1.png", "invalid/1.png"),
        r"invalid: is next to 'valid', .* a folder 'train'",
    ),
    "a file beside parts": (("train/cat/1.png", "test/cat/1.png", "logo.png"), r"logo\.png: is next to 'test'"),
    "one part twice": (
        ("train/cat/1.png", "val/cat/1.png", "validation/cat/1.png"),
        "'val' and 'validation' are both the validation part; rename or move one of them",
    ),
    "one part in two cases": (("train/cat/1.png", "Train/cat/1.png"), "'Train' and 'train' are both the train part"),
    "one level deeper": (
        ("set/train/cat/1.png", "set/test/cat/1.png"),
        r"/set: contains 'test' and 'train', the parts of a split; pass this folder itself$",
    ),
    "two levels deeper": (("a/set/train/cat/1.png", "a/set/test/cat/1.png"), "/a/set: contains 'test' and 'train'"),
    "parts below classes": (
        ("cat/train/1.png", "cat/test/1.png", "dog/train/1.png"),
        "/cat: contains 'test' and 'train'",
    ),
    "one part in itself": (("train/cat/1.png", "test/test/1.png"), "/test: contains 'test'"),
    "parts beside others, deeper": (
        ("s/train/1.png", "s/test/1.png", "s/more/1.png"),
        "/s: contains 'test' and 'train'",
    ),
    "a file beside classes": (("cat/1.png", "dog/1.png", "2.png"), r"/2\.png: is next to class folders"),
    "a file beside classes of a part": (
        ("train/cat/1.png", "train/2.png", "test/cat/1.png"),
        r"train/2\.png: is next",
    ),
    "a part without classes": (
        ("train/cat/1.png", "test/1.png"),
        "/test: has no class folders, but .*/train has;",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    places, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        files_of(tmp_path, *places)


def test_a_class_may_be_called_as_a_part_below_a_part(tmp_path: Path) -> None:
    files = files_of(tmp_path, *(f"{part}/{label}/1.png" for part in ("train", "test") for label in ("car", "train")))
    assert [file.label for file in files] == ["car", "train"] * 2


def test_classes_that_a_part_lacks_are_named(tmp_path: Path) -> None:
    remarks: list[str] = []
    files_of(tmp_path, "train/cat/1.png", "train/dog/1.png", "test/cat/1.png", "test/emu/1.png", remarks=remarks)
    assert remarks == [f"{tmp_path}: classes are missing from parts of the split: 'emu' (train), 'dog' (test)"]


def test_folders_without_a_file_to_read_are_named(tmp_path: Path) -> None:
    for name in ("train/bird", "val", "train/cat/deep"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/all.xml").write_text("")
    remarks: list[str] = []
    files_of(tmp_path, "train/cat/1.png", "test/cat/2.png", "test/fox/3.bmp", remarks=remarks)
    assert remarks == [
        f"{tmp_path}: 1 file is not read: 1 .bmp",
        f"{tmp_path}: 4 folders have no file to read: annotations, test/fox, train/bird, ...",
    ]


@pytest.mark.parametrize(
    "names",
    [
        ("train2017", "val2017"),
        ("seg_pred", "seg_test", "seg_train"),
        ("testA", "testB", "trainA", "trainB"),
        ("TestImages", "TrainImages"),
        ("letters_train", "letters_test", "letters"),
        ("test_cats", "test_dogs", "train_cats", "train_dogs"),
        ("train 01", "eval 01"),
    ],
)
@pytest.mark.parametrize("above", ["", "images/"])
def test_folders_that_look_like_parts_are_no_classes(names: tuple[str, ...], above: str, tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"' and '\S.*' look like parts of a split, .*; rename them and pass this folder"
    ):
        files_of(tmp_path, *(f"{above}{name}/{name}/cat/1.png" for name in names))


def test_words_in_the_names_of_classes_are_no_parts(tmp_path: Path) -> None:
    for number, names in enumerate(
        [("train_wagon", "tram"), ("bullet_train", "contest", "car"), ("train_station", "test_tube", "a", "b", "c")]
    ):
        remarks: list[str] = []
        files = files_of(tmp_path / str(number), *(f"{name}/1.png" for name in names), remarks=remarks)
        assert ([file.label for file in files], remarks) == (sorted(names), [])


def test_parts_may_be_doubled_as_archives_unpack_them(tmp_path: Path) -> None:
    files = files_of(
        tmp_path, *(f"{part}_set/{part}_set/{label}/1.png" for part in ("training", "test") for label in ("cat", "dog"))
    )
    assert [(file.part, file.label) for file in files] == [
        ("train", "cat"), ("train", "dog"), ("test", "cat"), ("test", "dog"),
    ]  # fmt: skip
    assert files[0].id == "training_set/training_set/cat/1.png"


@pytest.mark.parametrize(
    ("above", "only", "fix"),
    [
        ("PetImages", "PetImages", "pass {root}/PetImages"),
        ("CUB/images", "CUB", "pass {root}/CUB/images"),
        ("train/images", "images", "move them out of 'images'"),
    ],
)
def test_folders_below_the_only_class_are_named(above: str, only: str, fix: str, tmp_path: Path) -> None:
    remarks: list[str] = []
    files = files_of(tmp_path, *(f"{above}/{label}/1.png" for label in ("cat", "dog", "emu")), remarks=remarks)
    assert {file.label for file in files} == {only}
    assert remarks == [
        f"{tmp_path}: there is one class only, '{only}'; if its folders 'cat' and 'dog' ... are the classes, "
        + fix.format(root=tmp_path)
    ]
    files_of(tmp_path / "flat", "cat/1.png", "cat/new/2.png", remarks=(quiet := []))
    assert quiet == []


def test_folders_below_every_class_are_named(tmp_path: Path) -> None:
    """As of folds or views; other folders in each class, or files next to them, say that these are no classes."""
    remarks: list[str] = []
    files = files_of(
        tmp_path / "folds", "f0/cat/1.png", "f0/dog/1.png", "f1/cat/1.png", "f1/dog/1.png", remarks=remarks
    )
    assert {file.label for file in files} == {"f0", "f1"}
    advice = "if these are the classes, pass one of the folders above them"
    assert remarks == [f"{tmp_path / 'folds'}: every class has the folders 'cat' and 'dog'; {advice}"]
    files_of(tmp_path / "patients", "cat/p1/1.png", "cat/p2/1.png", "dog/p3/1.png", "dog/p4/1.png")
    files_of(tmp_path / "mixed", "cat/a/1.png", "cat/b/1.png", "cat/1.png", "dog/a/1.png", "dog/b/1.png", "dog/1.png")


def test_a_folder_with_other_files_only_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no image; files ending in \.png are read; it holds 2 \.bmp, 1 \.gif$"):
        files_of(tmp_path, "cat/1.bmp", "dog/2.BMP", "dog/3.gif")
