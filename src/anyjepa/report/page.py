"""The report page, with its sections in the order of a reader's questions."""

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
from anyjepa.report.perturbation_results import perturbations
from anyjepa.report.protein_results import proteins
from anyjepa.report.results import evaluations, per_class
from anyjepa.writing import write_text

_SECTIONS = (
    ("perturbations", "How well are perturbations predicted?", perturbations,
     "A small head predicts held-out perturbations from the representation. Baselines need no encoder."),
    ("proteins", "How well are proteins predicted?", proteins,
     "Ridge regression predicts the proteins of held-out cells from each representation of their expression."),
    ("results", "Is the representation useful?", evaluations,
     "Labels are predicted from the representation, and from controls that show what pretraining added."),
    ("classes", "Which classes are predicted well?", per_class,
     "Area under the ROC curve of each class: 0.5 is chance, 1 is a perfect ranking."),
    ("calibration", "Can the probabilities be trusted?", calibration,
     "Of the {records} with a predicted probability of 30 %, 30 % should have the class. "
     "The expected calibration error (ECE) is the average deviation."),
    ("collapse", "Did the representation collapse?", collapse,
     "The loss can be small because all inputs get the same representation. These signs would reveal it."),
    ("map", "Which {records} look alike to the model?", embedding_map,
     "Nearby points have similar representations. Two dimensions cannot show all of the structure."),
    ("neighbours", "What are the nearest neighbours?", neighbours,
     "For a random choice of {records}, those with the most similar representations."),
    ("attention", "Where does the model look?", attention,
     "Attention of the last block to each patch, averaged over heads and over all attending patches."),
    ("masks", "What was predicted in training?", masks,
     "Some training {records}, with the hidden parts and the predicted parts."),
    ("training", "How did training go?", training, "The logged quantities by optimiser step."),
    ("details", "How can this run be reproduced?", details, "The recipe and the environment."),
)  # fmt: skip


def write_report(run: str | Path) -> Path:
    """Write `report.html` into a run folder, and return its path.

    The page is self-contained and needs no network. It lists the files of the run that are missing or damaged.
    Raises InputError if the folder does not exist.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError(f"{run}: there is no such run folder")
    path = run / "report.html"
    write_text(path, page(read_contents(run)))
    return path


def page(run: Contents) -> str:
    """The whole HTML document."""
    style, script, plotly = map(_packaged, ("style.css", "page.js", "plotly-basic.min.js"))
    title, top = headline(run)
    head = tag(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        tag("title", title),
        tag("style", Html(style)),
        tag("script", Html(plotly)),
        tag("script", Html(script)),
    )
    words = {"records": run.what[0]}
    sections = [
        (key, name.format_map(words), section(run), intro.format_map(words)) for key, name, section, intro in _SECTIONS
    ]
    shown = [section for section in sections if section[2]]
    links = tag("nav", *(tag("a", name, href=f"#{key}") for key, name, *_ in shown), aria_label="Sections")
    body = [
        tag("section", tag("h2", name), tag("p", intro, class_="intro"), content, id=key)
        for key, name, content, intro in shown
    ]
    footer = tag("footer", f"Written by anyjepa {__version__} from {run.folder.resolve().name}.")
    document = tag("html", head, tag("body", tag("header", top, links), tag("main", join(body)), footer), lang="en")
    return f"<!doctype html>\n{document}\n"


def _packaged(name: str) -> str:
    return (files("anyjepa.report") / name).read_text(encoding="utf-8")
