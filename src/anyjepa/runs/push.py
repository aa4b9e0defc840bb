"""Share a model on the Hugging Face Hub, with a card made from its run."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from anyjepa.errors import InputError
from anyjepa.evaluation.intervals import Estimate
from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.evaluation.result import Result
from anyjepa.perturbation.scoring.result import PerturbationResult
from anyjepa.runs.folder import Run, find_run
from anyjepa.weights.card import Publication, escaped, markdown_table, model_card
from anyjepa.weights.folder import (
    CARD,
    FILES,
    RECORDS,
    LoadedModel,
    check_only_model,
    find_model,
    load_model,
    read_records,
)
from anyjepa.weights.hub import ID, PREFIX, upload
from anyjepa.writing import replacing

LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")  # an identifier of the Hub


def push(
    model: str | Path | Run, repository: str, *, licence: str = "", public: bool = False, dry_run: Path | None = None
) -> str:
    """Upload a model to a repository 'owner/name' of the Hugging Face Hub, and return its address.

    licence: identifier of a licence on the Hub, such as apache-2.0.
    public: whether a new repository is public.
    dry_run: write the files to this folder instead of uploading them.

    The model card is made from the run: it has the results with controls and intervals, and says whether pretraining
    saw their test records. Ids of records are not uploaded. Raises InputError.
    """
    repository = repository.removeprefix(PREFIX)
    if not ID.fullmatch(repository):
        raise InputError(f"{repository}: must be a repository on the Hugging Face Hub, such as owner/name")
    if licence and not LICENCE.fullmatch(licence):
        raise InputError(f"--license {licence}: must be an identifier of the Hugging Face Hub, such as apache-2.0")
    run = model if isinstance(model, Run) else find_run(Path(model))
    loaded = load_model(run.model if run else find_model(model))  # type: ignore[arg-type]
    if dry_run is not None:
        if dry_run.resolve().is_relative_to(loaded.folder.resolve()):
            raise InputError(f"{dry_run}: is in the folder of the model itself; choose another folder")
        check_only_model(dry_run)
        with replacing(dry_run) as new:
            _write(new, loaded, run, repository, licence)
        return str(dry_run)
    with tempfile.TemporaryDirectory() as folder:
        new = Path(folder) / "model"
        _write(new, loaded, run, repository, licence)
        return upload(new, repository, FILES, private=not public)


def _write(folder: Path, loaded: LoadedModel, run: Run | None, repository: str, licence: str) -> None:
    folder.mkdir()
    for name in FILES:
        if name not in (CARD, RECORDS) and (loaded.folder / name).is_file():
            shutil.copyfile(loaded.folder / name, folder / name)
    if records := read_records(loaded.folder):
        plain = records.without_names().model_dump(mode="json")  # an older version kept names
        (folder / RECORDS).write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")
    published = Publication(licence, tuple(_evaluation(run)))
    card = model_card(repository, loaded.config, loaded.preprocessing, loaded.parameters(), published)
    (folder / CARD).write_text(card, encoding="utf-8")


def _evaluation(run: Run | None) -> Iterator[str]:
    """Markdown lines on the results of a run."""
    kinds: Sequence[tuple[Path, Callable[[Path], Any]]] = (
        (
            (run.results, Result.from_json),
            (run.perturbations, PerturbationResult.from_json),
            (run.proteins, ProteinResult.from_json),
        )
        if run
        else ()
    )
    results = [read(path) for folder, read in kinds for path in sorted(folder.glob("*.json"))]
    if not results:
        yield "No evaluation was published with this model."
    for result in results:
        yield from _classification(result) if isinstance(result, Result) else _as_in_terminal(result)


def _classification(result: Result) -> Iterator[str]:
    seen = {True: "yes", False: "no", None: "unknown"}[result.rows[0].transductive]
    train, validation, test = result.parts.records
    yield f"### {escaped(f'{result.task}: {result.title} on {result.data}')}\n"
    yield f"Pretraining saw test records: **{seen}**.\n"
    yield from (f"> {escaped(notice)}\n" for notice in result.notices)
    yield from markdown_table(
        ("", "macro AUROC", "first row minus this row"),
        [
            (escaped(row.title), _shown(result.metric(row, "macro_auroc")), _shown(result.difference(row), "+"))
            for row in result.rows
        ],
    )
    yield f"\n{result.size}: {train} for training, {validation} for choices, {test} for testing."
    yield f"Intervals: {result.basis}. Rows without weights of this model are controls."


def _shown(estimate: Estimate, sign: str = "") -> str:
    if estimate.mean is None:
        return "-"
    interval = "" if estimate.low is None else f" [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
    return f"{estimate.mean:{sign}.3f}{interval}"


def _as_in_terminal(result: Any) -> Iterator[str]:
    yield f"### {escaped(result.data)}\n"
    yield "```text"
    yield from (line.rstrip().replace("```", "'''") for line in str(result).splitlines())
    yield "```\n"
