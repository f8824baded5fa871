"""Whether the colours of categories can be told apart, by the colour-blind as well."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from napari_staligner.core.palette import categorical_colors, to_rgba

# Machado, Oliveira and Fernandes (2009), severity 1.0: linear RGB as it is seen.
SEEN_WITH = {
    "normal vision": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def smallest_distance(colors: list[str], vision: str) -> float:
    """CIEDE2000 between the two most alike; 2.3 is just noticed, side by side."""
    rgb = to_rgba(colors)[:, :3].astype(float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ SEEN_WITH[vision].T, 0, 1)
    back = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    lab = rgb2lab(back[None])[0]
    distances = deltaE_ciede2000(lab[:, None], lab[None])
    return float(distances[np.triu_indices(len(colors), 1)].min())


@pytest.mark.parametrize("vision", SEEN_WITH)
@pytest.mark.parametrize(("n", "least"), [(8, 10), (20, 7.5), (32, 6)])
def test_colours_can_be_told_apart(n, least, vision):
    assert smallest_distance(categorical_colors(n), vision) > least


def test_the_distance_sees_what_the_colour_blind_do_not():
    red_and_green = ["#a85032", "#70702d"]
    assert smallest_distance(red_and_green, "normal vision") > 25
    assert smallest_distance(red_and_green, "deuteranopia") < 10
