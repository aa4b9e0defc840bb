"""Settings of a sweep: every combination of the values of some keys, or a random choice of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import product
from math import prod
from typing import Any

from anyjepa.errors import InputError
from anyjepa.randomness import generator
from anyjepa.recipes.yaml_text import plain_yaml

SEED = "training.seed"
LARGEST = 1000  # combinations
LONGEST = 100  # characters of a name

Axes = dict[str, tuple[Any, ...]]  # values by key
Point = dict[str, Any]  # one value by key


def read_axes(settings: Sequence[str] | Mapping[str, Sequence[Any]]) -> Axes:
    """The values of each key, without repetitions.

    settings: texts such as 'training.optimiser.lr=0.001,0.003', or lists of values by key. Values in texts are YAML
    with commas between them, so a list needs brackets: 'objective.masks.keep=[0.1,0.2],[0.2,0.3]'. 'seed' stands for
    'training.seed'. Raises InputError.
    """
    axes: Axes = {}
    pairs = settings.items() if isinstance(settings, Mapping) else map(_read, settings)
    for key, values in pairs:
        name = SEED if key == "seed" else key
        if name in axes:
            raise InputError(f"--set {key}: occurs twice; list all of its values in one --set, with commas")
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise InputError(f"{key}: pass a list of values")
        axes[name] = tuple({repr(value): value for value in values}.values())
    return axes


def points(axes: Axes, random: int | None = None, seed: int = 0) -> list[Point]:
    """Every combination of values, each with all values of training.seed; the last key changes fastest.

    random: draw this many combinations, with `seed` and without replacement; each still gets all values of
    training.seed. Raises InputError for more than LARGEST runs.
    """
    others = {key: values for key, values in axes.items() if key != SEED}
    sizes, seeds = [len(values) for values in others.values()], axes.get(SEED, (None,))
    count = prod(sizes) if random is None else min(random, prod(sizes))
    if (runs := count * len(seeds)) > LARGEST:
        raise InputError(f"sweep: {runs:,} runs are more than {LARGEST:,}; pass --random N")
    places = product(*map(range, sizes)) if count == prod(sizes) else _distinct(count, sizes, seed)
    combinations = [dict(zip(others, _at(others, place), strict=True)) for place in places]
    return [{key: point.get(key, one) for key in axes} for point in combinations for one in seeds]


def names(axes: Axes, chosen: Sequence[Point]) -> list[str]:
    """A folder name per combination, such as 'lr=0.001,seed=0', from the keys with several values."""
    short = short_keys([key for key, values in axes.items() if len(values) > 1])
    texts = [",".join(f"{name}={_text(point[key])}" for key, name in short.items()) or "run" for point in chosen]
    return [
        f"{text[:LONGEST]}-{blake2b(repr(point).encode(), digest_size=4).hexdigest()}"
        if len(text) > LONGEST or texts.count(text) > 1
        else text
        for text, point in zip(texts, chosen, strict=True)
    ]


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """The shortest end of each key that no other key shares."""
    return {key: _short(key, keys) for key in keys}


def _read(setting: str) -> tuple[str, list[Any]]:
    key, equals, text = setting.partition("=")
    if not equals or not key or not text.strip():
        raise InputError(f"--set {setting}: write it as key=value,value, e.g. training.optimiser.lr=0.001,0.003")
    try:
        values = plain_yaml(f"[{text}]", f"--set {key}")
    except InputError as error:
        raise InputError(f"{error}; put commas between values, and brackets around a value that is a list") from None
    return key, [_number(value) for value in values]


def _number(value: Any) -> Any:
    """Read 1e-3 as a number; in YAML it is a string."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+", value) else value


def _distinct(count: int, sizes: Sequence[int], seed: int) -> list[tuple[int, ...]]:
    """`count` different places in a grid, in its order."""
    rng, places = generator(seed, "sweep", 0), set[tuple[int, ...]]()
    while len(places) < count:
        places.add(tuple(rng.integers(sizes).tolist()))
    return sorted(places)


def _at(axes: Axes, place: Sequence[int]) -> list[Any]:
    return [values[number] for values, number in zip(axes.values(), place, strict=True)]


def _short(key: str, keys: Sequence[str]) -> str:
    parts = key.split(".")
    for length in range(1, len(parts)):
        end = ".".join(parts[-length:])
        if not any(other != key and f".{other}".endswith(f".{end}") for other in keys):
            return end
    return key


def _text(value: Any) -> str:
    shown = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    return re.sub(r"[^\w.+-]+", "-", shown).strip("-")
