"""Strips on a GPU, played on a CPU: the same bits, whatever is late, fails or does not fit; fewer bytes; recorded once."""

import weakref

import numpy as np
import pytest
import torch

from s2sharp_core import BANDS, load_sharpener
from s2sharp_core.blocks import begin_sharpening, context, prepare_block, sharpen_prepared
from s2sharp_core.lattice import Box
from s2sharp_core.recording import WARM_UPS
from s2sharp_core.sensor.observation import _kernels
from s2sharp_core.sensor.simulate import landscape
from s2sharp_core.sharpeners.error90 import WithError90
from s2sharp_core.sharpeners.trust import WithTrust
from s2sharp_core.stored import as_stored
from tests.benchmarks import gpu as benchmark

from .played import played
from .scenes import native

WINDOW = 16
# The last of them neither begins nor ends with a window, and is less wide.
STRIPS = (Box(0, 32, 0, 40), Box(32, 64, 0, 40), Box(64, 75, 3, 33))


def made(name):
    sharpener = load_sharpener(name.removesuffix("+"), device="cpu", precision="float32")
    return WithError90(WithTrust(sharpener)) if name.endswith("+") else sharpener


def block_of(sharpener, want):
    have = want.grow(context(sharpener))
    data = native(landscape(have.pixels(10), 9))
    # A gap within a window, and windows without any data.
    for hole in (Box(5, 8, 9, 11), Box(0, 70, 30, 90)):
        for band, values in data.items():
            inner = hole & have
            if not inner.empty:
                values[have.slices(inner, BANDS[band].gsd)] = np.nan
    return prepare_block(data, have, want, sharpener)


def arrays(sharpener, want):
    kinds = {band: np.int16 if band in BANDS else np.uint16 for band in sharpener.bands}
    return {band: np.full(want.pixels(10), 7, dtype=kind) for band, kind in kinds.items()}


def stored(sharp):
    out = {}
    for band, x in sharp.items():
        kind = np.dtype(np.int16 if band in BANDS else np.uint16)
        out[band] = as_stored(torch.from_numpy(x), kind).numpy().view(kind)
    return out


def expected(sharpener, strips, batch):
    return [
        stored(sharpen_prepared(block_of(sharpener, s), sharpener, WINDOW, batch)) for s in strips
    ]


def on_gpu(sharpener, strips):
    """Sharpen strips as a unit does: each is begun before the one before it has come back."""
    found, begun = [], None
    for strip in strips:
        found.append(arrays(sharpener, strip))
        before = begun
        begun = begin_sharpening(block_of(sharpener, strip), sharpener, found[-1], WINDOW)
        if before:
            before.wait()
    begun.wait()
    return found


def same(some, others):
    for one, other in zip(some, others, strict=True):
        assert list(one) == list(other)
        for band, x in one.items():
            assert x.dtype == other[band].dtype
            np.testing.assert_array_equal(x, other[band], err_msg=band)


@pytest.mark.parametrize(
    ("name", "batch"),
    [("bicubic", 1), ("bicubic", 4), ("bicubic", 16), ("s2net-s", 1), ("s2net-s+", 2)],
)
def test_strips_come_back_as_a_processor_would_store_them(monkeypatch, name, batch):
    sharpener = made(name)
    strips = STRIPS[-1:] if name.endswith("+") else STRIPS  # its windows are large
    whole = expected(sharpener, strips, batch)
    assert any((x == -32768).any() and (x > 0).any() for x in whole[0].values())
    with played(monkeypatch, sharpener, batch=batch) as gpu:
        found = on_gpu(sharpener, strips)
    same(found, whole)
    assert gpu.recorder.on


def test_reflectance_comes_back_too(monkeypatch):
    sharpener = made("s2net-s")
    whole = sharpen_prepared(block_of(sharpener, STRIPS[0]), sharpener, WINDOW, 4)
    with played(monkeypatch, sharpener):
        found = sharpen_prepared(block_of(sharpener, STRIPS[0]), sharpener, WINDOW)
    same([found], [whole])


