import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import (
    error_relative_global_dimensionless_synthesis,
    spectral_angle_mapper,
    structural_similarity_index_measure,
    universal_image_quality_index,
)

from s2sharp_core.evaluation.metrics import ergas, q2n, rmse, sam, sre, sre_of_mean, ssim, uiqi

rng = np.random.default_rng(0)
TRUTH = rng.uniform(0.05, 0.5, (3, 12, 14))


def test_a_perfect_answer_has_no_error():
    assert (rmse(TRUTH, TRUTH) == 0).all()
    assert (sre(TRUTH, TRUTH) == np.inf).all()
    assert sam(TRUTH, TRUTH) == pytest.approx(0, abs=1e-7)


def test_each_band_is_judged_by_itself():
    x = TRUTH + np.array([0.01, -0.02, 0.0])[:, None, None]
    assert rmse(x, TRUTH) == pytest.approx([0.01, 0.02, 0.0])
    assert sre(x, TRUTH)[2] == np.inf
    assert np.isfinite(sre(x, TRUTH)[:2]).all()


def test_sre_is_the_sum_of_squares_over_the_squared_error():
    """Not DSen2's, which takes the squared mean: on a picture of contrast, they differ."""
    truth = np.array([[[0.0, 1.0]]])
    x = truth + 0.1
    assert sre(x, truth) == pytest.approx(10 * np.log10(1.0 / 0.02))
    assert sre(1.01 * TRUTH, TRUTH) == pytest.approx(40)  # an error of 1 % is 40 dB


def test_the_spectral_angle_sees_shape_and_not_brightness():
    assert sam(3 * TRUTH, TRUTH) == pytest.approx(0, abs=1e-6)
    east, north = np.zeros((2, 1, 4)), np.zeros((2, 1, 4))
    east[0], north[1] = 1, 2
    assert sam(east, north) == pytest.approx(90)
    assert sam(east + north / 2, east) == pytest.approx(45)
    tiny = np.radians(1e-4)
    turned = np.array([np.cos(tiny), np.sin(tiny)])[:, None, None] * np.ones((2, 1, 4))
    assert sam(turned, east) == pytest.approx(1e-4, rel=1e-6)


def test_pixels_without_data_count_for_nothing():
    x = TRUTH + rng.normal(0, 0.01, TRUTH.shape)
    expected = rmse(x[:, :, 4:], TRUTH[:, :, 4:]), sre(x[:, :, 4:], TRUTH[:, :, 4:])
    angle = sam(x[:, :, 4:], TRUTH[:, :, 4:])
    holed, truth = x.copy(), TRUTH.copy()
    holed[:, :, :2], truth[:, :, 2:4] = np.nan, np.nan
    assert rmse(holed, truth) == pytest.approx(expected[0])
    assert sre(holed, truth) == pytest.approx(expected[1])
    assert sam(holed, truth) == pytest.approx(angle)


def test_a_hole_in_one_band_is_none_in_the_others():
    x = TRUTH + 0.01
    x[0] = np.nan
    assert np.isnan(rmse(x, TRUTH)[0])
    assert np.isnan(sre(x, TRUTH)[0])
    assert rmse(x, TRUTH)[1:] == pytest.approx([0.01, 0.01])
    assert np.isnan(sam(x, TRUTH))


def test_float32_pictures_are_summed_in_float64():
    truth = np.full((1, 2000, 2000), 0.3, dtype=np.float32)
    assert rmse(truth + np.float32(1e-4), truth) == pytest.approx(1e-4, rel=1e-3)


@pytest.mark.parametrize("shape", [(3, 12, 13), (12, 14)])
def test_pictures_that_do_not_match_are_refused(shape):
    with pytest.raises(ValueError, match="Expected two arrays"):
        rmse(np.zeros(shape), TRUTH)


def noisy(scale=0.03, bands=3, side=40, seed=1):
    """(picture, truth) of smooth bands, the picture with noise."""
    random = np.random.default_rng(seed)
    truth = 0.1 + 0.3 * gaussian_filter(random.uniform(size=(bands, side, side + 6)), (0, 1.5, 1.5))
    return truth + random.normal(0, scale, truth.shape), truth


def batch(*pictures):
    return [torch.from_numpy(x)[None] for x in pictures]


def test_a_perfect_answer_is_perfect_by_every_measure():
    _, truth = noisy()
    assert (sre_of_mean(truth, truth) == np.inf).all()
    assert ergas(truth, truth, 2) == 0
    assert uiqi(truth, truth) == pytest.approx(1)
    assert ssim(truth, truth) == pytest.approx(1)
    assert q2n(truth, truth) == pytest.approx(1)


def test_the_two_definitions_of_sre_differ_by_the_contrast_of_the_truth():
    x, truth = noisy()
    contrast = 1 + truth.var(axis=(1, 2)) / truth.mean(axis=(1, 2)) ** 2
    assert sre(x, truth) - sre_of_mean(x, truth) == pytest.approx(10 * np.log10(contrast))


def test_sam_is_that_of_torchmetrics():
    x, truth = noisy()
    theirs = spectral_angle_mapper(*batch(x, truth))
    assert sam(x, truth) == pytest.approx(np.degrees(float(theirs)), rel=1e-9)


