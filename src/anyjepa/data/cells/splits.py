"""Split cells into training, validation and test parts by what is new in the test: cells, perturbations or contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from anyjepa.config import Config
from anyjepa.data.cells.screen import Screen
from anyjepa.errors import InputError, did_you_mean
from anyjepa.randomness import generator

OpenShare = Annotated[float, Field(gt=0, lt=1)]
TRAIN, VALIDATION, TEST, UNUSED = range(4)
CONTEXTS = ("cell_type", "donor", "batch")


class _Shares(Config):
    test: OpenShare = Field(default=0.2, description="share for the test")
    validation: OpenShare = Field(default=0.1, description="share for choosing settings and early stopping")


class ByCell(_Shares):
    """Hold out a share of the cells of every condition, also of controls, so that training sees every condition."""

    kind: Literal["cell"] = "cell"


class UnseenPerturbation(_Shares):
    """Shares of the genes or compounds that stand alone somewhere. No training condition names a tested one, at any
    dose; combinations that do are left out."""

    kind: Literal["perturbation"] = "perturbation"


class UnseenCombination(_Shares):
    """Pairs. With seen=2 shares of the pairs whose both parts stand alone somewhere; with fewer, shares of the genes or
    compounds are unseen, and the pairs with exactly that number of seen parts are tested."""

    kind: Literal["combination"] = "combination"
    seen: Literal[0, 1, 2] = Field(default=2, description="parts of a tested pair that are trained on alone")


class UnseenContext(Config):
    """Perturbed cells of one cell type, donor or batch; its controls stay in training. Where nothing was done to any
    cell, all cells of it."""

    kind: Literal["context"] = "context"
    label: Literal["cell_type", "donor", "batch"] = Field(default="cell_type", description="what is new in the test")
    name: str | None = Field(default=None, description="the context that is tested; none: drawn at random")
    validation: OpenShare = Field(default=0.1, description="share of the cells of every other condition")


class UnseenAmount(Config):
    """Conditions with a dose above a limit, or a time: the highest doses, the latest times."""

    kind: Literal["amount"] = "amount"
    of: Literal["dose", "time"] = Field(description="which amount of any perturbation of a condition")
    above: float = Field(description="the highest one that is trained on, in the data's unit")
    validation: OpenShare = Field(default=0.1, description="share of the cells of every other condition")


AnySplit = Annotated[
    ByCell | UnseenPerturbation | UnseenCombination | UnseenContext | UnseenAmount, Field(discriminator="kind")
]


@dataclass(frozen=True, eq=False)
class CellSplit:
    """Rows of each part of a screen, (n,) each, and what the test part has that training must not have."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    unused: np.ndarray  # cells left out because their conditions name what is tested
    seed: int
    conditions: frozenset[int] = frozenset()  # conditions that no training cell has
    names: frozenset[str] = frozenset()  # genes and compounds that no training condition names
    context: tuple[str, str] | None = None  # label and name that no perturbed training cell has


def split(screen: Screen, config: AnySplit, seed: int) -> CellSplit:
    """The split of one seed, checked for leaks. Controls train, except that by cell, and where nothing was done to
    any cell, they are shared out like the rest.

    Raises InputError if a part would be empty.
    """
    rng = generator(seed, f"cell split {config.kind}", 0)
    conditions: frozenset[int] = frozenset()
    names: frozenset[str] = frozenset()
    context = None
    if isinstance(config, ByCell):
        part = _of_every_condition(screen, np.arange(len(screen)), (config.test, config.validation), rng)
    elif isinstance(config, UnseenContext):
        context = config.label, _context(screen, config, rng)
        column = getattr(screen, config.label)
        new = (column.codes == column.names.index(context[1])) & _moved(screen)
        part = _without(screen, new, config.validation, rng)
    elif isinstance(config, UnseenAmount):
        amounts = [[getattr(one, config.of) or 0 for one in condition] for condition in screen.conditions]
        conditions = frozenset(i for i, of in enumerate(amounts) if max(of, default=0) > config.above)
        part = _without(screen, np.isin(screen.condition, list(conditions)), config.validation, rng)
    else:
        by_perturbation = isinstance(config, UnseenPerturbation)
        parts, names = _singles(screen, config, rng) if by_perturbation else _pairs(screen, config, rng)
        conditions = frozenset(np.flatnonzero(parts == TEST).tolist())
        part = parts[screen.condition]
    rows = [np.flatnonzero(part == number) for number in (TRAIN, VALIDATION, TEST, UNUSED)]
    for what, chosen in zip(("training", "validation", "test"), rows, strict=False):
        if not len(chosen):
            several = [name for name in CONTEXTS if (column := getattr(screen, name)) and len(column.names) > 1]
            pairs = sum(len(c) == 2 for c in screen.conditions)
            alone = isinstance(config, UnseenCombination) and not pairs
            advice = "without pairs, the kind of the split must be perturbation" if alone else "change the shares"
            other = f", or pass --set 'data.split={{kind: context, label: {several[0]}}}'" if several else ""
            raise InputError(
                f"{screen.source}: split by {config.kind}: the {what} part is empty ({len(screen.conditions) - 1} "
                f"conditions, {pairs} of them pairs); {advice}{other}"
            )
    done = CellSplit(*rows, seed=seed, conditions=conditions, names=names, context=context)
    check_leaks(screen, done)
    return done


