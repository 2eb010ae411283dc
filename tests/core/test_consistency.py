"""What a sharpened picture has more, seen again, than the satellite saw."""

import numpy as np
import pytest
import torch

from s2sharp_core.bands import BANDS, ratio
from s2sharp_core.sensor.observation import degrade, residual


@pytest.mark.parametrize("band", ["B12", "B01"])
def test_only_what_was_added_is_seen(band: str) -> None:
    r = ratio(BANDS[band].gsd)
    truth = np.random.default_rng(3).random((20 * r, 20 * r), dtype=np.float32)
    native = degrade(torch.from_numpy(truth)[None, None], [band], r)[0, 0].numpy()
    found = residual(truth, native, band)
    inside = np.isfinite(found)
    assert inside[3:-3, 3:-3].all()
    assert not inside[0].any()
    np.testing.assert_allclose(found[inside], 0, atol=1e-6)
    # A shift of all pixels is seen whole.
    np.testing.assert_allclose(residual(truth + 0.5, native, band)[inside], 0.5, atol=1e-5)


def test_a_gap_costs_what_its_point_spread_function_reaches_and_no_more() -> None:
    truth = np.ones((80, 80), dtype=np.float32)
    truth[40, 40] = np.nan
    found = residual(truth, np.ones((40, 40), dtype=np.float32), "B05")
    assert np.isnan(found[20, 20])
    assert np.isfinite(found[5:16, 5:-5]).all()
    assert np.isfinite(found[25:-5, 5:-5]).all()
