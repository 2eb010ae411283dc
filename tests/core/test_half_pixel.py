"""Half a pixel: what is sharpened stays where it was on the ground."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from s2sharp_core import BANDS, sharpen
from s2sharp_core.bands import BY_GSD
from s2sharp_core.scene import make_scene
from s2sharp_core.sensor.response import sigma
from s2sharp_core.sensor.simulate import landscape

from .scenes import NORTH, SOUTH, box_at, native

CELLS = 40
RIM = 24  # 10 m pixels left out on each side: there, sharpening continues the picture


def phase_shift(moved: np.ndarray, still: np.ndarray, finest: float) -> np.ndarray:
    """(down, right) of `moved` against `still` in pixels: the slope of their cross-spectrum's phase.

    Only frequencies below `finest` cycles per pixel count.
    """
    window = np.outer(*(np.hanning(side) for side in still.shape))
    a, b = (np.fft.fft2((x - x.mean()) * window) for x in (moved, still))
    fy, fx = np.meshgrid(*(np.fft.fftfreq(side) for side in still.shape), indexing="ij")
    cross = a * b.conj()
    use = (np.hypot(fy, fx) < finest) & (np.hypot(fy, fx) > 0)
    weight = np.sqrt(np.abs(cross[use]))
    slopes = -2 * np.pi * np.stack([fy[use], fx[use]], axis=1)
    return np.linalg.lstsq(slopes * weight[:, None], np.angle(cross[use]) * weight, rcond=None)[0]


@pytest.fixture(scope="module")
def truth():
    return landscape((6 * CELLS, 6 * CELLS), seed=4242)


def shifts(seen, truth, method, lattice, gsd) -> np.ndarray:
    """(bands, 2): how far the sharpened bands lie from the truth, in 10 m pixels."""
    scene = make_scene(seen, lattice, box_at(CELLS, CELLS))
    result = sharpen(scene, method, bands=BY_GSD[gsd])
    inner = slice(RIM, -RIM)
    out = []
    for band in BY_GSD[gsd]:
        still, finest = truth[list(BANDS).index(band)], 0.3
        if method == "bicubic":
            # An interpolation knows what the coarse grid has seen: the truth through the band's
            # (symmetric) blur. A net has to get the fine detail right as well.
            still, finest = gaussian_filter(still, sigma(BANDS[band].mtf, gsd // 10)), 3 / gsd
        out.append(phase_shift(result[band].values[inner, inner], still[inner, inner], finest))
    return np.stack(out)


def half_a_pixel(truth: np.ndarray) -> np.ndarray:
    """The same, half a 10 m pixel farther down and right."""
    down = (truth + np.roll(truth, 1, axis=1)) / 2
    return (down + np.roll(down, 1, axis=2)) / 2


@pytest.mark.parametrize("gsd", [20, 60])
@pytest.mark.parametrize("method", ["bicubic", "dsen2"])
@pytest.mark.parametrize("lattice", [NORTH, SOUTH], ids=["north", "south"])
def test_sharpening_puts_edges_where_they_were(truth, method, lattice, gsd):
    off = shifts(native(truth, np.inf), truth, method, lattice, gsd)
    assert np.abs(off).max() < 0.05


@pytest.mark.parametrize("gsd", [20, 60])
@pytest.mark.parametrize("method", ["bicubic", "dsen2"])
def test_half_a_pixel_would_be_noticed(truth, method, gsd):
    """A negative control: the scene lies half a 10 m pixel away from where the truth is."""
    off = shifts(native(half_a_pixel(truth), np.inf), truth, method, NORTH, gsd)
    assert np.abs(off - 0.5).max() < 0.1


@pytest.mark.parametrize("band", ["B05", "B12", "B01"])
def test_one_band_half_a_pixel_off_would_be_noticed(truth, band):
    gsd = BANDS[band].gsd
    seen = native(truth, np.inf)
    seen[band] = native(half_a_pixel(truth), np.inf)[band]
    off = shifts(seen, truth, "bicubic", NORTH, gsd)
    this = BY_GSD[gsd].index(band)
    assert np.abs(off[this] - 0.5).max() < 0.1
    assert np.abs(np.delete(off, this, axis=0)).max() < 0.05


@pytest.mark.parametrize("lattice", [NORTH, SOUTH], ids=["north", "south"])
def test_the_result_says_where_the_10_m_pixels_are(truth, lattice):
    box = box_at(CELLS, CELLS)
    scene = make_scene(native(truth), lattice, box)
    result = sharpen(scene, "bicubic", bands=["B02", "B05", "B01"])
    left, bottom, right, top = lattice.bounds(box)
    assert np.array_equal(result.x, np.arange(left + 5, right, 10))
    assert np.array_equal(result.y, np.arange(top - 5, bottom, -10))
    assert result.x.equals(scene["r10m"].x)
    assert result.y.equals(scene["r10m"].y)
    assert result.rio.crs.to_epsg() == lattice.epsg
    assert top % 60 == (40 if lattice is SOUTH else 0)
