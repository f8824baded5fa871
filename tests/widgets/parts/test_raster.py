"""Spots as a picture."""

from __future__ import annotations

import numpy as np
import pytest

from napari_staligner.widgets.parts.raster import draw_spots

RED, BLUE, FAINT = (1, 0, 0, 1), (0, 0, 1, 1), (0.5, 0.5, 0.5, 0.25)
BOX, SIZE = (0.0, 0.0, 10.0, 5.0), (200, 100)


def test_a_spot_is_a_disc_at_its_place():
    picture = draw_spots(np.array([[2.0, 4.0]]), np.array([RED]), BOX, SIZE)
    assert picture.shape == (100, 200, 4)
    rows, columns = np.nonzero(picture[..., 3])
    assert rows.mean() == pytest.approx(80, abs=0.1)
    assert columns.mean() == pytest.approx(40, abs=0.1)
    assert 30 < len(rows) < 60
    assert picture[80, 40].tolist() == [255, 0, 0, 255]


def test_every_spot_has_a_part_in_the_picture():
    """However many there are: without any one of them, the picture is another."""
    rng = np.random.default_rng(0)
    xy, rgba = rng.uniform((0, 0), (10, 5), (300, 2)), np.tile(np.array(BLUE, float), (300, 1))
    xy[0] = xy[1]
    for i in range(0, 300, 10):
        one = rgba.copy()
        one[i] = RED
        whole = draw_spots(xy, one, BOX, (40, 20))
        assert whole[..., 0].max() > 0, i


def test_spots_in_one_pixel_give_the_mean_whatever_their_order():
    xy, rgba = np.array([[5, 2.5]] * 4), np.array([RED, RED, RED, BLUE])
    picture = draw_spots(xy, rgba, BOX, SIZE)
    assert picture[50, 100].tolist() == [191, 0, 64, 255]
    np.testing.assert_array_equal(picture, draw_spots(xy[::-1], rgba[::-1], BOX, SIZE))


def test_a_pixel_between_two_spots_shows_the_nearest():
    xy = np.array([[5.0, 2.5], [5.15, 2.5]])
    picture = draw_spots(xy, np.array([RED, BLUE]), BOX, SIZE)
    assert picture[50, 99].tolist() == [255, 0, 0, 255]
    assert picture[50, 104].tolist() == [0, 0, 255, 255]


def test_faint_spots_lie_below():
    xy = np.array([[5.0, 2.5]] * 9 + [[5.1, 2.5]] * 9)
    rgba = np.array([FAINT] * 9 + [RED] + [FAINT] * 8)
    picture = draw_spots(xy, rgba, BOX, SIZE)
    assert picture[50, 102].tolist() == [255, 0, 0, 255]
    assert picture[50, 100].tolist() == [255, 0, 0, 255]  # within the disc
    assert 0 < picture[50, 97, 3] < 80


def test_what_is_outside_or_nowhere_is_not_drawn():
    xy = np.array([[-3.0, 2], [12, 2], [np.nan, 1], [np.inf, 1], [10.05, 2.5]])
    picture = draw_spots(xy, np.array([RED, RED, RED, RED, BLUE]), BOX, SIZE)
    assert picture[..., 0].max() == 0
    assert picture[50, 199, 2] == 255  # the edge of a disc whose centre is outside


def test_many_spots_fill_the_plane_and_none_is_left_out():
    rng = np.random.default_rng(0)
    xy = rng.uniform((0, 0), (10, 5), (200_000, 2))
    picture = draw_spots(xy, np.ones((200_000, 4)), BOX, SIZE)
    occupied = np.zeros((100, 200), bool)
    occupied[np.floor(xy[:, 1] * 20).astype(int), np.floor(xy[:, 0] * 20).astype(int)] = True
    assert (picture[occupied, 3] == 255).all()


def test_no_spots():
    assert draw_spots(np.empty((0, 2)), np.empty((0, 4)), BOX, SIZE).max() == 0
