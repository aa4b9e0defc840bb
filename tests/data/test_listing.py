"""Everything in a folder is read once or named, whatever links, names and files lie in it."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anyjepa.data.listing import Listing, list_folder, set_name, tell
from anyjepa.errors import DataWarning, InputError

SUFFIXES = (".png", ".jpg")


def write(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def names(listing: Listing) -> list[str]:
    return [listing.name(path) for path in listing.files]


def test_files_in_the_order_of_paths_and_what_is_not_read_counted_by_ending(tmp_path: Path) -> None:
    write(*(tmp_path / name for name in ("b/2.PNG", "b/1.Jpg", "a.png", "b.png", "a/x/1.png")))
    write(*(tmp_path / f"b/{n}.bmp" for n in range(10)), tmp_path / "1.txt", tmp_path / "b/2.TXT", tmp_path / "raw")
    (tmp_path / "a/loop.bmp").symlink_to("loop.bmp")
    listing = list_folder(tmp_path, SUFFIXES)
    assert names(listing) == ["a/x/1.png", "a.png", "b/1.Jpg", "b/2.PNG", "b.png"]
    assert listing.remarks() == [
        f"{tmp_path}: 12 files are not read: 10 .bmp, 1 .txt, 1 without an ending",
        f"{tmp_path}: 1 link is not followed: a/loop.bmp (broken)",
    ]


def test_what_belongs_to_data_or_to_the_system_is_no_reason_for_a_word(tmp_path: Path) -> None:
    silent = (
        "README.md LICENSE.txt LICENSE-CC0 SHA256SUMS.txt a.png.md5 RECORDS labels.csv train_labels.csv metadata.json "
        "1.txt 1.json .DS_Store Thumbs.db desktop.ini ._1.png __MACOSX/1.png .ipynb_checkpoints/1.png .git/x.png "
        ".gitignore README.x.txt sub/README.rst @eaDir/1.png .Trash-0/1.png"
    )
    write(tmp_path / "1.png", *(tmp_path / name for name in silent.split()))
    listing = list_folder(tmp_path, SUFFIXES)
    assert names(listing) == ["1.png"]
    assert listing.remarks() == []


@pytest.mark.parametrize("name", ["patient_1.csv", "record-7.csv", "index_3.csv", "labelled.csv", "1.csv"])
def test_a_table_is_labels_only_by_its_whole_name(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, tmp_path / "labels.csv")
    assert names(list_folder(tmp_path, (".csv",))) == [name]


def test_hidden_files_and_folders_are_not_read_but_named(tmp_path: Path) -> None:
    write(
        tmp_path / "a.png", tmp_path / ".b.png", tmp_path / ".old/c.png", tmp_path / "sub/.d.JPG", tmp_path / ".e.txt"
    )
    listing = list_folder(tmp_path, SUFFIXES)
    assert names(listing) == ["a.png"]
    assert listing.remarks() == [
        f"{tmp_path}: 3 hidden files and folders are not read: .b.png, .old, sub/.d.JPG",
    ]
    assert names(list_folder(tmp_path / ".old", SUFFIXES)) == ["c.png"]


def test_links_are_followed_but_nothing_is_read_twice(tmp_path: Path) -> None:
    root, store = tmp_path / "root", tmp_path / "store"
    write(root / "a/1.png", store / "big/2.png", store / "3.png", store / "4.blob")
    (root / "0").symlink_to(root / "a")  # before it in the order of names
    (root / "big").symlink_to(store / "big")
    (root / "big-again").symlink_to("../store/big")
    (root / "up").symlink_to("..")
    (root / "a/self").symlink_to(".")
    (root / "3.png").symlink_to(store / "3.png")
    (root / "0.png").symlink_to("a/1.png")
    (root / "4.png").symlink_to(store / "4.blob")
    (root / "gone").symlink_to("nowhere")
    (root / "gone.png").symlink_to("nowhere")
    listing = list_folder(root, SUFFIXES)
    assert names(listing) == ["3.png", "4.png", "a/1.png", "big/2.png", "gone.png"]
    assert {listing.name(path): why for path, why in listing.unfollowed.items()} == {
        "0": f"to {root / 'a'}, which is already read",
        "0.png": f"to {root / 'a' / '1.png'}, which is already read",
        "a/self": "to a parent folder",
        "big-again": f"to {root / 'big'}, which is already read",
        "gone": "broken",
        "up": "to a parent folder",
    }
    assert listing.remarks()[0].startswith(f"{root}: 6 links are not followed: 0 (to {root / 'a'}, which is alr")
    (tmp_path / "other").symlink_to(root)
    assert names(list_folder(tmp_path / "other", SUFFIXES)) == names(listing)


def test_links_in_a_linked_folder_do_not_lead_out_of_it_again(tmp_path: Path) -> None:
    write(tmp_path / "root/1.png", tmp_path / "store/big/2.png", tmp_path / "store/secret.png")
    (tmp_path / "root/big").symlink_to(tmp_path / "store/big")
    (tmp_path / "store/big/up").symlink_to(tmp_path / "store")
    (tmp_path / "store/big/top").symlink_to("/")
    assert names(list_folder(tmp_path / "root", SUFFIXES)) == ["1.png", "big/2.png"]


NAMES = st.sampled_from(["a", "b", "a.png", "b.png", "c.bmp", ".h", ".h.png"])
PLACES = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=st.lists(PLACES, max_size=8), links=st.lists(st.tuples(PLACES, PLACES), max_size=6))
def test_no_file_is_read_twice_and_none_is_forgotten(files, links, tmp_path_factory) -> None:
    root = tmp_path_factory.mktemp("tree")
    for place in files:
        try:
            write(root / place)
        except OSError:  # it is a folder, or lies in a file
            continue
    for place, target in links:
        try:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            (root / place).symlink_to(root / target)
        except OSError:
            continue
    listing = list_folder(root, SUFFIXES)
    there = [os.path.realpath(path) for path in listing.files if path.exists()]
    assert len(set(there)) == len(there)
    seen = {*listing.files, *listing.others, *listing.hidden, *listing.unfollowed, *listing.folders}
    for path in root.rglob("*"):
        above = {path, *path.parents}
        known = above & {*listing.hidden, *listing.unfollowed} or path in seen
        assert known or (path.name == ".h" and not path.is_dir())


def test_names_that_other_systems_do_not_tell_apart_are_named(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "caf\u00e9.png") for form in ("NFC", "NFD"))
    write(
        *(tmp_path / name for name in ("Cat/1.png", "cat /1.png", "x/A.png", "x/a.PNG", composed, decomposed, "y.png"))
    )
    listing = list_folder(tmp_path, SUFFIXES)
    assert len(listing.files) == 7
    (remark,) = listing.remarks()
    assert remark.startswith(f"{tmp_path}: names differ only in letter case, spaces or Unicode form: ")
    for pair in ("Cat = cat ", "x/A.png = x/a.PNG", f"{decomposed} = {composed}"):
        assert pair in remark


def test_a_folder_that_something_else_reads_is_not_entered(tmp_path: Path) -> None:
    write(tmp_path / "1.png", tmp_path / "set/2.png", tmp_path / "set/3.bmp")
    listing = list_folder(tmp_path, SUFFIXES, claimed=lambda folder: folder.name == "set")
    assert names(listing) == ["1.png"]
    assert not listing.remarks()


def test_an_unreadable_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: Path):  # root may read everything, so permissions cannot be tested as they are
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"the folder cannot be read \(Permission denied\)"):
        list_folder(tmp_path, SUFFIXES)


def test_odd_names_are_listed_for_the_reader_to_refuse_and_shown_escaped(tmp_path: Path) -> None:
    odd = [os.fsdecode(b"caf\xe9.png"), "new\nline.png", 'it\'s "q", <b>&;.png', "x" * 240 + ".png"]
    write(*(tmp_path / name for name in odd))
    assert names(list_folder(tmp_path, SUFFIXES)) == sorted(odd)
    folder = tmp_path / os.fsdecode(b"d\xff")
    write(folder / "a.png")
    assert set_name(folder) == r"d\udcff"
    with pytest.raises(InputError, match=r"d\\udcff: its name contains bytes that are not UTF-8"):
        list_folder(folder, SUFFIXES)


def test_no_folder_has_the_name_of_simulated_records(tmp_path: Path) -> None:
    assert [set_name(tmp_path / name) for name in ("simulator", "Simulator")] == ["simulator (folder)", "Simulator"]


def test_remarks_are_warnings_or_go_into_a_list() -> None:
    lines: list[str] = []
    tell(["a", "b"], lines)
    assert lines == ["a", "b"]
    with pytest.warns(DataWarning, match="^a$"):
        tell(["a"], None)