def test_a_strip_travels_once_and_comes_back_in_whole_numbers(monkeypatch):
    sharpener, strip = made("s2net-s"), STRIPS[1]
    with played(monkeypatch, sharpener) as gpu:
        block = block_of(sharpener, strip)
        on_gpu(sharpener, [strip])
    pixels = int(np.prod(strip.pixels(10)))
    read = sum(x.nbytes for x in block.filled.values()) + block.known.nbytes
    assert gpu.cuda.bytes == {"in": read + pixels, "out": 2 * 8 * pixels}
    windows = len(list(strip.tiles(WINDOW))) * (WINDOW + 2 * sharpener.halo) ** 2
    assert gpu.cuda.bytes["in"] < 0.8 * windows * 4 * (4 * 36 + 6 * 9 + 2)


def test_a_pass_is_recorded_once_and_then_replayed(monkeypatch):
    sharpener = made("bicubic")
    whole = expected(sharpener, STRIPS * 2, 2)
    with played(monkeypatch, sharpener, batch=2) as gpu:
        found = on_gpu(sharpener, STRIPS * 2)
    same(found, whole)
    assert gpu.cuda.records == 1
    # Four windows of each of the first two strips have data, and three of the last one. The first replay is to compare.
    assert gpu.cuda.replays == 2 * (2 + 2 + 2) - (WARM_UPS + 1) + 1


def test_another_sensor_is_another_recording(monkeypatch):
    sharpener = made("bicubic")
    with played(monkeypatch, sharpener, batch=1) as gpu:
        on_gpu(sharpener, STRIPS[:1])
        assert gpu.cuda.records == 1
        monkeypatch.setattr(type(sharpener), "digest", "another")
        replays = gpu.cuda.replays
        (first,) = map(weakref.ref, gpu._passes.values())
        sharpen, alive = type(sharpener).sharpen, []

        def seen(*given):
            alive.append(first() is not None)
            return sharpen(*given)

        monkeypatch.setattr(type(sharpener), "sharpen", seen)
        on_gpu(sharpener, STRIPS[2:])
        assert (gpu.cuda.records, gpu.cuda.replays) == (2, replays + 1)
        assert alive
        assert not any(alive)  # its memory is free


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (RuntimeError("not permitted when stream is capturing"), "not permitted"),
        (True, "other values"),
    ],
)
def test_where_recording_fails_each_step_is_done_and_that_is_told_once(monkeypatch, fault, why):
    sharpener = made("bicubic")
    whole = expected(sharpener, STRIPS, 1)
    with (
        pytest.warns(UserWarning, match=why) as told,
        played(monkeypatch, sharpener, fault, 1) as gpu,
    ):
        found = on_gpu(sharpener, STRIPS)
    same(found, whole)
    assert len(told) == 1
    assert gpu.cuda.records == 1
    assert gpu.cuda.replays == (fault is True)


def test_a_recording_keeps_what_it_reads(monkeypatch):
    """Caches forget constants when others come; a replay would read whatever lies there then."""
    sharpener = made("s2net-s")
    with played(monkeypatch, sharpener, batch=1) as gpu:
        on_gpu(sharpener, STRIPS[:1])
        (one,) = gpu._passes.values()
        _, kept = one._recording
        places = {x.untyped_storage().data_ptr() for x in kept}
    weights = [p for net in sharpener.nets for p in net.parameters()]
    assert {w.untyped_storage().data_ptr() for w in weights} <= places
    assert len(kept) > len(weights) + len(one.inputs)
    assert _kernels.cache_info().currsize > 0