def check_leaks(screen: Screen, split: CellSplit) -> None:
    """InputError if a cell is in two parts, or if a cell that is trained on or chosen by has what the test must show
    to be new: a tested condition, a name, or a perturbation in the new context."""
    parts = {"train": split.train, "validation": split.validation, "test": split.test, "unused": split.unused}
    times = np.bincount(np.concatenate(list(parts.values())), minlength=len(screen))
    if (twice := np.flatnonzero(times > 1)).size:
        raise InputError(f"{screen.source}: leak: cell '{screen.ids[twice[0]]}' is in two parts")
    for part in ("train", "validation"):
        rows = parts[part]
        for number in np.unique(screen.condition[rows]).tolist():
            condition = screen.conditions[number]
            if number in split.conditions or condition.names & split.names:
                raise InputError(f"{screen.source}: leak: '{condition}' is in {part}, and tested as new")
        if split.context is not None:
            label, name = split.context
            column = getattr(screen, label)[rows]
            if ((column.codes == column.names.index(name)) & _moved(screen)[rows]).any():
                raise InputError(f"{screen.source}: leak: perturbed cells of {label} '{name}' are in {part}")


def _moved(screen: Screen) -> np.ndarray:
    """Perturbed cells, (N,) bool; all cells if none is perturbed."""
    perturbed = screen.condition != 0
    return perturbed if perturbed.any() else ~perturbed


def _without(screen: Screen, new: np.ndarray, validation: float, rng: np.random.Generator) -> np.ndarray:
    """Part of each cell, (N,), if the `new` cells are tested; controls are for training."""
    part = np.where(new, TEST, TRAIN)
    rest = np.flatnonzero(~new & _moved(screen))
    part[rest] = np.where(_of_every_condition(screen, rest, (0, validation), rng), VALIDATION, TRAIN)
    return part


def _of_every_condition(
    screen: Screen, cells: np.ndarray, shares: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Part of each cell, (cells,), with these rounded shares of test and validation in every condition."""
    part = np.full(len(cells), TRAIN)
    for number in np.unique(screen.condition[cells]):
        rows = rng.permutation(np.flatnonzero(screen.condition[cells] == number))
        test, validation = (round(share * len(rows)) for share in shares)
        part[rows[:test]] = TEST
        part[rows[test : test + validation]] = VALIDATION
    return part


def _draw(names: Sequence, config: _Shares, rng: np.random.Generator) -> tuple[set, set]:
    """Draw names for the test and others for validation, at least one of each."""
    order = [names[place] for place in rng.permutation(len(names))]
    test, validation = (max(1, round(share * len(names))) for share in (config.test, config.validation))
    return set(order[:test]), set(order[test : test + validation])


def _alone(screen: Screen) -> list[str]:
    """Names that are a condition alone."""
    return sorted({name for condition in screen.conditions if len(condition.names) == 1 for name in condition.names})


def _singles(screen: Screen, config: _Shares, rng: np.random.Generator) -> tuple[np.ndarray, frozenset[str]]:
    test, validation = _draw(_alone(screen), config, rng)
    parts = np.full(len(screen.conditions), TRAIN)
    for number, condition in enumerate(screen.conditions):
        if condition.names & test:
            parts[number] = TEST if condition.names <= test and len(condition.names) == 1 else UNUSED
        elif condition.names & validation:
            parts[number] = VALIDATION if len(condition.names) == 1 else UNUSED
    return parts, frozenset(test)


def _pairs(screen: Screen, config: UnseenCombination, rng: np.random.Generator) -> tuple[np.ndarray, frozenset[str]]:
    alone = _alone(screen)
    parts = np.full(len(screen.conditions), TRAIN)
    names = [condition.names for condition in screen.conditions]
    if config.seen == 2:
        pairs = sorted({tuple(sorted(n)) for n in names if len(n) == 2 and n <= set(alone)})
        test, validation = _draw(pairs, config, rng)
        for number, pair in enumerate(names):
            key = tuple(sorted(pair))
            parts[number] = TEST if key in test else VALIDATION if key in validation else TRAIN
        return parts, frozenset()
    test, validation = _draw(sorted({name for n in names if len(n) == 2 for name in n}), config, rng)
    seen = set(alone) - test - validation
    for number, pair in enumerate(names):
        if pair & (test | validation):
            tested = len(pair) == 2 and len(pair & seen) == config.seen
            new = pair - seen
            fits = TEST if new <= test else VALIDATION if new <= validation else UNUSED
            parts[number] = fits if tested else UNUSED
    return parts, frozenset(test)


def _context(screen: Screen, config: UnseenContext, rng: np.random.Generator) -> str:
    column = getattr(screen, config.label)
    if column is None:
        raise InputError(f"{screen.source}: has no {config.label}; set its column in the settings of the data")
    if config.name is None:
        return str(rng.choice([column.names[code] for code in np.unique(column.codes[_moved(screen)])]))
    if config.name not in column.names:
        hint = did_you_mean(config.name, column.names)
        raise InputError(f"{screen.source}: no {config.label} is '{config.name}'{hint}")
    return config.name
