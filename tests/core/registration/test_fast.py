"""What is fast says what is plain: rasters, looks, threads, and where slices come to lie."""

from __future__ import annotations

from itertools import pairwise
from threading import Barrier, Thread

import numpy as np
from scipy import ndimage, sparse
from scipy.spatial import KDTree
from threadpoolctl import threadpool_info, threadpool_limits

from napari_staligner.core.prepare.graph import spacing
from napari_staligner.core.progress import finish
from napari_staligner.core.registration import RegistrationJob, apply, register_steps
from napari_staligner.core.registration.raster import blur, rasterize
from napari_staligner.core.registration.sections import Rasters
from napari_staligner.core.registration.transforms import about, turned
from napari_staligner.threads import in_single_products, single_products

BEFORE = {
    "B": [[-0.6422, 0.7665, 520.1214], [-0.7665, -0.6422, 924.0263]],
    "C": [[-0.7668, -0.6418, 877.3920], [-0.6418, 0.7668, 319.7229]],
}
"""Where the slices of :func:`three` came to lie when all was computed plainly."""


def three() -> RegistrationJob:
    """Three slices of one tissue, the second turned, the third mirrored and cut off."""
    rng = np.random.default_rng(0)
    places = [rng.random((500, 2)) * [1000, 700] for _ in range(3)]
    places[2] = places[2][places[2][:, 0] < 750]
    x, y = np.split(np.concatenate(places) / 300, 2, axis=1)
    z = np.hstack([x, y, np.sin(2 * x + y), np.cos(3 * y), x * y / 3])
    z += rng.normal(scale=0.15, size=z.shape)
    sizes = np.cumsum([0, *map(len, places)])
    trees = [KDTree(z[a:b]) for a, b in pairwise(sizes)]
    blocks = [[None] * 3 for _ in range(3)]
    for i in range(3):
        for j in range(i):
            near = trees[j].query(trees[i].data)[1]
            back = trees[i].query(trees[j].data)[1]
            rows = np.flatnonzero(back[near] == np.arange(len(near)))
            shape = len(places[i]), len(places[j])
            found = sparse.csr_matrix((np.ones(len(rows)), (rows, near[rows])), shape=shape)
            blocks[i][j], blocks[j][i] = found, found.T
    turns = turned(0), turned(130), turned(40, mirrored=True)
    moved = [apply(about(p.mean(axis=0), t), p) for p, t in zip(places, turns, strict=True)]
    mutual = sparse.bmat(blocks, format="csr")
    return RegistrationJob(dict(zip("ABC", moved, strict=True)), z, mutual)


def test_slices_come_to_lie_where_a_plain_computation_laid_them_however_many_threads(monkeypatch):
    # The factor of that computation.
    monkeypatch.setattr("napari_staligner.core.registration.pairs.CLEAR", 2.0)
    job, found = three(), []
    for threads in (1, 3):
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        monkeypatch.setattr("napari_staligner.threads.usable_cpus", lambda: 3)
        with threadpool_limits(threads):
            found.append(finish(register_steps(job)))
    for name, matrix in BEFORE.items():
        lain = [
            apply(t, job.coordinates[name]) for t in (found[0].transforms[name], np.array(matrix))
        ]
        away = np.linalg.norm(lain[0] - lain[1], axis=1).max()
        assert away < 0.1 * spacing(job.coordinates["A"])
    np.testing.assert_array_equal(found[0].aligned, found[1].aligned)
    np.testing.assert_array_equal(found[0].shift, found[1].shift)


def test_smoothing_by_products_is_that_of_a_gaussian_filter():
    image = np.pad(np.random.default_rng(0).random((70, 33, 2)), [(9, 9), (9, 9), (0, 0)])
    for sigma in (0.4, 2.0, 2.9):
        plain = ndimage.gaussian_filter(image, (sigma, sigma, 0), truncate=3.0, mode="constant")
        np.testing.assert_allclose(blur(image, sigma), plain, atol=1e-12)


def test_a_look_is_between_pixels_and_its_slopes_are_those_of_its_values():
    rng = np.random.default_rng(0)
    points = rng.random((200, 2)) * [20, 12]
    field = rasterize(points, rng.normal(size=(200, 3)), 2.0, 1.0)
    places = rng.random((50, 2)) * [30, 22] - 5
    at = (places - field.origin) / field.pixel
    look = field.look(places)
    for k in range(3):
        plain = ndimage.map_coordinates(field.values[..., k], at.T, order=1, mode="nearest")
        np.testing.assert_allclose(look.values[:, k], plain, atol=1e-9)
    plain = ndimage.map_coordinates(field.tissue, at.T, order=1, mode="constant")
    inside = ((at > 0) & (at < np.array(field.tissue.shape) - 1)).all(axis=1)
    np.testing.assert_allclose(look.tissue[inside], plain[inside], atol=1e-12)
    assert inside.any()
    assert not look.tissue[~inside].any()
    for axis in range(2):
        step = 1e-6 * np.eye(2)[axis]
        numeric = (field.look(places + step).values - field.look(places - step).values) / 2e-6
        np.testing.assert_allclose(look.slopes[axis][inside], numeric[inside], atol=1e-5)


def test_a_raster_that_several_threads_ask_for_is_made_once_and_the_oldest_goes_first():
    made, start = [], Barrier(3)
    field = rasterize(np.random.default_rng(0).random((20, 2)) * 9, np.ones((20, 1)), 1.0, 0.5)
    rasters = Rasters(most=2 * field.layers.nbytes)

    def ask(key: str) -> None:
        rasters.get(key, lambda: made.append(key) or field)

    def wait_and_ask() -> None:
        start.wait()
        ask("a")

    threads = [Thread(target=wait_and_ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == ["a"]
    for key in "baca":
        ask(key)
    assert made == ["a", "b", "c"]
    ask("b")
    assert made == ["a", "b", "c", "b"]


def test_products_have_one_thread_within_steps_and_their_own_between_and_after():
    def counts() -> set[int]:
        return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    def steps():
        yield counts()
        return counts()

    with threadpool_limits(2, user_api="blas"):
        run = in_single_products(steps())
        assert next(run) == {1}
        assert counts() == {2}
        with single_products():
            run.close()
            with single_products():
                assert counts() == {1}
            assert counts() == {1}
        assert counts() == {2}
