"""`error90` covers what it says on land that was kept apart, knows where errors are large, and has no seams."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from s2sharp_core import S2SharpError, load_sharpener, sharpen
from s2sharp_core.bands import BANDS, BY_GSD, COARSE, error_of
from s2sharp_core.blocks import context, sharpen_block
from s2sharp_core.lattice import Box
from s2sharp_core.learning.uncertainty import WidthModel, half_width
from s2sharp_core.sensor.measurement import measured_noise
from s2sharp_core.sensor.response import Sensor
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape, observe
from s2sharp_core.sharpeners import WithError90, WithTrust
from s2sharp_core.sharpeners.error90 import FILE
from s2sharp_core.sharpeners.loading import unfitted_sharpener
from s2sharp_core.weights import SHIPPED
from tests.benchmarks.error90_fit import Witness, fit

from .scenes import scene

SHARED = WidthModel({20: (0.4, 0.6), 60: (0.5, 0.5)}, dict.fromkeys(COARSE, 3.0))


def tensors(side: int, seed: int) -> tuple[np.ndarray, list[torch.Tensor]]:
    truth = landscape((side, side), seed)
    return truth, [torch.from_numpy(y)[None].float() for y in observe(truth, seed=seed).values()]


@pytest.mark.parametrize("seed", [1_000_021, 1_000_022, 1_000_023])
def test_the_interval_holds_most_errors_of_land_it_was_not_calibrated_on(seed: int) -> None:
    truth, seen = tensors(288, seed)
    sensor = Sensor(noise=tuple(measured_noise(Sample(*seen)).items()))
    with torch.inference_mode():
        out = WithError90(load_sharpener("s2net-m", sensor=sensor)).sharpen(*seen)
    inside = np.s_[30:-30, 30:-30]
    for band in COARSE:
        error = (out[band][0].numpy() - truth[list(BANDS).index(band)])[inside]
        width = out[error_of(band)][0].numpy()[inside]
        held = (np.abs(error) <= width).mean()
        assert held > 0.8, band
        # Intervals that are wide enough for anything would hold everything.
        assert np.median(width) < 6 * np.quantile(np.abs(error), 0.9), band


def test_it_is_wider_where_errors_are_larger() -> None:
    truth, seen = tensors(288, 1_000_024)
    with torch.inference_mode():
        out = WithError90(load_sharpener("s2net-m")).sharpen(*seen)
    widths, errors = [], []
    for band in BY_GSD[20]:
        error = np.abs(out[band][0].numpy() - truth[list(BANDS).index(band)])[30:-30, 30:-30]
        width = out[error_of(band)][0].numpy()[30:-30, 30:-30]
        widest = width >= np.quantile(width, 0.8)
        narrowest = width <= np.quantile(width, 0.2)
        assert error[widest].mean() > 1.3 * error[narrowest].mean(), band
        widths.append(width.ravel())
        errors.append(error.ravel())
    assert spearmanr(np.concatenate(widths), np.concatenate(errors))[0] > 0.4


def test_a_fit_covers_nine_tenths_of_errors_that_follow_its_law_and_each_scene_counts_alike() -> (
    None
):
    random = np.random.default_rng(0)

    def witness(name: str, count: int, loud: float) -> Witness:
        roots = np.exp(random.normal(-6, 1, (2, count)))
        width = roots[0] ** 0.3 * roots[1] ** 0.7
        error = loud * width * random.standard_normal(count)
        return Witness(name, "B05", roots**2, error)

    law = fit([witness(str(i), 4000, 1.0) for i in range(4)])
    assert abs(law.weights[20][0] - 0.3) < 0.08
    new = witness("new", 20_000, 1.0)
    held = np.abs(new.error) <= _widths(new, law)
    assert abs(held.mean() - 0.9) < 0.02
    # A large quiet scene does not outvote three small loud ones.
    crowd = [witness("quiet", 40_000, 0.2), *(witness(str(i), 500, 1.0) for i in range(3))]
    held = np.abs(new.error) <= _widths(new, fit(crowd))
    assert held.mean() > 0.84


def _widths(of: Witness, law: WidthModel) -> np.ndarray:
    squares = [torch.from_numpy(c)[None, None, None] for c in of.clues]
    return half_width(squares, [of.band], law).numpy().ravel()


def test_nothing_to_learn_from_is_said() -> None:
    with pytest.raises(S2SharpError) as caught:
        fit([])
    assert caught.value.kind == "no-data"


def test_a_gain_of_all_bands_passes_through() -> None:
    _, seen = tensors(96, 31)
    sharpener = WithError90(load_sharpener("dsen2"), SHARED)
    with torch.inference_mode():
        once, twice = (sharpener.sharpen(*(gain * y for y in seen)) for gain in (1, 2))
    # Where it is well above what no band is known by.
    clear = once["B11_error90"] > once["B11_error90"].quantile(0.8)
    ratio = (twice["B11_error90"] / once["B11_error90"])[clear]
    assert 1.9 < float(ratio.median()) < 2.1


@pytest.mark.parametrize("name", ["bicubic", "s2net-s"])
def test_it_does_not_depend_on_how_a_picture_is_cut(name: str) -> None:
    sharpener = WithError90(load_sharpener(name), SHARED)
    margin = context(sharpener)
    _, seen = tensors(6 * (2 * margin + 8), 6)
    data = {
        b: y[0, i].numpy()
        for y, bands in zip(seen, BY_GSD.values(), strict=True)
        for i, b in enumerate(bands)
    }
    side = 2 * margin + 8
    have, want = Box(0, side, 0, side), Box(margin + 2, margin + 3, margin + 1, margin + 6)
    whole = sharpen_block(data, have, want, sharpener, 8)
    inner = want.grow(margin)
    part = {band: y[have.slices(inner, BANDS[band].gsd)].copy() for band, y in data.items()}
    # Anything may lie beyond the halo.
    for band, y in part.items():
        edge = (margin - sharpener.halo) * 60 // BANDS[band].gsd
        outside = np.ones(y.shape, dtype=bool)
        outside[edge : y.shape[0] - edge, edge : y.shape[1] - edge] = False
        y[outside] = 0.7
    cut = sharpen_block(part, inner, want, sharpener, 1)
    for band in COARSE:
        np.testing.assert_allclose(
            cut[error_of(band)], whole[error_of(band)], rtol=2e-3, atol=2e-6, err_msg=band
        )


def test_it_stands_beside_the_layers_of_trust_and_travels_with_a_digest_of_its_own() -> None:
    bare = load_sharpener("s2net-s", ("B05", "B11"))
    judged = WithError90(WithTrust(bare), SHARED)
    assert judged.bands == ("B05", "B11", "residual", "detail", "B05_error90", "B11_error90")
    assert pickle.loads(pickle.dumps(judged)).digest == judged.digest
    other = WidthModel(SHARED.weights, {**SHARED.scale, "B05": 3.1})
    digests = {x.digest for x in (bare, WithTrust(bare), judged, WithError90(bare, other))}
    assert len(digests) == 4


def test_methods_are_calibrated_beside_the_layers_of_trust_as_without_them() -> None:
    bare = load_sharpener("s2net-s")
    assert WithError90(WithTrust(bare)).width == WithError90(bare).width


def test_weights_and_methods_that_nobody_calibrated_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = load_sharpener("s2net-m")
    WithError90(others)
    # For this test alone: a process keeps its sharpeners, copies of them, too.
    monkeypatch.setattr(others, "weights", {"s2net-m.safetensors": "0" * 64})
    for nobody_knows in (others, unfitted_sharpener("ucnn")):
        with pytest.raises(S2SharpError) as caught:
            WithError90(nobody_knows)
        assert caught.value.kind == "not-calibrated"
    monkeypatch.undo()
    # Weights of one's own may bring their calibration along.
    for file in SHIPPED.glob("s2net-m.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / FILE).write_bytes((SHIPPED / FILE).read_bytes())
    WithError90(load_sharpener("s2net-m", weights=tmp_path))


def test_sharpen_gives_it_beside_the_bands_on_request() -> None:
    land = scene(24, 24)
    plain = sharpen(land, "bicubic", bands=("B04", "B05"))
    out = sharpen(land, "bicubic", bands=("B04", "B05"), error90=True)
    assert list(out.data_vars) == ["B04", "B05", "B05_error90"]
    np.testing.assert_array_equal(plain["B05"], out["B05"])
    assert float(out["B05_error90"].min()) > 0
    assert "90 %" in out["B05_error90"].attrs["long_name"]
