"""The classical references: area-to-point regression kriging and SupReME."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
import torch

from s2sharp_core import S2SharpError
from s2sharp_core.bands import BANDS, BY_GSD, COARSE, GSDS, ratio
from s2sharp_core.blocks import context, sharpen_block
from s2sharp_core.evaluation.metrics import rmse, sre
from s2sharp_core.lattice import Box
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.networks import KrigingNet, SubspaceNet
from s2sharp_core.networks.kriging import kriging_filters, seen_variogram
from s2sharp_core.sensor.observation import degrade, psf
from s2sharp_core.sensor.response import SENTINEL2, Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sensor.upsampling import upsample
from s2sharp_core.sharpeners.loading import load_sharpener, unfitted_sharpener
from s2sharp_core.sharpeners.methods import METHODS
from s2sharp_core.sharpeners.supreme import influence_beyond

CELLS = 44
NAMES = ("atprk", "supreme")
INNER = np.s_[..., 18:-18, 18:-18]


@pytest.fixture(scope="module")
def truth():
    return landscape((6 * CELLS, 6 * CELLS), 77)


@pytest.fixture(scope="module")
def sample(truth):
    return Sample.of(observe(truth))


def fit(name, sample, folder, bands=COARSE, sensor=SENTINEL2):
    METHODS[name].fit(sample, sensor, bands, FitOptions(), folder, "cpu", lambda *_: None)
    return load_sharpener(name, bands, folder, device="cpu")


@pytest.fixture(scope="module")
def fits(sample, tmp_path_factory):
    return {name: fit(name, sample, tmp_path_factory.mktemp(name)) for name in NAMES}


def run(sharpener, *ys):
    with torch.inference_mode():
        return sharpener.sharpen(*ys)


@pytest.fixture(scope="module")
def sharp(fits, sample):
    return {name: run(s, sample.y10, sample.y20, sample.y60) for name, s in fits.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("gsd", "gain"), [(20, 7), (60, 10)])
def test_it_leaves_interpolation_far_behind(name, gsd, gain, sharp, sample, truth):
    expected = truth[[list(BANDS).index(b) for b in BY_GSD[gsd]]][INNER]
    guess = np.stack([sharp[name][b][0].numpy() for b in BY_GSD[gsd]])[INNER]
    floor = upsample(sample.y20 if gsd == 20 else sample.y60, ratio(gsd))[0].numpy()[INNER]
    assert (sre(guess, expected) - sre(floor, expected)).mean() > gain


@pytest.mark.parametrize("gsd", [20, 60])
def test_kriging_gives_back_what_was_seen(gsd, sharp, sample):
    """Coherence: seen again with coarse pixels, the result is the observation, but for what lies
    beyond the pixels that each one is kriged from."""
    again = degrade(
        torch.stack([sharp["atprk"][b] for b in BY_GSD[gsd]], dim=1), BY_GSD[gsd], ratio(gsd)
    )
    y = sample.y20 if gsd == 20 else sample.y60
    inner = np.s_[:, 6:-6, 6:-6]
    left = rmse(again[0].numpy()[inner], y[0].numpy()[inner])
    # The less a kernel passes at the Nyquist frequency, the wider its inverse: most in the short-wave infrared.
    least = np.array([8.0 if band in ("B11", "B12") else 5.0 for band in BY_GSD[gsd]])
    assert (left * 1e4 < least).all()
    assert (left < 0.01 * y[0].numpy().std(axis=(1, 2))).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_fit_is_the_same_twice(name, fits, sample, tmp_path):
    again = fit(name, sample, tmp_path)
    assert again.weights == fits[name].weights
    assert again.digest == fits[name].digest


@pytest.mark.parametrize("name", NAMES)
def test_it_travels_by_reference(name, fits):
    copy = pickle.loads(pickle.dumps(fits[name]))
    assert copy.digest == fits[name].digest
    assert len(pickle.dumps(fits[name])) < 2_000


@pytest.mark.parametrize("name", NAMES)
def test_what_it_will_be_is_known_before_the_fit(name, fits):
    blank = unfitted_sharpener(name, device="cpu")
    assert (blank.reads, blank.halo, blank.tolerance) == (
        fits[name].reads,
        fits[name].halo,
        fits[name].tolerance,
    )


@pytest.mark.parametrize("name", NAMES)
def test_too_little_to_fit_is_refused_with_the_smallest_size(name, sample, tmp_path):
    least = METHODS[name].smallest
    n = least - 1
    small = Sample(sample.y10[..., : 6 * n, :], sample.y20[..., : 3 * n, :], sample.y60[..., :n, :])
    words = rf"{n} × 44 cells.* at least {least} × {least} cells"
    with pytest.raises(S2SharpError, match=words) as error:
        fit(name, small, tmp_path)
    assert error.value.kind == "nothing-to-fit"


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_without_contrast_stays_as_it_is(name, tmp_path):
    level = {10: 0.1, 20: 0.2, 60: 0.3}
    flat = Sample(
        *(torch.full((1, len(BY_GSD[g]), 16 * 60 // g, 16 * 60 // g), level[g]) for g in GSDS)
    )
    result = run(fit(name, flat, tmp_path), flat.y10, flat.y20, flat.y60)
    for band, x in result.items():
        assert x[0, 40:-40, 40:-40].numpy() == pytest.approx(level[BANDS[band].gsd], abs=2e-4)


def test_kriging_reads_no_band_that_it_does_not_need(sample, tmp_path):
    one = fit("atprk", sample, tmp_path, ("B05",))
    assert one.reads == ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
    assert [f.name for f in tmp_path.glob("*.safetensors")] == ["atprk-20m.safetensors"]


# --- kriging weights


@pytest.mark.parametrize("sensor", [SENTINEL2, Sensor(centre="corner"), Sensor(blur="dsen2")])
@pytest.mark.parametrize(("band", "r"), [("B05", 2), ("B09", 6)])
def test_kriging_weights_solve_the_kriging_system(band, r, sensor):
    """Against the covariances of every 10 m pixel with every other, written out."""
    radius, length = 1, 1.7 * r
    k = psf(band, r, sensor).numpy()
    first = (len(k) - r) // 2 if sensor.centre == "cell" else (len(k) - 1) // 2
    starts = [r * tap - first for tap in range(-radius, radius + 1)]
    low, high = min(starts), max(starts) + len(k)
    low, high = min(low, 0), max(high, r)
    at = np.arange(low, high)
    axis = np.stack([np.where((at >= s) & (at < s + len(k)), 1.0, 0.0) for s in starts])
    for row, s in zip(axis, starts, strict=True):
        row[s - low : s - low + len(k)] = k
    yx = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2)
    sees = np.einsum("iy,jx->ijyx", axis, axis).reshape(9, -1)
    apart = np.hypot(yx[:, None, 0] - yx[None, :, 0], yx[:, None, 1] - yx[None, :, 1])
    c = np.exp(-apart / length)
    system = np.ones((10, 10))
    system[:9, :9] = sees @ c @ sees.T
    system[9, 9] = 0
    phase = (r - 1, 0)
    pixel = int(np.flatnonzero((yx == phase).all(axis=1))[0])
    weights = np.linalg.solve(system, np.append(sees @ c[:, pixel], 1))[:9]
    filters = kriging_filters(band, r, length, radius, sensor).numpy()
    assert filters[phase[0] * r + phase[1]].ravel() == pytest.approx(weights, abs=1e-9)
    assert filters.sum(axis=(1, 2)) == pytest.approx(1)


def test_the_correlation_length_is_found_again():
    """The variogram that a sensor sees grows more slowly the longer the field's correlation."""
    rows = [seen_variogram("B05", 2, length, 8, SENTINEL2) for length in (1.0, 4.0, 16.0)]
    shapes = [row / row[-1] for row in rows]
    assert all((a > b)[:-1].all() for a, b in pairwise(shapes))


