"""The page needs nothing but itself, holds up against damaged runs, and lets no text become markup."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anyjepa.errors import InputError
from anyjepa.recipes.schema import load_recipe, to_yaml
from anyjepa.report import write_report
from anyjepa.report.charts import chart, line
from anyjepa.report.contents import Contents, read_contents
from anyjepa.report.details import details
from anyjepa.report.headline import headline

VOID = {"meta", "br", "img", "link", "use", "path"}
HOSTILE = "<script>alert('x')</script>\"&$^"


class Page(HTMLParser):
    """Elements, attributes and text of a page; raises AssertionError where tags do not nest."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text, self._open = "", []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open, f"left open: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open, f"</{tag}> closes nothing"
            assert self._open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.text += data


def test_page_is_self_contained(run):
    page = Page(write_report(run))
    assert not {"link", "iframe", "object", "img"} & set(page.tags)
    references = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset")]
    assert references
    assert all(value.startswith(("#", "data:")) for value in references)
    source = re.sub(r"<script>.*?</script>", "", (run / "report.html").read_text(), flags=re.DOTALL)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", source)


def test_every_figure_has_its_own_alt_text_and_ids(run):
    page = Page(write_report(run))
    charts = [value for _, name, value in page.attributes if name == "class" and value == "chart"]
    alts = [value for tag, name, value in page.attributes if tag in ("svg", "div") and name == "aria-label"]
    assert len(charts) == 7  # classes, reliability, map, loss, lr, speed, std
    assert len(alts) == len(set(alts)) == page.tags.count("svg") + len(charts) == 10  # and three ECGs
    assert all(alt in page.text for alt in alts)  # which is what there is to read without scripts
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    targets = {value[1:] for _, name, value in page.attributes if name == "href"}
    assert targets <= set(ids)


def test_numbers_and_names_of_charts_cannot_end_their_script():
    drawn = chart("a", [line("</script><b>", [1.0, 2.0], [float("nan"), 1 / 3], 0)], {}, "")
    data = re.search(r'<script type="application/json">(.*?)</script>', drawn)
    assert data
    (one,) = json.loads(data[1])["data"]
    assert one["name"] == "&lt;/script&gt;&lt;b&gt;"  # Plotly would read <b>
    assert one["y"] == [None, 0.33333]


def test_nothing_is_empty_before_an_evaluation(run):
    for path in [*(run / "results").iterdir(), run / "artifacts" / "embedding.npz"]:
        path.unlink()
    page = Page(write_report(run))
    assert [value for tag, name, value in page.attributes if tag == "section" and name == "id"] == [
        "collapse", "errors", "tokens", "masks", "training", "details",
    ]  # fmt: skip
    assert f"not evaluated yet: anyjepa evaluate {run}" in page.text
    assert "Missing or damaged" not in page.text  # the map of embeddings comes with an evaluation


def test_a_map_that_no_evaluation_computed_is_not_called_missing(run):
    (run / "artifacts" / "embedding.npz").unlink()
    text = Page(write_report(run)).text
    assert f"Not computed: the map of embeddings. anyjepa evaluate {run} --protocol linear adds it." in text
    assert "Missing or damaged" not in text
    (run / "artifacts" / "embedding.npz").write_bytes(b"")
    text = Page(write_report(run)).text
    assert "Not computed" not in text
    assert "Missing or damaged parts (1)artifacts/embedding.npz cannot be read" in text


def test_headline_gives_result_interval_and_control(run):
    text = Page(write_report(run)).text
    assert "0.930 (0.920 to 0.940)" in text
    assert "Best control: random init, 0.840 (0.830 to 0.850)" in text
    assert "Difference +0.090 (+0.080 to +0.100): a clear gain. Intervals: 95 % t over 5 repeats." in text


@pytest.mark.parametrize("part", ["recipe.yaml", "environment.json", "metrics.csv", "results", "artifacts"])
def test_a_missing_part_is_named(run, part):
    path = run / part
    for file in [path] if path.is_file() else path.iterdir():
        file.unlink()
    text = Page(write_report(run)).text
    assert {
        "recipe.yaml": "recipe.yaml is missing",
        "environment.json": "environment.json is missing",
        "metrics.csv": "metrics.csv is missing",
        "results": "not evaluated yet",
        "artifacts": "masks.npz is missing",
    }[part] in text


@pytest.mark.parametrize("content", [b"", b"\x00\xff\xfe", b"[1, 2", b"{}", b"[]", b"step\n", b"a: [\n", b"null"])
def test_damage_never_breaks_the_page(run, content):
    for path in [p for p in run.rglob("*") if p.is_file()]:
        path.write_bytes(content)
    Page(write_report(run))