@pytest.mark.parametrize("ratio", [2, 6])
def test_ergas_is_that_of_torchmetrics(ratio):
    x, truth = noisy()
    theirs = error_relative_global_dimensionless_synthesis(*batch(x, truth), ratio=ratio)
    assert ergas(x, truth, ratio) == pytest.approx(float(theirs), rel=1e-9)


def test_uiqi_is_that_of_torchmetrics():
    """Theirs weighs windows of an odd side by a Gaussian; a very wide one is flat, as in the paper."""
    x, truth = noisy()
    theirs = universal_image_quality_index(
        *batch(x, truth), kernel_size=(7, 7), sigma=(1e6, 1e6), reduction="none"
    )
    assert uiqi(x, truth, 7) == pytest.approx(theirs[0].mean(dim=(1, 2)).numpy(), rel=1e-7)


def test_uiqi_with_an_even_window_is_the_mean_over_all_windows():
    x, truth = noisy(side=12, bands=1)
    p, q = (np.lib.stride_tricks.sliding_window_view(y[0], (8, 8)) for y in (x, truth))
    (mp, vp), (mq, vq) = ((y.mean(axis=(-1, -2)), y.var(axis=(-1, -2))) for y in (p, q))
    common = (p * q).mean(axis=(-1, -2)) - mp * mq
    each = 4 * common * mp * mq / ((vp + vq) * (mp**2 + mq**2))
    assert uiqi(x, truth) == pytest.approx(each.mean())


def test_ssim_is_that_of_scikit_image_and_of_torchmetrics():
    x, truth = noisy()
    span = np.ptp(truth, axis=(1, 2))
    theirs = [
        structural_similarity(
            a, b, data_range=s, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for a, b, s in zip(x, truth, span, strict=True)
    ]
    assert ssim(x, truth) == pytest.approx(theirs, rel=1e-9)
    # torchmetrics mirrors the picture at its edge; windows that lie inside are in the middle of its map.
    _, whole = structural_similarity_index_measure(
        *batch(x, truth), data_range=1.0, return_full_image=True
    )
    inside = whole[0, :, 5:-5, 5:-5].mean(dim=(1, 2)).numpy()
    assert ssim(x, truth, span=1.0) == pytest.approx(inside, rel=1e-6)


def test_q2n_of_one_band_is_the_quality_index_of_a_block():
    x, truth = noisy(bands=1, side=38)
    x, truth = x[:, :32, :32], truth[:, :32, :32]
    mean, deviation = truth.mean(), truth.std(ddof=1)
    a, b = ((y - mean) / deviation + 1 for y in (x, truth))
    assert q2n(x, truth) == pytest.approx(uiqi(a, b, 32)[0])


def test_q2n_of_four_bands_is_that_of_quaternions_written_as_matrices():
    x, truth = noisy(bands=4)
    x, truth = x[:, :32, :32].reshape(4, -1), truth[:, :32, :32].reshape(4, -1)
    mean, deviation = truth.mean(1, keepdims=True), truth.std(1, ddof=1, keepdims=True)

    def matrices(y):
        a, b, c, d = (y - mean) / deviation + 1
        return np.array([[a + 1j * b, c + 1j * d], [-c + 1j * d, a - 1j * b]]).transpose(2, 0, 1)

    def length(z):
        return np.sqrt(abs(np.linalg.det(z)))

    u, v = matrices(truth), matrices(x)
    mu, mv = u.mean(axis=0), v.mean(axis=0)
    adjoint = (v - mv).conj().transpose(0, 2, 1)
    covariance = length(((u - mu) @ adjoint).mean(axis=0))
    spread = (length(u - mu) ** 2 + length(v - mv) ** 2).mean()
    bias = 2 * length(mu) * length(mv) / (length(mu) ** 2 + length(mv) ** 2)
    expected = bias * 2 * covariance / spread
    got = q2n(x.reshape(4, 32, 32), truth.reshape(4, 32, 32))
    assert got == pytest.approx(expected, rel=1e-9)


def test_q2n_minds_neither_units_nor_the_brightness_of_a_band():
    x, truth = noisy(bands=6)
    factor = np.array([1, 2, 0.5, 10, 1, 1])[:, None, None]
    assert q2n(1e4 * x, 1e4 * truth) == pytest.approx(q2n(x, truth))
    assert q2n(factor * x, factor * truth) == pytest.approx(q2n(x, truth))
    assert q2n(x, truth) < 0.99


def test_what_looks_at_windows_leaves_out_those_with_a_gap():
    x, truth = noisy(side=70)
    holed = x.copy()
    holed[:, :, :30] = np.nan
    assert uiqi(holed, truth) == pytest.approx(uiqi(x[:, :, 30:], truth[:, :, 30:]))
    whole = ssim(x[:, :, 30:], truth[:, :, 30:], span=1.0)
    assert ssim(holed, truth, span=1.0) == pytest.approx(whole)
    assert q2n(holed, truth) == pytest.approx(q2n(x[:, :, 44:], truth[:, :, 44:]), abs=0.01)
    assert np.isnan(q2n(np.full_like(x, np.nan), truth))
    assert np.isnan(uiqi(np.full_like(x, np.nan), truth)).all()
    assert np.isnan(ssim(x[:, :8], truth[:, :8])).all()


def test_flat_windows_are_judged_by_their_mean():
    flat = np.full((1, 20, 20), 0.3)
    assert uiqi(flat, flat) == pytest.approx(1)
    assert uiqi(2 * flat, flat) == pytest.approx(0.8)
