"""Residual and detail mean what they say, depend on nothing far away, and rank places by their error."""

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from s2sharp_core import Sharpener, load_sharpener
from s2sharp_core.bands import BANDS, BY_GSD, COARSE, TRUST
from s2sharp_core.blocks import context, sharpen_block
from s2sharp_core.lattice import Box
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sensor.upsampling import upsample
from s2sharp_core.sharpeners import WithTrust


class Oracle(Sharpener):
    """Gives a picture that it was told, whatever it sees."""

    name, halo, weights = "oracle", 0, {}
    bands, reads = COARSE, tuple(BANDS)

    def __init__(self, picture: dict[str, Tensor]) -> None:
        self.picture = picture

    def sharpen(self, *_: Tensor) -> dict[str, Tensor]:
        return dict(self.picture)

    def __reduce__(self) -> tuple[Callable[..., Sharpener], tuple[Any, ...]]:
        return Oracle, (self.picture,)


def tensors(
    side: int, seed: int, snr: float = float("inf")
) -> tuple[np.ndarray, dict[int, Tensor]]:
    truth = landscape((side, side), seed)
    seen = observe(truth, snr=snr, seed=seed)
    return truth, {gsd: torch.from_numpy(y)[None].float() for gsd, y in seen.items()}


def of(truth: np.ndarray, bands: tuple[str, ...]) -> Tensor:
    return torch.from_numpy(truth[[list(BANDS).index(band) for band in bands]])[None]


def cells(x: Tensor) -> np.ndarray:
    """One value a cell of (n, 6h, 6w), which has the same in all of it."""
    blocks = x.reshape(x.shape[0], x.shape[1] // 6, 6, x.shape[2] // 6, 6)
    assert (blocks == blocks[:, :, :1, :, :1]).all()
    return blocks[0, :, 0, :, 0].numpy()


def test_the_truth_is_consistent_and_all_its_detail_counts() -> None:
    truth, seen = tensors(120, 3)
    out = WithTrust(Oracle({b: of(truth, (b,))[:, 0] for b in COARSE})).sharpen(*seen.values())
    assert cells(out["residual"]).max() < 1e-6
    squares = torch.zeros(1, 0, 20, 20)
    for gsd in (20, 60):
        added = of(truth, BY_GSD[gsd]) - upsample(seen[gsd], gsd // 10)
        mean = torch.nn.functional.avg_pool2d(added.square(), 6)
        squares = torch.cat([squares, mean], dim=1)
    np.testing.assert_allclose(cells(out["detail"]), squares.mean(dim=1).sqrt()[0], rtol=1e-4)


def test_what_contradicts_the_measurement_shows_where_it_does() -> None:
    truth, seen = tensors(120, 4)
    picture = {b: of(truth, (b,))[:, 0].clone() for b in COARSE}
    for x in picture.values():
        x[0, 60:66, 60:66] += 0.03
    residual = cells(WithTrust(Oracle(picture)).sharpen(*seen.values())["residual"])
    assert np.unravel_index(residual.argmax(), residual.shape) == (10, 10)
    assert residual.max() > 0.01
    assert residual[:7].max() < 1e-6


def test_interpolation_carries_nothing_over() -> None:
    _, seen = tensors(60, 5)
    out = WithTrust(load_sharpener("bicubic")).sharpen(*seen.values())
    assert cells(out["detail"]).max() < 1e-6
    again = degrade(upsample(seen[20], 2), BY_GSD[20], 2) - seen[20]
    assert cells(out["residual"]).max() > again.abs().mean()


@pytest.fixture(scope="module")
def block() -> tuple[dict[str, np.ndarray], Box]:
    _, seen = tensors(84 * 6, 6, snr=100)
    data = {b: seen[g][0, i].numpy() for g, bands in BY_GSD.items() for i, b in enumerate(bands)}
    return data, Box(0, 84, 0, 84)


@pytest.mark.parametrize("name", ["bicubic", "s2net-s"])
def test_they_do_not_depend_on_how_a_picture_is_cut(
    name: str, block: tuple[dict[str, np.ndarray], Box]
) -> None:
    data, have = block
    sharpener = WithTrust(load_sharpener(name))
    margin = context(sharpener)
    want = Box(40, 41, 39, 44)
    assert have.contains(want.grow(margin))
    whole = sharpen_block(data, have, want, sharpener, 8)
    inner = want.grow(margin)
    part = {band: y[have.slices(inner, BANDS[band].gsd)].copy() for band, y in data.items()}
    # What lies beyond the halo may be anything.
    for band, y in part.items():
        edge = (margin - sharpener.halo) * 60 // BANDS[band].gsd
        outside = np.ones(y.shape, dtype=bool)
        outside[edge:-edge, edge:-edge] = False
        y[outside] = 0.7
    cut = sharpen_block(part, inner, want, sharpener, 1)
    for figure in TRUST:
        np.testing.assert_allclose(cut[figure], whole[figure], rtol=0, atol=5e-5)


def test_bands_are_what_they_are_without(block: tuple[dict[str, np.ndarray], Box]) -> None:
    data, have = block
    bare = load_sharpener("s2net-s")
    want = Box(38, 42, 38, 42)
    with_trust = sharpen_block(data, have, want, WithTrust(bare), 16)
    for band, picture in sharpen_block(data, have, want, bare, 16).items():
        np.testing.assert_allclose(with_trust[band], picture, rtol=0, atol=1e-4)


def test_without_60_m_bands_they_are_of_those_of_20_m() -> None:
    truth, seen = tensors(60, 7)
    picture = {b: of(truth, (b,))[:, 0] for b in BY_GSD[20]}
    oracle = Oracle(picture)
    oracle.bands = BY_GSD[20]
    assert cells(WithTrust(oracle).sharpen(*seen.values())["residual"]).max() < 1e-6


def test_results_with_trust_have_a_digest_of_their_own_and_travel() -> None:
    bare = load_sharpener("s2net-s", ("B05", "B11"))
    trusted = WithTrust(bare)
    assert trusted.digest != bare.digest
    assert pickle.loads(pickle.dumps(trusted)).digest == trusted.digest
    assert trusted.precision == bare.precision


@pytest.mark.parametrize("seed", [11, 12])
def test_they_rank_places_by_their_error_on_landscapes_that_no_net_has_seen(seed: int) -> None:
    truth, seen = tensors(240, 1_000_000 + seed, snr=200)
    with torch.inference_mode():
        out = WithTrust(load_sharpener("s2net-s")).sharpen(*seen.values())
    error = torch.stack([out[band] for band in COARSE], dim=1) - of(truth, COARSE)
    error = torch.nn.functional.avg_pool2d(error.square(), 6).mean(dim=1).sqrt()[0].numpy()
    inside = np.s_[4:-4, 4:-4]
    rank = {
        name: spearmanr(cells(out[name])[inside].ravel(), error[inside].ravel())[0]
        for name in TRUST
    }
    assert rank["detail"] > 0.4
    assert rank["residual"] > 0.15