def test_a_batch_that_does_not_fit_is_halved_while_another_strip_is_at_work(monkeypatch):
    sharpener = made("bicubic")
    whole, kind = expected(sharpener, STRIPS, 1), type(sharpener)
    sharpen, sizes = kind.sharpen, []

    def small(self, y10, *rest):
        sizes.append(len(y10))
        if len(y10) > 2 and len(sizes) > 1:
            raise torch.OutOfMemoryError
        return sharpen(self, y10, *rest)

    monkeypatch.setattr(kind, "sharpen", small)
    with played(monkeypatch, sharpener) as gpu:
        found = on_gpu(sharpener, STRIPS)
        assert sharpener.batch == 2
        assert not gpu._at_work
    same(found, whole)
    assert sizes[:3] == [4, 4, 2]
    assert set(sizes[2:]) == {2}


def test_a_recording_that_does_not_fit_is_not_tried_again(monkeypatch):
    sharpener = made("bicubic")
    whole = expected(sharpener, STRIPS, 2)
    with played(monkeypatch, sharpener, batch=2) as gpu:
        times = []

        def full(_, inputs):
            times.append(len(inputs[0]))
            raise torch.OutOfMemoryError("out of memory")

        gpu.recorder.record = full
        with pytest.warns(UserWarning, match="not recorded: out of memory"):
            found = on_gpu(sharpener, STRIPS)
        assert sharpener.batch == 2
    same(found, whole)
    assert times == [2]


def test_an_error_in_a_strip_leaves_the_one_before_it_and_those_after_it_as_they_are(monkeypatch):
    sharpener = made("bicubic")
    whole, kind = expected(sharpener, STRIPS, 1), type(sharpener)

    def fail(*_):
        raise ArithmeticError("of this window")

    with played(monkeypatch, sharpener) as gpu:
        before = arrays(sharpener, STRIPS[0])
        begun = begin_sharpening(block_of(sharpener, STRIPS[0]), sharpener, before, WINDOW)
        with monkeypatch.context() as patch:
            patch.setattr(kind, "sharpen", fail)
            into = arrays(sharpener, STRIPS[1])
            with pytest.raises(ArithmeticError, match="of this window"):
                begin_sharpening(block_of(sharpener, STRIPS[1]), sharpener, into, WINDOW)
        assert len(gpu._at_work) == 1
        assert all(not stream.waiting for stream in gpu.cuda.streams)
        begun.wait()
        after = on_gpu(sharpener, STRIPS[1:])
        assert not gpu._at_work
    same([before, *after], whole)


def test_strips_that_nobody_asks_for_take_the_memory_of_two(monkeypatch):
    sharpener = made("bicubic")
    with played(monkeypatch, sharpener) as gpu:
        for strip in STRIPS * 2:
            begin_sharpening(
                block_of(sharpener, strip), sharpener, arrays(sharpener, strip), WINDOW
            )
        assert len(gpu._at_work) == 2
        (last,) = on_gpu(sharpener, STRIPS[:1])
    same([last], expected(sharpener, STRIPS[:1], 1))


@pytest.mark.parametrize("strips", [1, 3])
def test_the_benchmark_of_a_gpu_sends_strips_as_a_unit_does(strips):
    sharpener = made("bicubic")
    block = benchmark.block_of(sharpener, 1)
    same(
        [benchmark.through(block, sharpener, strips)], [stored(sharpen_prepared(block, sharpener))]
    )


def test_a_mask_of_ones_and_no_mask_are_the_same_bits():
    """A GPU is given one always, so that there is one kind of pass."""
    sharpener = made("s2net-s+")
    block = block_of(sharpener, Box(200, 216, 200, 216))
    assert block.known is None
    inputs = [torch.from_numpy(x)[None] for x in block.filled.values()]
    with torch.inference_mode():
        without = sharpener.sharpen_inner(*inputs)
        with_ones = sharpener.sharpen_inner(*inputs, torch.ones(1, 1, *block.have.shape))
    assert all(torch.equal(x, with_ones[band]) for band, x in without.items())