# --- locality


def block(truth, box):
    seen = observe(truth)
    return {band: y for g in GSDS for band, y in zip(BY_GSD[g], seen[g], strict=True)}, box


def test_kriging_is_bitwise_the_same_wherever_a_block_is_cut(fits, truth):
    sharpener = fits["atprk"]
    assert sharpener.tolerance == 0
    data, have = block(truth, Box(90_007, 90_007 + CELLS, 8_335, 8_335 + CELLS))
    margin = context(sharpener)
    whole = sharpen_block(data, have, have.grow(-margin), sharpener, 16)
    part = Box(have.row0 + 15, have.row0 + 26, have.col0 + 15, have.col0 + 29)
    around = part.grow(margin)
    cut = {b: y[have.slices(around & have, BANDS[b].gsd)] for b, y in data.items()}
    assert have.contains(around)
    result = sharpen_block(cut, around, part, sharpener, 16)
    for band in COARSE:
        expected = whole[band][have.grow(-margin).slices(part, 10)]
        assert np.array_equal(result[band].view(np.uint32), expected.view(np.uint32))


def test_kriging_sees_its_halo_and_nothing_beyond(fits, sample):
    """One of its cells is for bands that lie off, which these don't."""
    sharpener = fits["atprk"]
    cell = CELLS // 2

    def moved(halo):
        """By how much the cell moves when all that is farther than ``halo`` cells away does."""
        ys = []
        for gsd, y in zip(GSDS, (sample.y10, sample.y20, sample.y60), strict=True):
            n = 60 // gsd
            near = slice((cell - halo) * n, (cell + halo + 1) * n)
            far = y + 0.3
            far[..., near, near] = y[..., near, near]
            ys.append(far)
        at = slice(6 * cell, 6 * cell + 6)
        a, b = run(sharpener, sample.y10, sample.y20, sample.y60), run(sharpener, *ys)
        return max(float((a[x] - b[x])[0, at, at].abs().max()) for x in COARSE)

    assert moved(sharpener.halo) == 0
    assert moved(sharpener.halo - 2) > 0


