"""The combinations of a sweep: how values are written, drawn and named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.errors import InputError
from anyjepa.recipes.grid import names, points, read_axes


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("training.optimiser.lr=0.001,3e-3", (0.001, 0.003)),
        ("objective.masks.keep=[0.1,0.2],[0.2,0.3]", ([0.1, 0.2], [0.2, 0.3])),
        ("objective.masks.keep=[0.1,0.2]", ([0.1, 0.2],)),
        ("objective.target.kind=teacher,shared", ("teacher", "shared")),
        ("objective.masks={kind: spans, min_span: 3},{}", ({"kind": "spans", "min_span": 3}, {})),
        ("training.online=null,{every: 5}", (None, {"every": 5})),
        ('data.leads="a,b",c', ("a,b", "c")),
        ("training.steps=1,true,1", (1, True)),  # of two equal values one is left
    ],
)  # fmt: skip
def test_values_are_yaml_with_commas_between_them(text: str, values: tuple[object, ...]) -> None:
    (found,) = read_axes([text]).values()
    assert repr(found) == repr(values)


def test_seed_is_the_seed_of_the_training() -> None:
    assert read_axes(["seed=0,1"]) == read_axes({"training.seed": [0, 1]}) == {"training.seed": (0, 1)}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["lr"], "write it as key=value,value"),
        (["lr="], "write it as key=value,value"),
        (["keep=[0.1,0.2"], "brackets around a value that is a list"),
        (["keep=0.1],[0.2"], "brackets around a value that is a list"),
        (["seed=0", "training.seed=1"], "occurs twice"),
        ({"lr": "0.1,0.2"}, "pass a list of values"),
        ({"lr": []}, "pass a list of values"),
    ],
)
def test_what_is_not_a_list_of_values_is_one_line(settings, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_axes(settings)


def test_a_grid_has_every_combination_once_and_the_last_key_changes_fastest() -> None:
    axes = read_axes(["a=1,2", "b=x,y", "c=5"])
    assert points(axes) == [{"a": a, "b": b, "c": 5} for a in (1, 2) for b in ("x", "y")]
    assert points({}) == [{}]
    with pytest.raises(InputError, match="1,001 runs are more than 1,000"):
        points({"a": tuple(range(1001))})


@given(
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    count=st.integers(1, 20),
    seed=st.integers(0, 100),
    seeds=st.integers(1, 3),
)
def test_random_combinations_are_different_ones_of_the_grid_each_with_all_seeds(
    sizes: list[int], count: int, seed: int, seeds: int
) -> None:
    axes = {f"k{n}": tuple(range(size)) for n, size in enumerate(sizes)} | {"training.seed": tuple(range(seeds))}
    grid, chosen = points(axes), points(axes, count, seed)
    assert len(chosen) == min(count * seeds, len(grid))
    assert [point for point in grid if point in chosen] == chosen
    assert chosen == points(axes, count, seed)


def test_a_few_of_an_immense_grid_are_drawn_at_once() -> None:
    axes = {f"k{n}": tuple(range(10)) for n in range(40)}
    assert len(points(axes, 3)) == 3
    assert points(axes, 3, seed=1) != points(axes, 3, seed=2)


def test_names_hold_the_shortest_distinct_keys_and_their_values() -> None:
    axes = read_axes(["training.optimiser.lr=1e-3,0.01", "x.encoder.dim=8,16", "x.predictor.dim=4,8", "fixed=1"])
    first = names(axes, points(axes))[0]
    assert first == "lr=0.001,encoder.dim=8,predictor.dim=4"
    assert names({}, [{}]) == ["run"]
    odd = {"training.bool": (True, 1, None), "x.path": ("a/b", "a b")}
    alike = names(odd, points(odd))
    assert len(set(alike)) == 6
    assert all("/" not in name for name in alike)
    assert alike[0].startswith("bool=true,path=a-b-")
    (long, _) = names({"key": ("x" * 300, "y")}, [{"key": "x" * 300}, {"key": "y"}])
    assert len(long) < 120
