"""A scene is sharpened with the sensor that it shows, and never read or bent in silence."""

import warnings

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr

from s2sharp_core import S2SharpError, Sensor, load_sharpener, measure_scene, sharpen
from s2sharp_core.bands import BANDS, BY_GSD, GSDS, ratio
from s2sharp_core.scene import make_scene
from s2sharp_core.sensor.estimation import estimate_sensor
from s2sharp_core.sensor.measurement import measured_noise
from s2sharp_core.sensor.observation import degrade
from s2sharp_core.sensor.registration import warn_of_shifts
from s2sharp_core.sensor.response import MTF_TABLE, SENTINEL2, Response, checked
from s2sharp_core.sensor.sample import Sample
from s2sharp_core.sensor.simulate import landscape

from .scenes import NORTH, box_at
from .scenes import scene as plain

SEEN = Sensor(responses=(Response("B07", 0.35, 0.545, dy=0.2, dx=-0.15),))


def seen(sensor: Sensor, cells: int = 40) -> dict[int, np.ndarray]:
    truth = torch.from_numpy(landscape((6 * cells, 6 * cells), seed=12))[None]
    names, rng, out = list(BANDS), np.random.default_rng(3), {}
    for gsd in GSDS:
        y = truth[:, [names.index(band) for band in BY_GSD[gsd]]]
        y = degrade(y, BY_GSD[gsd], ratio(gsd), sensor) if gsd > 10 else y
        noisy = y[0].numpy() + 5e-4 * rng.standard_normal(y.shape[1:])
        out[gsd] = noisy.astype(np.float32)
    return out


def as_scene(pictures: dict[int, np.ndarray]) -> xr.DataTree:
    bands = {b: y for g in GSDS for b, y in zip(BY_GSD[g], pictures[g], strict=True)}
    return make_scene(bands, NORTH, box_at(*pictures[60].shape[1:]))


def lazy(scene: xr.DataTree) -> xr.DataTree:
    """The scene with arrays that must not be computed."""

    def refuse(_: np.ndarray) -> np.ndarray:
        raise AssertionError("it was read")

    def untouchable(x: xr.DataArray) -> xr.DataArray:
        array = da.from_array(x.values).map_blocks(refuse, dtype=x.dtype, meta=x.values[:0, :0])
        return x.copy(data=array)

    parts = {}
    for name, child in scene.children.items():
        part = child.to_dataset()
        bands = {band: untouchable(part[band]) for band in part.data_vars if band in BANDS}
        parts[name] = part.assign(bands)
    return xr.DataTree.from_dict(parts)


def test_the_shift_of_a_scenes_band_is_measured() -> None:
    sensor = measure_scene(as_scene(seen(SEEN)))
    assert sensor.response("B07").dy == pytest.approx(0.2, abs=0.05)
    assert sensor.response("B07").dx == pytest.approx(-0.15, abs=0.05)
    for band in ("B05", "B06", "B8A"):
        assert abs(sensor.response(band).dy) < 0.05
    assert 2e-4 < dict(sensor.noise)["B04"] < 2e-3


def test_threads_of_the_machine_do_not_change_what_is_measured() -> None:
    sample = Sample(*(torch.from_numpy(seen(SEEN)[gsd])[None] for gsd in GSDS))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(estimate_sensor(sample))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1]


