"""The report page, with its sections in the order of a reader's questions."""

from __future__ import annotations

from pathlib import Path

from anyjepa import __version__
from anyjepa.errors import InputError
from anyjepa.report.calibration import calibration
from anyjepa.report.contents import Contents, read_contents
from anyjepa.report.curves import collapse, training
from anyjepa.report.details import details
from anyjepa.report.document import Section, document
from anyjepa.report.embedding import embedding_map
from anyjepa.report.headline import headline
from anyjepa.report.masks import masks
from anyjepa.report.neighbours import attention, neighbours
from anyjepa.report.perturbation_results import perturbations
from anyjepa.report.places import errors, tokens
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
    ("errors", "Where is prediction hard?", errors,
     "Parts of training {records} were predicted, each many times, from what the model was shown."),
    ("tokens", "Which parts look alike to the model?", tokens,
     "The representation of each place of training {records}, reduced to three numbers and shown as a colour. "
     "Colours that follow nothing but the position show that the tokens hold little else."),
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
    title, top = headline(run)
    words = {"records": run.what[0]}
    sections = [
        Section(key, name.format_map(words), intro.format_map(words), section(run))
        for key, name, section, intro in _SECTIONS
    ]
    return document(title, top, sections, f"Written by anyjepa {__version__} from {run.folder.resolve().name}.")
