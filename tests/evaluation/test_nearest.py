from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from anyjepa.evaluation.nearest import nearest


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_neighbours_in_chunks_equal_a_full_sort(chunk):
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(60, 5)) + 3).astype(np.float32)
    among, queries = rng.permutation(60)[:40], rng.permutation(60)[:25]  # some queries are among the rows, some not
    with mock.patch("anyjepa.evaluation.nearest.CHUNK", chunk):
        rows, cosine = nearest(features, queries, among, 4)
    z = (features - features[among].mean(0)) / features[among].std(0)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    for query, found, similarity in zip(queries, rows, cosine, strict=True):
        others = among[among != query]
        expected = others[np.argsort(-z[others] @ z[query])[:4]]
        assert found.tolist() == expected.tolist()
        np.testing.assert_allclose(similarity, z[expected] @ z[query], rtol=1e-5)


def test_a_query_is_not_its_own_neighbour_beside_copies():
    rows, cosine = nearest(np.ones((5, 3)), np.arange(5), np.arange(5), 9)
    assert [sorted(found) for found in rows.tolist()] == [[x for x in range(5) if x != own] for own in range(5)]
    assert (cosine == 0).all()