def test_influence_beyond_the_halo_of_supreme_is_within_its_tolerance(fits):
    """Measured here, by other numbers than those that a fit is checked with, in every pixel of a cell."""
    sharpener = fits["supreme"]
    (net,) = sharpener.nets
    assert sharpener.tolerance == net.tolerance

    def moved(halo, seed):
        random = torch.Generator().manual_seed(seed)
        calm, wild = [], []
        for gsd, level in zip(GSDS, net.unit.split([4, 6, 2]), strict=True):
            n = 60 // gsd
            side = n * (2 * (halo + 5) + 1)
            calm.append(level[None, :, None, None].repeat(1, 1, side, side))
            wild.append(torch.rand(calm[-1].shape, generator=random))
            near = slice(5 * n, side - 5 * n)
            wild[-1][..., near, near] = calm[-1][..., near, near]
        at = slice(6 * (halo + 5), 6 * (halo + 6))
        a, b = run(sharpener, *calm), run(sharpener, *wild)
        return 1e4 * max(float((a[x] - b[x])[0, at, at].abs().max()) for x in COARSE)

    for seed in (1, 2):
        assert moved(net.halo, seed) <= net.tolerance
        assert moved(net.halo // 2, seed) > net.tolerance
    assert influence_beyond(net, net.halo // 2) > net.tolerance


def test_a_landscape_moves_no_more_than_the_tolerance_either(fits, sample):
    """Other data beyond the halo, and none at all: a window that ends there."""
    sharpener = fits["supreme"]
    random = torch.Generator().manual_seed(1)
    whole = (sample.y10, sample.y20, sample.y60)
    base = run(sharpener, *whole)
    first, last = 20, 23

    def differences(halo):
        other, cut = [], []
        for gsd, y in zip(GSDS, whole, strict=True):
            n = 60 // gsd
            near = slice((first - halo) * n, (last + halo) * n)
            far = torch.rand(y.shape, generator=random)
            far[..., near, near] = y[..., near, near]
            other.append(far)
            cut.append(y[..., near, near])
        at, inner = slice(6 * first, 6 * last), slice(6 * halo, -6 * halo)
        changed, ended = run(sharpener, *other), run(sharpener, *cut)
        return [
            1e4 * max(float((x[b] - base[b][0, at, at]).abs().max()) for b in COARSE)
            for x in (
                {b: v[0, at, at] for b, v in changed.items()},
                {b: v[0, inner, inner] for b, v in ended.items()},
            )
        ]

    assert max(differences(sharpener.halo)) <= sharpener.tolerance
    assert max(differences(sharpener.halo // 2)) > sharpener.tolerance


def test_a_fit_whose_influence_reaches_farther_is_refused(sample, tmp_path, monkeypatch):
    monkeypatch.setattr("s2sharp_core.sharpeners.supreme.influence_beyond", lambda *_: 1.5)
    with pytest.raises(
        S2SharpError, match=r"beyond 12 cells .* 1.50 DN; at most 1 is allowed"
    ) as error:
        fit("supreme", sample, tmp_path)
    assert error.value.kind == "fit-failed"


def test_steps_lead_to_the_minimum(fits, sample, truth):
    """Three times as many change a band by a fraction of its error."""
    (net,) = fits["supreme"].nets
    longer = SubspaceNet(steps=72)
    longer.load_state_dict(net.state_dict())
    with torch.inference_mode():
        a, b = (n(sample.y10, sample.y20, sample.y60) for n in (net, longer))
    left = rmse(a[0].numpy()[INNER], b[0].numpy()[INNER])
    expected = truth[[list(BANDS).index(band) for band in net.bands]][INNER]
    assert (left < 0.2 * rmse(b[0].numpy()[INNER], expected)).all()


def test_the_sensor_of_the_fit_stays_with_the_weights(sample, tmp_path):
    papers = Sensor(blur="dsen2")
    for name, kind in (("atprk", KrigingNet), ("supreme", SubspaceNet)):
        for net in fit(name, sample, tmp_path / name, sensor=papers).nets:
            assert isinstance(net, kind)
            assert net.sensor == papers
