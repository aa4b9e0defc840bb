"""Find the questions that a screen can answer: what can be held out, so that predictions can be checked on cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from anyjepa.data.cells.genes import variable_genes
from anyjepa.data.cells.matching import Label
from anyjepa.data.cells.screen import Screen
from anyjepa.data.cells.splits import CellSplit, check_leaks
from anyjepa.errors import InputError
from anyjepa.perturbation.measured import effects_of
from anyjepa.perturbation.scoring.effects import Effects
from anyjepa.randomness import generator

LEAST = 3  # fewest perturbations, combinations or doses that a question needs
CELLS = 10  # fewest cells of a condition in a context, and of its controls
CONTEXTS = 20  # most values of a context label
MOST_GENES, LEAST_GENES, VALUES = 6000, 1000, 2**27
"""Largest panel that is used whole, and the values (cells x genes) above which fewer genes are used, down to 1,000."""


class Question(NamedTuple):
    """Something new to predict, such as unseen combinations, and splits of the screen that hold it out."""

    title: str  # such as 'unseen combinations'
    screen: Screen
    splits: tuple[CellSplit, ...]
    context: Label | None = None
    axis: str | None = None  # 'dose' or 'time', if this is what is new

    def effects(self, genes: int = MOST_GENES) -> list[Effects]:
        """Measured effects under every split, with at most `genes` genes, but always all perturbed ones.

        A larger panel is reduced to the genes that vary most over training cells.
        """
        perturbations = {str(condition) for condition in self.screen.conditions[1:]}
        by_context = self.context is not None and len(perturbations) < len(self.splits)
        return [
            effects_of(
                panel(self.screen, split.train, genes),
                split,
                prefix=f"{split.context[1]}: " if by_context and split.context else "",
                amounts=self.screen.has_amounts,
            )
            for split in self.splits
        ]


def usable_genes(cells: int) -> int:
    """Largest number of genes for this many cells, whose values are in memory a few times as float64."""
    return max(LEAST_GENES, min(MOST_GENES, VALUES // max(cells, 1)))


def panel(screen: Screen, cells: np.ndarray, genes: int, keep: Collection[str] = ()) -> Screen:
    """Reduce a screen to `genes` genes, the perturbed and the most variable ones over these cells, and `keep`."""
    if len(screen.genes) <= genes:
        return screen
    perturbed = sum(gene in screen.perturbations for gene in screen.genes)
    chosen = {*variable_genes(screen, cells, max(genes, perturbed)), *keep}
    return screen.select(genes=[gene for gene in screen.genes if gene in chosen])


def questions(
    screen: Screen, described: Collection[str] = (), folds: int = 10, seed: int = 0
) -> tuple[list[Question], dict[str, str]]:
    """List the questions that a screen can answer and, by title, why it cannot answer the others.

    described: perturbations with features, which can be predicted although they are not genes of the panel. folds: at
    most so many splits of combinations and of single perturbations.
    """
    possible: list[Question] = []
    impossible: dict[str, str] = {}
    for title, make in (
        ("unseen combinations", lambda: _combinations(screen, folds, seed)),
        ("unseen single perturbations", lambda: _singles(screen, described, folds, seed)),
        ("unseen cell type", lambda: unseen_context(screen, "cell_type")),
        ("unseen donor", lambda: unseen_context(screen, "donor")),
        ("unseen batch", lambda: unseen_context(screen, "batch")),
        ("unseen dose", lambda: _amounts(screen, "dose")),
        ("unseen time", lambda: _amounts(screen, "time")),
    ):
        try:
            possible.append(make()._replace(title=title))
        except InputError as error:
            impossible[title] = str(error)
    for question in possible:
        for split in question.splits:
            check_leaks(question.screen, split)
    return possible, impossible


def _combinations(screen: Screen, folds: int, seed: int) -> Question:
    alone = {next(iter(condition.names)) for condition in screen.conditions if len(condition.names) == 1}
    sets = {condition.names for condition in screen.conditions if len(condition) > 1 and condition.names <= alone}
    if len(sets) < LEAST:
        several = any(len(condition) > 1 for condition in screen.conditions)
        have = f"have parts that were all measured alone; at least {LEAST} are needed"
        raise InputError(f"{len(sets)} combinations {have}" if several else "the screen has no combinations")
    parts = [
        {i for i, condition in enumerate(screen.conditions) if condition.names in tested}
        for tested in _folds(sorted(sets, key=sorted), folds, seed)
    ]
    return Question("", screen, tuple(_split(screen, one, seed=seed) for one in parts))


def _singles(screen: Screen, described: Collection[str], folds: int, seed: int) -> Question:
    alone = {name for condition in screen.conditions if len(condition.names) == 1 for name in condition.names}
    if len(alone) < LEAST:
        raise InputError(f"perturbations measured alone: {len(alone)}; at least {LEAST} are needed")
    predictable = set(described) if screen.has_amounts else {*described, *screen.genes}
    if len(alone & predictable) < LEAST:
        lacking = "have features" if screen.has_amounts else "are genes of the panel or have features"
        raise InputError(
            f"{len(alone & predictable)} of {len(alone)} perturbations {lacking}, and {LEAST} are needed; pass "
            "--features FILE" + ("" if screen.has_amounts else ", or --set gene_names=COLUMN if var has other names")
        )
    splits = []
    for tested in _folds(sorted(alone & predictable), folds, seed, sorted(alone - predictable)):
        new = {i for i, c in enumerate(screen.conditions) if c.names and c.names <= tested and len(c.names) == 1}
        unused = {i for i, c in enumerate(screen.conditions) if c.names & tested} - new
        splits.append(_split(screen, new, unused, frozenset(tested), seed))
    return Question("", screen, tuple(splits))


def unseen_context(screen: Screen, label: Label) -> Question:
    """Hold out in turn each cell type, donor or batch with enough control and perturbed cells. Raises InputError."""
    column = getattr(screen, label)
    if column is None:
        raise InputError(f"the screen has no {label}; pass --set {label}=COLUMN if a column has it")
    if len(column.names) > CONTEXTS:
        raise InputError(
            f"there are {len(column.names)} values of {label}; pass --set {label}=COLUMN with at most {CONTEXTS}"
        )
    stratum = column.codes * len(screen.conditions) + screen.condition
    enough = (np.bincount(stratum) >= CELLS)[stratum]
    controlled = np.isin(column.codes, np.unique(column.codes[enough & (screen.condition == 0)]))
    screen = screen.select(cells=np.flatnonzero(enough & controlled))
    column = getattr(screen, label)
    perturbed = screen.condition != 0
    there = np.unique(column.codes[perturbed]).tolist()
    if len(there) < 2:
        raise InputError(
            f"the number of values of {label} with {CELLS} control cells and {CELLS} cells of a perturbation is "
            f"{len(there)}; at least 2 are needed"
        )
    splits = []
    for code in there:
        new = (column.codes == code) & perturbed
        context = label, column.names[code]
        empty = np.empty(0, np.int64)
        splits.append(CellSplit(np.flatnonzero(~new), empty, np.flatnonzero(new), empty, seed=0, context=context))
    return Question("", screen, tuple(splits), label)


def _amounts(screen: Screen, of: str) -> Question:
    levels = sorted({getattr(one, of) for condition in screen.conditions for one in condition} - {None, 0.0})
    if len(levels) < LEAST:
        few = f"the number of values of {of} above 0 is {len(levels)}; at least {LEAST} are needed"
        raise InputError(few if levels else f"the screen has no {of}")
    parts = [
        {i for i, condition in enumerate(screen.conditions) if any(getattr(one, of) == level for one in condition)}
        for level in levels
    ]
    return Question("", screen, tuple(_split(screen, one) for one in parts), axis=of)


def _split(
    screen: Screen, tested: set[int], unused: Iterable[int] = (), names: frozenset[str] = frozenset(), seed: int = 0
) -> CellSplit:
    new, dropped = np.isin(screen.condition, list(tested)), np.isin(screen.condition, list(unused))
    rows = (np.flatnonzero(one) for one in (~new & ~dropped, np.zeros(len(screen), bool), new, dropped))
    return CellSplit(*rows, seed=seed, conditions=frozenset(tested), names=names)


def _folds(items: list, folds: int, seed: int, more: Sequence = ()) -> list[set]:
    """Divide the items, and those of `more`, into at most `folds` parts of nearly equal size."""
    parts = min(folds, len(items))
    order = [items[i] for i in generator(seed, "folds of a question", 0).permutation(len(items))]
    return [{*order[one::parts], *more[one::parts]} for one in range(parts)]
