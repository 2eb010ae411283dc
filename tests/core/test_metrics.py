import numpy as np
import pytest

from s2sharp_core.metrics import rmse, sam, sre

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
