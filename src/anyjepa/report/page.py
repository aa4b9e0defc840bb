"""The page: sections in the order a reader asks."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from anyjepa import __version__
from anyjepa.errors import InputError
from anyjepa.report.calibration import calibration
from anyjepa.report.contents import Contents, read_contents
from anyjepa.report.curves import collapse, training
from anyjepa.report.details import details
from anyjepa.report.embedding import embedding_map
from anyjepa.report.headline import headline
from anyjepa.report.markup import Html, join, tag
from anyjepa.report.masks import masks
from anyjepa.report.neighbours import attention, neighbours
from anyjepa.report.perturbations import perturbations
from anyjepa.report.proteins import proteins
from anyjepa.report.results import evaluations, per_class
from anyjepa.writing import write_text

_SECTIONS = (
    ("perturbations", "Are perturbations predicted?", perturbations,
     "What was held out, predicted from the representation by one small head, beside baselines that need no encoder."),
    ("proteins", "Does expression tell the proteins?", proteins,
     "Proteins of cells that were held out, told from their expression by one ridge on each representation."),
    ("results", "Is the representation useful?", evaluations,
     "Labels predicted from the representation, beside controls that show what the pretraining itself added."),
    ("classes", "Which classes?", per_class,
     "Area under the ROC curve of each class: .5 is chance, 1 is perfect ranking."),
    ("calibration", "Can the probabilities be believed?", calibration,
     "Of the {records} said to have a class with 30 %, 30 % should have it; ECE is how far off that is on average."),
    ("map", "How {records} lie to each other", embedding_map,
     "What lies near each other has a similar representation. A map of two dimensions hides most of the structure."),
    ("neighbours", "What is similar?", neighbours,
     "For some {records} those whose representations point the most alike. They were chosen by chance."),
    ("attention", "Where does it look?", attention,
     "How much the last block attends to each patch, mean over heads and over all patches that look."),
    ("masks", "What had to be predicted", masks,
     "Training {records}: what was hidden of them, and what was predicted from what."),
    ("training", "Training", training, "Everything that was logged, by optimiser step."),
    ("collapse", "Did it collapse?", collapse,
     "A small loss proves nothing if all inputs get the same representation. These numbers would show it."),
    ("details", "How to repeat it", details, "The settings and the machine."),
)  # fmt: skip


def write_report(run: str | Path) -> Path:
    """Write `report.html` into a run folder from what the folder holds, and return its path.

    The page needs no other file and no network. A missing or damaged part is named on the page.
    Raises InputError if there is no such folder.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError(f"{run}: there is no such run folder")
    path = run / "report.html"
    write_text(path, page(read_contents(run)))
    return path


def page(run: Contents) -> str:
    """The whole HTML document."""
    style = (files("anyjepa.report") / "style.css").read_text(encoding="utf-8")
    title, top = headline(run)
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Html(style)),
    )
    words = {"records": run.what[0]}
    found = [
        (key, name.format_map(words), section(run), intro.format_map(words)) for key, name, section, intro in _SECTIONS
    ]
    shown = [section for section in found if section[2]]
    links = tag("nav", *(tag("a", name, href=f"#{key}") for key, name, *_ in shown), aria_label="Sections")
    body = [
        tag("section", tag("h2", name), tag("p", intro, class_="intro"), content, id=key)
        for key, name, content, intro in shown
    ]
    footer = tag("footer", f"Written by anyjepa {__version__} from {run.folder.resolve().name}.")
    document = tag("html", head, tag("body", tag("header", top, links), tag("main", join(body)), footer), lang="en")
    return f"<!doctype html>\n{document}\n"