def test_the_shift_that_is_measured_is_not_warned_of_and_a_larger_one_is() -> None:
    known = Sensor(responses=(Response("B07", 0.35, 0.545, dy=0.8, dx=-0.6),))
    pictures = seen(known, 60)
    arrays = {b: y for g in GSDS for b, y in zip(BY_GSD[g], pictures[g], strict=True)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_shifts(arrays, known)
    with pytest.warns(UserWarning, match="B07 by"):
        warn_of_shifts(arrays)


def test_a_band_more_than_a_pixel_off_keeps_its_place_and_is_told() -> None:
    far = Sensor(responses=(Response("B06", 0.35, 0.545, dy=1.25),))
    found = estimate_sensor(Sample.of(seen(far)))
    assert found.sensor.response("B06") == Response.default("B06")
    assert "B06 seems to be shifted by (+1.2" in found.told[0]


def test_what_is_told_of_a_far_band_is_what_was_found_not_what_is_believed_of_it() -> None:
    # What is believed of 1.05 px of an infrared band that the guides explain badly is less than one.
    own = np.random.default_rng(8).standard_normal((120, 120)).astype(np.float32)
    pictures = seen(Sensor(responses=(Response("B11", 0.53, 0.545, dy=1.2, dx=-1.2),)))
    pictures[20][4] += 2e-3 * own
    found = estimate_sensor(Sample.of(pictures))
    assert found.sensor.response("B11") == Response.default("B11")
    assert "B11 seems to be shifted by (+1.2" in found.told[0]


def test_squares_of_one_value_tell_nothing_of_noise() -> None:
    pictures = seen(SENTINEL2)
    for gsd, y in pictures.items():
        y[:, : y.shape[1] // 3] = 1e-4
        if gsd == 20:
            y[2] = 0.2
    after = measured_noise(Sample.of(pictures))
    assert set(after) == BANDS.keys() - {"B07"}
    for band in after.keys() - {"B01", "B09"}:
        assert after[band] > 3e-4  # of 5e-4; 1e-4 is the least


B05 = ("B05", 0.37, 0.545)


@pytest.mark.parametrize(
    "sensor",
    [
        Sensor(responses=(Response(*B05, dy=1.5),)),
        Sensor(responses=(Response(*B05, dx=float("nan")),)),
        Sensor(responses=(Response("B05", 0.37, 0.0),)),
        Sensor(responses=(Response("B05", -0.37, 0.545),)),
        Sensor(responses=(Response("B99", 0.37, 0.545),)),
        Sensor(responses=(Response("B02", 0.37, 0.545),)),
        Sensor(responses=(Response(*B05), Response(*B05, dy=0.5))),
        Sensor(noise=(("B05", float("nan")),)),
        Sensor(noise=(("B05", -1e-3),)),
        Sensor(noise=(("B05", 12.0),)),
        Sensor(blur="mtf", responses=(Response(*B05),)),
        Sensor(centre="corner"),
        Sensor(taps=3),
        Sensor(edge="circular"),
    ],
)
def test_a_sensor_that_would_make_wrong_pixels_is_refused(sensor: Sensor) -> None:
    with pytest.raises(S2SharpError, match="The sensor cannot be used") as error:
        sharpen(plain(12, 12), "s2net-s", bands=["B05"], sensor=sensor)
    assert error.value.kind == "bad-config"


@pytest.mark.parametrize("sensor", [SENTINEL2, MTF_TABLE, SEEN, Sensor(blur="dsen2")])
def test_a_sensor_of_a_product_is_not_refused(sensor: Sensor) -> None:
    assert checked(sensor) is sensor


def test_what_is_measured_is_never_refused() -> None:
    off = [Response(b, 0.62, 0.6, dy=1.0, dx=-1.0) for b in BY_GSD[20]]
    assert checked(estimate_sensor(Sample.of(seen(Sensor(responses=tuple(off))))).sensor)


def test_dn_in_place_of_reflectance_is_refused() -> None:
    dn = as_scene({g: 1e4 * y for g, y in seen(SENTINEL2, 20).items()})
    for given in (dn, dn.map_over_datasets(lambda part: part.chunk())):
        with pytest.raises(S2SharpError, match="not reflectance") as error:
            sharpen(given, "s2net-s", bands=["B05"]).compute()
        assert error.value.kind == "scene-malformed"


def test_infinity_is_a_gap_and_spreads_no_farther() -> None:
    pictures = seen(SENTINEL2, 20)
    whole = sharpen(as_scene(pictures), "s2net-s", bands=["B05"], sensor="default")
    pictures[20][0, 30, 30] = np.inf
    ours = sharpen(as_scene(pictures), "s2net-s", bands=["B05"], sensor="default")
    lost = np.argwhere(np.isnan(ours.B05.values))
    np.testing.assert_array_equal(lost, [(y, x) for y in (60, 61) for x in (60, 61)])
    assert float(np.nanmax(np.abs(ours.B05 - whole.B05))) < 0.1


def test_flat_land_tells_nothing_and_says_so() -> None:
    flat = {g: np.full_like(y, 0.2) for g, y in seen(SENTINEL2, 20).items()}
    found = estimate_sensor(Sample.of(flat))
    assert found.sensor == SENTINEL2
    assert "was not measured" in found.told[0]
    with pytest.raises(S2SharpError) as error:
        measure_scene(as_scene(flat))
    assert error.value.kind == "not-measured"


def test_sharpening_a_scene_too_small_to_be_measured_warns_and_takes_the_known_sensor() -> None:
    tiny = plain(12, 12)
    with pytest.warns(UserWarning, match="default kernels"):
        ours = sharpen(tiny, "s2net-s", bands=["B05"])
    known = sharpen(tiny, "s2net-s", bands=["B05"], sensor="default")
    np.testing.assert_array_equal(ours.B05.values, known.B05.values)


def test_a_lazy_scene_is_not_read_to_be_measured() -> None:
    scene = lazy(plain(20, 20))
    sharpen(scene, "s2net-s", bands=["B05"])
    sharpen(scene, "s2net-s", bands=["B05"], sensor=SEEN)
    with pytest.raises(S2SharpError, match="read it silently") as error:
        sharpen(scene, "s2net-s", bands=["B05"], sensor="measured")
    assert error.value.kind == "not-measured"


def test_a_sharpener_keeps_its_own_sensor() -> None:
    scene = plain(12, 12)
    table = load_sharpener("s2net-s", ["B05"], sensor=MTF_TABLE)
    sharpen(scene, table, sensor="table")
    for other in ("measured", "default", SEEN):
        with pytest.raises(S2SharpError, match="already has a sensor"):
            sharpen(scene, table, sensor=other)  # type: ignore[arg-type]


def test_a_sensor_that_there_is_none_of_is_refused() -> None:
    with pytest.raises(S2SharpError, match="no sensor 'mine'"):
        sharpen(plain(12, 12), "s2net-s", sensor="mine")  # type: ignore[arg-type]
