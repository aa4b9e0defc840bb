"""Places of a record: which are hard to predict, and colours of their tokens."""

from __future__ import annotations

import numpy as np

from anyjepa.report.contents import read_contents
from anyjepa.report.places import error_figure, errors, tokens
from anyjepa.runs.place_pictures import token_colours

RNG = np.random.default_rng(0)


def test_components_separate_two_textures_that_were_planted() -> None:
    """Patches of stripes and of a chessboard take turns; only single pixels differ within a texture."""
    stripes, board = np.indices((8, 8))[0] % 2, np.indices((8, 8)).sum(0) % 2
    texture = np.indices((6, 6)).sum(0).ravel() % 2
    patches = np.where(texture[:, None], board.ravel(), stripes.ravel()) + 0.2 * RNG.normal(size=(36, 64))
    colours, explained = token_colours(np.stack([patches, patches[::-1]]))
    one, other = (colours[0, texture == kind].astype(float) for kind in (0, 1))
    within = max(np.ptp(group[:, 0]) for group in (one, other))
    assert abs(one[:, 0].mean() - other[:, 0].mean()) > 2 * within
    np.testing.assert_array_equal(colours[1], colours[0][::-1])  # over all records together
    assert 0.5 < explained < 1


def test_tokens_without_differences_are_grey() -> None:
    colours, explained = token_colours(np.ones((2, 5, 4)))
    assert (colours == 128).all()
    assert explained == 0


def test_the_darkest_place_of_an_ecg_is_the_one_with_the_largest_error(run) -> None:
    arrays = dict(np.load(run / "artifacts" / "places.npz"))
    arrays["errors"][0, 70] = 9.0
    shades = error_figure(arrays).axes[0].collections
    strongest = max((one for one in shades if len(one.get_facecolor())), key=lambda one: one.get_facecolor()[0, 3])
    assert strongest.get_paths()[0].vertices[:, 0].min() == 15 + 25 * 7.0  # mm from the left, at 7 s


def test_the_page_has_a_caption_and_a_text_for_both(run) -> None:
    contents = read_contents(run)
    assert 'class="paper"' in (page := errors(contents))
    assert page.count("Mean error of each hidden place, from 0.1 (no colour) to 0.9") == 1
    assert page.count("Prediction error.") == 2  # title and label of the picture
    assert tokens(contents).count("three principal components (80% of the variance)") == 1


def test_arrays_that_do_not_fit_are_named(run) -> None:
    arrays = dict(np.load(run / "artifacts" / "places.npz"))
    np.savez(run / "artifacts" / "places.npz", **arrays | {"leads": np.array(["I"])})
    assert "could not be drawn" in errors(read_contents(run))
    (run / "artifacts" / "places.npz").unlink()
    assert errors(read_contents(run)) == tokens(read_contents(run)) == ""
