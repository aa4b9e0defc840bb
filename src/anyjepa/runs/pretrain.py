"""Pretrain a recipe: from data to a run folder with a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anyjepa.data.dataset import Dataset, warn_of_skipped
from anyjepa.data.labels import LabelTable
from anyjepa.data.modalities import modality_of, training_arrays, training_data
from anyjepa.data.records import Records, as_paths, refuse_for_files
from anyjepa.data.samples import signal_hashes
from anyjepa.data.split_files import kept_out, read_split
from anyjepa.errors import DataWarning, InputError
from anyjepa.evaluation.hold_out import hold_out_of
from anyjepa.parts import own_kinds, sources
from anyjepa.progress import Lines, in_notebook, listening, stage
from anyjepa.recipes.plain import flat
from anyjepa.recipes.schema import Edits, Recipe, changes, edited, load_recipe
from anyjepa.runs.folder import Run, check_unused, killed_before_it_began, new_run, open_run
from anyjepa.runs.mask_pictures import keep_masks
from anyjepa.runs.objective import build_objective, check_objective
from anyjepa.runs.online import online_scores
from anyjepa.runs.place_pictures import keep_places
from anyjepa.runs.start import Start, find_start
from anyjepa.torch_defaults import torch_defaults
from anyjepa.training.cluster import check_launch, is_first
from anyjepa.weights.folder import RECORDS, read_records, save_pretrained, write_records
from anyjepa.weights.model import Provenance, TrainingRecords

FREE = (  # keys that may differ when a run resumes, because they do not change its results
    "description",
    "based_on",
    "evaluation.",
    "perturbation",
    "training.workers",
    "training.checkpoint_activations",
    "training.log_every",
    "training.monitor_every",
    "training.stop_when_collapsed",
    "training.checkpoint_every",
    "training.keep_checkpoints",
    "training.loggers",
)


@torch_defaults()
def pretrain(
    recipe: Recipe | str | Path,
    data: Any = (),
    output: Path | str | None = None,
    *,
    edits: Edits = (),
    exclude: Sequence[str] = (),
    hold_out: float | None = None,
    split: str | Path | None = None,
    start: str | Path | None = None,
    encoder_only: bool = False,
    labels: Any = None,
    groups: Any = None,
    ids: Any = None,
    fs: float | None = None,
    leads: Sequence[str] | None = None,
    unit: str | float | None = None,
    resume: bool = False,
    devices: int = 1,
    nodes: int = 1,
    strategy: str = "auto",
    progress: bool | None = None,
) -> Run:
    """Pretrain an encoder, and return the run; `run.model` is the folder of the encoder.

    recipe: name of a recipe, path of a YAML file, or a `Recipe`.
    data: files or folders, or records in memory: an array whose first axis is the records, a list of arrays, AnnData, a
        `torch.utils.data.Dataset` of arrays or of (array, label) pairs, or a prepared data set. Default: the simulated
        data set of the recipe.
    output: the run folder, by default `runs/<recipe>-<time>`.
    edits: changes of the recipe, as 'key=value' texts or as a mapping, such as {"objective.masks":
        Checkerboard(size=2)}.
    exclude: ids of records to leave out, such as a test set.
    hold_out: share of the records to keep for testing, by whole groups, drawn with `training.seed`.
    split: table with the columns id, group and split (see `read_split`), whose training part is used. The run keeps
        this or the held-out split as split.csv, and `evaluate` uses it.
    start: a run, model folder, Hugging Face id or checkpoint of a run whose weights training starts from; learned
        positions are resampled to other input sizes.
    encoder_only: with `start`, load the encoder only; predictors start from random weights.
    labels, groups, ids: one per record in memory. Groups stay together in a split, such as the records of a patient
        (None if unknown); ids are by default the places in the array; labels are only checked, not used.
    fs, leads, unit: of ECGs in memory: rate in Hz, names of the rows, and 'mV' (default), 'uV', 'V' or mV per unit.
    resume: continue the run in `output`, with the same result as without interruption; a finished run does not change.
    devices, nodes, strategy: number of GPUs (or processes) per machine, number of machines, and 'auto' or 'ddp'.
    progress: whether to show progress on standard error; None shows it in notebooks only.

    Raises InputError for wrong input, DivergedError if the loss is not finite, CollapsedError if the recipe says so,
    and Interrupted (a KeyboardInterrupt) after Ctrl-C, SIGTERM, SIGHUP or a warning of Slurm, with a checkpoint to
    resume from.
    """
    if not isinstance(recipe, Recipe):
        recipe, _ = load_recipe(recipe, edits)
    elif edits:
        recipe, _ = edited(recipe, edits)
    paths = as_paths(data)
    of_records = {"labels": labels, "groups": groups, "ids": ids}
    options = {"fs": fs, "leads": leads, "unit": unit}
    if paths is not None or isinstance(data, Dataset):
        refuse_for_files(of_records | options)
    check_launch(devices, nodes)
    _check_loggers(recipe.training.loggers)
    first = is_first(nodes)
    run = _run(recipe, Path(output) if output else None, resume, devices * nodes, strategy, first)
    check_objective(recipe)
    records = None
    if paths is not None:
        read = partial(training_data, recipe.data, paths)
    elif isinstance(data, Dataset):
        read = partial(_own, recipe, data)
    else:
        records = Records.of(data, **of_records)
        if (hold_out or split) and not records.named:
            raise InputError("ids: pass the ids of the records, by which evaluate finds those that are held out")
        read = partial(_from_memory, recipe, records, options)
    with _shown(progress and first, "reading the data"):
        dataset, parts = _without_test(recipe, read, exclude, hold_out, split, run if resume else None)
    objective = build_objective(recipe)
    own, online = None if records is None else records.table(dataset), recipe.training.online
    scores = None if online is None else online_scores(dataset, online, own)
    begin = find_start(start) if start is not None and not (resume and run.begun) else None
    if begin is not None:
        begin.check_data(dataset.preprocessing, recipe.objective.encoder.patch[0])
        begin.copy_to(objective, encoder_only)
    elif encoder_only and start is None:
        raise InputError("encoder_only says which weights to begin with; pass start")
    with _shown(progress and first, "comparing records"):
        hashes = signal_hashes(dataset) if first and not dataset.checksums else []
    with run.claimed() if first else nullcontext():
        if first:
            warn_of_skipped(dataset.skipped)
            _warn_of_lost_parts(recipe, dataset)
            origin = ["arrays"] if paths is None else paths or ["embedded"]
            described = _described(dataset, dataset.checksums or hashes, origin, parts)
            described["held_out"] = held_out(hold_out, split)
            _start(run, described, sources(_own_kinds(recipe, dataset)), parts, begin, resume)
            keep_masks(run, dataset)
        from anyjepa.training.fit import fit  # imports Lightning, which takes seconds

        fit(
            objective,
            recipe.training,
            dataset,
            run.folder,
            resume=resume,
            absolute_time=recipe.data.absolute,
            shares=dataset.shares,
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            progress=in_notebook() if progress is None else progress,
            scores=scores,
            hyperparameters=flat(recipe.model_dump(mode="json")),
        )
        if first:
            name = changes(recipe.model_dump(mode="json")) or recipe.name
            before = run.environment()["data"].get("start")
            provenance = Provenance(
                steps=recipe.training.steps,
                data=dataset.description,
                recipe=name,
                start=before["text"] if before else "",
            )
            preprocessing = dataset.preprocessing.model_dump(mode="json")
            save = partial(save_pretrained, run.model, objective, preprocessing, provenance)
            if not hashes:  # write the model first, because reading all signals of a store takes long
                save()
                with _shown(progress and first, "comparing records"):
                    hashes = signal_hashes(dataset)
            trained_on = _trained_on(dataset, records, hashes)
            if before:
                trained_on = earlier | trained_on if (earlier := read_records(run.folder)) else None
            if trained_on is not None:
                write_records(run.folder, trained_on)
            save(trained_on)
            keep_places(run, dataset, objective)
    return run


def _check_loggers(names: Sequence[str]) -> None:
    """Raise InputError if the package of a logger is not installed."""
    for name in names:
        if not find_spec(name):
            raise InputError(
                f"training.loggers: {name} is not installed; install it with: pip install 'anyjepa[{name}]'"
            )


@contextmanager
def _shown(progress: bool | None, name: str) -> Iterator[None]:
    """Work whose progress is shown if it takes long."""
    with listening(Lines()) if progress else nullcontext(), stage(name, announced=False):
        yield


def _warn_of_lost_parts(recipe: Recipe, dataset: Dataset) -> None:
    """Issue a DataWarning for each class that was typed into an interpreter or a notebook."""
    for kind in (kind for kind in _own_kinds(recipe, dataset) if kind.startswith("__main__.")):
        message = f"{kind}: only this interpreter can load the model; move the class to a module to load it later"
        warnings.warn(message, DataWarning, stacklevel=3)


def _own_kinds(recipe: Recipe, dataset: Dataset) -> list[str]:
    return own_kinds(recipe.model_dump(mode="json"), dataset.preprocessing.model_dump(mode="json"))


def _trained_on(dataset: Dataset, records: Records | None, hashes: Sequence[str]) -> TrainingRecords:
    """Names that an evaluation may compare. Places in an array are none: other arrays have the same ones."""
    if records is None:
        return TrainingRecords.of(dataset.ids, dataset.groups, hashes, dataset.source)
    ids = dataset.ids if records.named else ()
    return TrainingRecords.of(ids, ids if records.groups is None else dataset.groups, hashes, dataset.source)


def _from_memory(recipe: Recipe, records: Records, options: dict[str, Any], exclude: Sequence[str]) -> Dataset:
    return training_arrays(recipe.data, records, exclude, options)


def _without_test(
    recipe: Recipe,
    read: Callable[[Sequence[str]], Dataset],
    exclude: Sequence[str],
    share: float | None,
    file: str | Path | None,
    resumed: Run | None,
) -> tuple[Dataset, LabelTable | None]:
    """The records to train on, and the split that they are the training part of. Raises InputError.

    read: the data without some ids. What is trained on is read again, because its statistics must not see the rest.
    """
    if share is not None and file is not None:
        raise InputError("pass hold_out or split, not both")
    parts = read_split(file) if file is not None else resumed.split() if resumed and share is None else None
    if (share is not None or parts is not None) and recipe.data.protocol != "linear":
        raise InputError(f"hold_out and split are for data with labels; {recipe.data.kind} have data.hidden")
    dataset = read(exclude)
    if share is not None:
        parts = hold_out_of(dataset, share, recipe.training.seed)
    if parts is None:
        return dataset, None
    try:
        out = kept_out(parts, dataset.ids, dataset.groups)
    except InputError as error:
        raise InputError(f"{file or 'split.csv'}: {error}") from None
    if not out:
        raise InputError(f"{file or 'split.csv'}: keeps no record of the data for testing")
    return read([*exclude, *out]), parts


def _own(recipe: Recipe, dataset: Dataset, exclude: Sequence[str]) -> Dataset:
    """A data set that the caller prepared. Raises InputError unless the recipe is for such data."""
    made = dataset.preprocessing
    if modality_of(made) is not modality_of(recipe.data):
        raise InputError(
            f"recipe {recipe.name}: is for {modality_of(recipe.data).records}, the data are {dataset.what[0]}"
        )
    if (made.channels, made.size) != (recipe.data.channels, recipe.data.size):
        raise InputError(
            f"recipe {recipe.name}: takes {recipe.data.channels} channels of size {recipe.data.size}, "
            f"the data have {made.channels} of size {made.size}"
        )
    if exclude:
        raise InputError("exclude: a data set in memory cannot exclude records; remove them from the data set")
    return dataset


def _run(recipe: Recipe, output: Path | None, resume: bool, processes: int, strategy: str, first: bool) -> Run:
    """The run to create or to resume. Nothing is written yet."""
    if strategy not in ("auto", "ddp"):
        raise InputError(f"--strategy must be auto or ddp, got '{strategy}'")
    batch, share = recipe.training.batch_size, recipe.training.accumulation * processes
    if batch % share:
        raise InputError(f"training.batch_size {batch} is not a multiple of {share} (accumulation x devices x nodes)")
    if output is None and processes > 1:
        raise InputError("training in several processes needs --output, so that all of them use the same run folder")
    if output and not first:  # the first process has created or checked it
        return Run(output, recipe)
    return continued(recipe, output) if resume else new_run(recipe, output)


def held_out(share: float | None, file: str | Path | None) -> str | None:
    """What is kept for testing, as a text to compare; None: nothing. Raises InputError for a bad split file."""
    if file is not None:
        table = read_split(file)
        return f"split {_digest([*table.ids, *(table.split or ())])}"
    return None if share is None else f"hold out {share:g}"


def continued(recipe: Recipe, output: Path | None) -> Run:
    """The run in a folder, to resume it. Raises InputError if it was started with other settings."""
    if output is None:
        raise InputError("--resume needs --output, the folder of the run to resume")
    if killed_before_it_began(output):
        return Run(output, recipe)
    run = open_run(output)
    before, now = flat(run.recipe.model_dump(mode="json")), flat(recipe.model_dump(mode="json"))
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key, "nothing"), now.get(key, "nothing")
        if old != new and key == "training.steps":
            raise InputError(
                f"{output}: was started with training.steps={old}, not {new}; a run cannot be extended, because its "
                "schedules end with training.steps; start a new run, with --from for its weights"
            )
        if old != new and not key.startswith(FREE):
            raise InputError(f"{output}: was started with {key}={old}, not {new}; resume with the same recipe")
    return Run(output, recipe)


def _start(
    run: Run,
    data: dict[str, Any],
    code: dict[str, dict[str, str]],
    split: LabelTable | None,
    begin: Start | None,
    resume: bool,
) -> None:
    """Write the first files of a new run, or check that a resumed run has the same records, signals and code."""
    if not resume:
        check_unused(run.folder)  # again, now that the folder is locked
    if not resume or not run.begun:
        if split is None and run.split_file.exists():
            raise InputError(f"{run.split_file}: training does not use this split; delete it, or pass it with --split")
        (run.folder / RECORDS).unlink(missing_ok=True)  # of a run that ended here before its first step
        if begin is not None:
            data |= {"start": {"model": begin.where, "text": begin.text}}
            if begin.records is not None:  # the finished model has seen these, too
                write_records(run.folder, begin.records)
        run.start(data, code, split)
        return
    environment = run.environment()
    before = environment["data"]
    if before["fingerprint"] != data["fingerprint"]:
        raise InputError(
            f"{run.folder}: was started with other records: {before['records']} of {', '.join(before['paths'])}, "
            f"now {data['records']} of {', '.join(data['paths'])}; resume with the same --data and --exclude"
        )
    if before.get("signals", data["signals"]) != data["signals"]:
        raise InputError(
            f"{run.folder}: the signals of {', '.join(data['paths'])} have changed since it was started; resume with "
            "the original files, or start a new run"
        )
    for module, old in environment.get("parts", {}).items():
        if module in code and {**old, "file": ""} != {**code[module], "file": ""}:
            text = (
                f"{code[module]['file']}: has changed since {run.folder} was started, so the result may be another one"
            )
            warnings.warn(text, DataWarning, stacklevel=3)
    run.renew()


def _described(
    dataset: Dataset, signals: Sequence[str], origin: Sequence[Path | str], split: LabelTable | None
) -> dict[str, Any]:
    elsewhere = any("data.part=all" in why for why in dataset.skipped.values())  # of a published split
    published = elsewhere or any(table.split is not None for table in dataset.tables.values())
    return {
        "paths": [str(path) for path in origin],
        "records": len(dataset),
        "fingerprint": _digest(dataset.ids),
        "signals": _digest(signals),
        "tasks": list(dataset.tasks),
        "tested": split is not None or published or origin == ["embedded"],  # whether a test part is left
        "patients": len(set(dataset.groups)) if dataset.groups_known else None,
        "what": dataset.what,
        "skipped": len(dataset.skipped),
        "skipped_examples": dict(list(dataset.skipped.items())[:10]),
        "notes": len(dataset.notes),
    }


def _digest(lines: Sequence[str]) -> str:
    return blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()