def test_a_fifo_in_a_run_folder_is_a_note_and_not_waited_for(run):
    for path in [p for p in run.rglob("*") if p.is_file()]:
        path.unlink()
        os.mkfifo(path)
    notes = read_contents(run).notes
    for name in ("recipe.yaml", "environment.json", "metrics.csv", "results/linear.json", "artifacts/masks.npz"):
        assert any(note.startswith(f"{name} cannot be read") and "is a FIFO" in note for note in notes)


def test_numbers_out_of_range_never_break_the_page(run):
    rows = "\n".join(f"{step},{value},inf,{value}" for step, value in enumerate(["1e300", "-inf", "nan", "1e-300"]))
    (run / "metrics.csv").write_text(f"step,loss,samples_per_s,teacher_rank\n{rows}\n")
    assert "values are not finite" in Page(write_report(run)).text


def test_an_empty_folder_has_a_page(tmp_path):
    assert "not evaluated yet" in Page(write_report(tmp_path)).text


def test_no_folder_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="no such run folder"):
        write_report(tmp_path / "absent")


def test_a_second_report_replaces_the_first_and_equals_it(run):
    first = write_report(run).read_text()
    assert write_report(run).read_text() == first
    assert not list(run.glob("*.part"))


def test_text_from_files_never_becomes_markup(run):
    (run / "recipe.yaml").write_text(f"name: {json.dumps(HOSTILE)}\ndescription: {json.dumps(HOSTILE)}\n")
    (run / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    (run / "metrics.csv").write_text('step,loss,"<script>x</script>"\n1,2,3\n2,2,4\n')
    written = (run / "results" / "linear.json").read_text()
    for name in ("AF", "rhythm", "random init", "60 ECGs"):
        written = written.replace(name, json.dumps(HOSTILE)[1:-1])
    (run / "results" / "linear.json").write_text(written)
    for name, hostile in (
        ("masks", {"leads": np.array([HOSTILE, "II"])}),
        ("embedding", {"labels": np.resize([HOSTILE, "b"], 60)}),
    ):
        arrays: dict[str, Any] = {**np.load(run / "artifacts" / f"{name}.npz"), **hostile}
        np.savez(run / "artifacts" / f"{name}.npz", **arrays)
    page = Page(write_report(run))
    assert page.tags.count("script") == 2 + sum(value == "chart" for _, _, value in page.attributes)
    assert page.text.count("alert") > 8


def test_the_subtitle_of_a_changed_recipe_says_what_was_changed(tmp_path):
    recipe = load_recipe("ecg-jepa-demo", ["training.steps=170"])[0].model_dump(mode="json")
    top = headline(Contents(tmp_path, recipe=recipe))[1]
    assert "ecg-jepa-demo, changed: training.steps=170" in top
    assert recipe["description"] not in top


def test_the_recipe_names_what_differs_from_the_package(run):
    recipe = load_recipe("ecg-jepa-demo", ["training.steps=200", "evaluation.seeds=9"])[0]
    usual = load_recipe("ecg-jepa-demo")[0]
    (run / "recipe.yaml").write_text(to_yaml(recipe))
    page = details(read_contents(run))
    assert "<caption>What differs from the recipe of the package</caption>" in page
    assert page.count('scope="row">training.steps<') == page.count('scope="row">evaluation.seeds<') == 1
    assert page.partition("</table>")[0].count("<tr>") == 1 + 2 + (
        recipe.training.optimiser != usual.training.optimiser
    )
    (run / "recipe.yaml").write_text(to_yaml(usual))
    assert "The settings are those of ecg-jepa-demo in the package." in details(read_contents(run))
    (run / "recipe.yaml").write_text("name: ecg-jepa-demo\ndescription: mine\n")
    assert "differs" not in details(read_contents(run))


def test_a_recipe_of_the_users_own_names_what_differs_from_its_base(run):
    mine = run.parent / "mine.yaml"
    mine.write_text("base: ecg-jepa-demo\nname: mine\ndescription: mine\ntraining: {steps: 200}\n")
    (run / "recipe.yaml").write_text(to_yaml(load_recipe(mine)[0]))
    page = details(read_contents(run))
    assert '<th scope="col">in ecg-jepa-demo</th>' in page
    table = page.partition("</table>")[0]
    assert table.count('scope="row">') == table.count('scope="row">training.steps<') == 1
