from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from napari_staligner.core.domains.mixture import Fit, as_likely, climb, mixture, most_agreed
from napari_staligner.core.progress import finish


@pytest.fixture(scope="module")
def long_groups():
    """Three groups that share one long, slanted covariance: k-means cuts them across."""
    rng = np.random.default_rng(1)
    turn = np.array([[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
    noise = rng.normal(size=(900, 3)) * [6.0, 0.4, 1.0] @ turn.T
    truth = np.repeat([0, 1, 2], 300)
    z = noise + np.array([[0, 0, 0], [-2, 2.6, 0], [2, -2.6, 1]])[truth]
    return z - z.mean(axis=0), truth


def test_climbs_to_the_optimum_of_scikit_learn(long_groups):
    z, truth = long_groups
    start = (truth + (np.arange(900) % 7 == 0)) % 3
    fit = climb(z, z.T @ z, start, 1e-10)
    means = np.stack([z[start == c].mean(axis=0) for c in range(3)])
    theirs = GaussianMixture(
        3, covariance_type="tied", means_init=means, tol=1e-10, max_iter=2000, reg_covar=1e-5
    ).fit(z)
    constant = -0.5 * 3 * np.log(2 * np.pi)
    assert fit.likelihood + constant == pytest.approx(theirs.score(z), abs=1e-4)
    np.testing.assert_allclose(fit.shares, theirs.predict_proba(z), atol=1e-2)


def test_finds_long_groups_from_any_seed(long_groups):
    z, truth = long_groups
    for seed in range(3):
        labels = finish(mixture(z, 3, seed)).labels
        agree = max((labels == np.take(order, truth)).mean() for order in np.ndindex(3, 3, 3))
        assert agree > 0.97


def test_is_the_same_for_a_seed(long_groups):
    z, _ = long_groups
    one, again = (finish(mixture(z, 3, 5)).shares for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_starts_tried_on_some_spots_lead_to_the_same_optimum(long_groups, monkeypatch):
    z, _ = long_groups
    whole = finish(mixture(z, 3, 0))
    monkeypatch.setattr("napari_staligner.core.domains.mixture.TRIAL_SPOTS", 400)
    tried = finish(mixture(z, 3, 0))
    assert tried.likelihood == pytest.approx(whole.likelihood, abs=1e-5)
    assert len(tried.labels) == 900


def fit_of(labels, each):
    shares = np.eye(max(labels) + 1)[labels]
    return Fit(float(np.mean(each)), shares, np.asarray(each, dtype=float))


def test_optima_are_told_apart_by_blocks_of_tissue():
    rng = np.random.default_rng(0)
    labels, blocks = np.arange(400) % 2, np.arange(400) // 20
    best = fit_of(labels, np.zeros(400))
    worse = fit_of(labels, -1 + 0.5 * rng.normal(size=400))
    # Counted by spots, this one would be worse as well; it is in one block that it is.
    unclear = fit_of(labels, np.where(blocks == 0, -3.0, 0.0))
    same = fit_of(labels, np.full(400, -1e-3))
    assert as_likely([worse, unclear, same, best], blocks) == [best, unclear]


def test_of_optima_as_likely_the_one_that_agrees_with_the_others_is_kept():
    truth = np.repeat([0, 1, 2], 40)
    near, far = truth.copy(), np.arange(120) % 3
    near[:4] = 1
    fits = [fit_of(labels, np.zeros(120)) for labels in (far, truth, near)]
    kept, stability = most_agreed(fits)
    assert kept is not fits[0]
    assert stability == pytest.approx(0.45, abs=0.05)
    assert most_agreed(fits[:1]) == (fits[0], 1.0)
