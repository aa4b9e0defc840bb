"""Proteins told from expression: metrics against their definitions, the ridge, and results that are damaged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyjepa.errors import InputError
from anyjepa.evaluation.proteins.result import ProteinResult
from anyjepa.evaluation.proteins.scores import MeasuredProteins, own_rank, ridge, score_proteins

NAMES = ("CD3", "CD4", "CD8")


def made(cells: int = 400, noise: float = 0.5):
    """Representation (N, 5), proteins that are linear in it up to noise, two types."""
    rng = np.random.default_rng(0)
    types = rng.integers(0, 2, cells)
    z = rng.normal(size=(cells, 5)) + types[:, None]
    level = z @ rng.normal(size=(5, 3)) + noise * rng.normal(size=(cells, 3))
    order = rng.permutation(cells)
    return z, types, MeasuredProteins(NAMES, level, order[: cells // 2], order[cells // 2 :], cell_type=types)


def test_every_number_by_its_definition():
    z, types, measured = made()
    latents = (z[measured.test], z[measured.test] + 1e-6)
    result = score_proteins(
        measured, {"z": z, "noise": np.random.default_rng(1).normal(size=z.shape)}, latents, "x", 200
    )
    level, train, test = measured.levels, measured.train, measured.test
    mean, spread = level[train].mean(0), level[train].std(0)
    predicted = ridge(z[train], (level[train] - mean) / spread, z[test]) * spread + mean
    r2 = 1 - ((predicted - level[test]) ** 2).sum(0) / ((level[test] - mean) ** 2).sum(0)
    first, noise, by_type, matched = result.rows
    np.testing.assert_allclose(first.by_protein, r2)
    np.testing.assert_allclose(first.metrics["r2"].mean, r2.mean())
    assert first.metrics["r2"].mean > 0.8
    assert abs(noise.metrics["r2"].mean) < 0.05
    assert noise.metrics["rank"].mean == pytest.approx(0.5, abs=0.06)
    assert first.difference == {}
    low, high = noise.difference["r2"].bootstrap
    assert low < first.metrics["r2"].mean - noise.metrics["r2"].mean == noise.difference["r2"].mean < high
    types_mean = np.stack([level[train[types[train] == t]].mean(0) for t in (0, 1)])[types[test]]
    r2 = 1 - ((types_mean - level[test]) ** 2).sum(0) / ((level[test] - mean) ** 2).sum(0)
    np.testing.assert_allclose(by_type.by_protein, r2)
    assert matched.by_protein is None
    assert matched.metrics["first"].mean == 1.0
    assert result.cells == (200, 200)


def test_the_ridge_is_the_closed_form_at_its_penalty():
    z, _, measured = made(noise=3)
    train = measured.train
    y = measured.levels[train] - measured.levels[train].mean(0)
    found = ridge(z[train], y, z[measured.test])
    standard = (z - z[train].mean(0)) / z[train].std(0)
    candidates = [
        np.linalg.solve(standard[train].T @ standard[train] + p * np.eye(5), standard[train].T @ y)
        for p in np.logspace(-1, 5, 13)
    ]
    for protein in range(3):
        errors = [np.abs(standard[measured.test] @ w[:, protein] - found[:, protein]).max() for w in candidates]
        assert min(errors) < 1e-8


@given(st.integers(0, 1000), st.integers(2, 250))
def test_own_rank_is_one_for_the_truth_and_half_for_one_answer_to_all(seed, cells):
    truth = np.random.default_rng(seed).normal(size=(cells, 4))
    assert (own_rank(truth, truth, seed) == 1).all()
    one_answer = own_rank(np.zeros_like(truth), truth, seed).mean()
    assert one_answer == pytest.approx(0.5, abs=0.1 if cells > 100 and cells % 100 else 1e-9)
    same = np.zeros_like(truth)
    np.testing.assert_allclose(own_rank(truth, same, seed), 0.5)  # ties count half


def test_a_type_that_training_lacks_has_the_mean_of_all():
    z, _, measured = made(cells=40)
    types = np.zeros(40, int)
    types[measured.test] = 3
    measured = replace(measured, cell_type=types)
    result = score_proteins(measured, {"z": z}, None, "x", 0)
    np.testing.assert_allclose(result.rows[1].by_protein, 0, atol=1e-12)
    assert result.rows[1].difference["r2"].bootstrap is None


def test_a_result_is_kept_as_json_and_damage_is_named(tmp_path):
    z, _, measured = made(cells=40)
    result = score_proteins(measured, {"z": z}, None, "x", 10)
    path = tmp_path / "x.json"
    path.write_text(result.model_dump_json())
    assert ProteinResult.from_json(path) == result
    assert "CD" not in str(result)
    assert "own rank" in str(result)
    plain = json.loads(path.read_text())
    second = plain["rows"][1]
    for change in (
        {"rows": []},
        {"proteins": ["CD3"]},
        {"proteins": [], "rows": [plain["rows"][0] | {"by_protein": []}]},
        {"cells": 3},
        {"schema_version": 2},
        {"over": "people"},
        {"rows": [plain["rows"][0], second | {"by_protein": [0.1]}]},
        {"rows": [plain["rows"][0], second | {"by_protein": [0.1, 0.2, float("nan")]}]},
        {"rows": [plain["rows"][0], second | {"metrics": {}}]},
        {"rows": [plain["rows"][0], second | {"difference": {}}]},
        {
            "rows": [
                plain["rows"][0],
                second | {"difference": {**second["difference"], "r2": {**second["difference"]["r2"], "mean": None}}},
            ]
        },
        {"rows": [plain["rows"][0] | {"by_protein": None}]},
    ):
        path.write_text(json.dumps(plain | change))
        with pytest.raises(InputError, match="not a result of protein prediction") as error:
            ProteinResult.from_json(path)
        assert "\n" not in str(error.value)
    path.write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        ProteinResult.from_json(path)
    with pytest.raises(InputError, match="two test cells; there are 20 and 1"):
        MeasuredProteins(NAMES, measured.levels, measured.train, measured.test[:1])


def test_groups_are_equally_large():
    """In the nearest of 100 a cell has 99 others whatever their number: with 101 cells the last is not alone."""
    truth = np.random.default_rng(0).normal(size=(101, 3))
    ranks = own_rank(truth + np.random.default_rng(1).normal(size=truth.shape), truth, 0)
    assert np.allclose(ranks * 99 * 2, np.round(ranks * 99 * 2))


def test_proteins_that_do_not_vary_are_left_out_and_named():
    z, _, measured = made(cells=60)
    level = measured.levels.copy()
    level[:, 1] = 3
    level[measured.test, 2] = 1
    result = score_proteins(replace(measured, levels=level), {"z": z, "noise": z[::-1]}, None, "x", 0)
    assert (result.proteins, result.left_out) == (("CD3",), ("CD4", "CD8"))
    assert "Excluded because they do not vary: CD4, CD8." in " ".join(str(result).split())
    assert result.rows[1].metrics["r2"].mean < 0.2
    with pytest.raises(InputError, match="no protein varies"):
        replace(measured, levels=np.ones_like(level))


def test_intervals_are_over_donors_where_they_are_known():
    z, _, measured = made()
    donor = np.repeat(np.arange(4), 100)
    by_donor = score_proteins(replace(measured, donor=donor), {"z": z}, None, "x", 300)
    assert by_donor.over == "donors"
    assert "intervals over donors" in " ".join(str(by_donor).split())
    one = score_proteins(replace(measured, donor=np.zeros(400, int)), {"z": z}, None, "x", 20)
    assert one.over == score_proteins(measured, {"z": z}, None, "x", 20).over == "cells"
