"""Windows side by side: the same values, and the process's threads as they were."""

import numpy as np
import pytest
import torch

from s2sharp_core import BANDS, load_sharpener
from s2sharp_core.blocks import (
    batch_of,
    context,
    prepare_block,
    sharpen_block,
    sharpen_prepared,
    side_by_side,
)
from s2sharp_core.lattice import Box
from s2sharp_core.learning.options import FitOptions
from s2sharp_core.sharpeners import WindowFitted
from s2sharp_core.sharpeners.methods import METHODS
from s2sharp_core.windows import BATCH


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def sharpened(method):
    sharpener = load_sharpener(method)
    want = Box(0, 16, 0, 48)
    have = want.grow(context(sharpener))
    random = np.random.default_rng(1)
    data = {b: random.random(have.pixels(BANDS[b].gsd), np.float32) for b in sharpener.reads}
    return sharpen_block(data, have, want, sharpener, 16)


@pytest.mark.parametrize("method", ["bicubic", "s2net-s"])
def test_the_number_of_threads_does_not_change_a_value(method, threads):
    threads(1)
    alone = sharpened(method)
    threads(3)
    abreast = sharpened(method)
    assert torch.get_num_threads() == 3
    assert all(np.array_equal(alone[b], abreast[b]) for b in alone)


@pytest.mark.parametrize("method", ["bicubic", "s2net-s"])
@pytest.mark.parametrize("batch", [2, 4, 16])
def test_windows_in_batches_come_out_as_one_by_one(method, batch):
    """As a GPU takes them; the last batch is not full, nor is the last window wanted whole."""
    sharpener = load_sharpener(method)
    want = Box(0, 16, 0, 75)
    have = want.grow(context(sharpener))
    random = np.random.default_rng(1)
    data = {b: random.random(have.pixels(BANDS[b].gsd), np.float32) for b in sharpener.reads}
    block = prepare_block(data, have, want, sharpener)
    alone, together = (sharpen_prepared(block, sharpener, 16, n) for n in (1, batch))
    for band, x in alone.items():
        assert np.isfinite(x).all()
        assert np.abs(x - together[band]).max() <= 1e-6  # a hundredth of a DN


def test_a_batch_that_memory_does_not_hold_is_halved(monkeypatch):
    sharpener = load_sharpener("bicubic")
    whole = sharpener.sharpen
    monkeypatch.setattr(sharpener, "batch", 8)
    seen = []

    def small(*inputs):
        seen.append(len(inputs[0]))
        if len(inputs[0]) > 2:
            raise torch.OutOfMemoryError
        return whole(*inputs)

    want = Box(0, 16, 0, 75)
    have = want.grow(context(sharpener))
    data = {b: np.ones(have.pixels(BANDS[b].gsd), np.float32) for b in sharpener.reads}
    block = prepare_block(data, have, want, sharpener)
    alone = sharpen_prepared(block, sharpener, 16)
    monkeypatch.setattr(sharpener, "sharpen", small)
    halved = sharpen_prepared(block, sharpener, 16, batch=8)
    assert seen[0] == 8
    assert set(seen) == {8, 4, 2}
    assert sharpener.batch == 2
    assert all(np.array_equal(alone[b], halved[b]) for b in alone)


def test_a_processor_takes_one_window_and_a_gpu_a_batch(monkeypatch):
    sharpener = load_sharpener("bicubic")
    assert batch_of(sharpener) == 1
    monkeypatch.setattr(sharpener, "device", "cuda")
    assert batch_of(sharpener) == BATCH


def test_windows_share_the_threads_there_are():
    sharpener = load_sharpener("bicubic")
    assert side_by_side(sharpener, 8, 4) == (4, 1)
    assert side_by_side(sharpener, 2, 8) == (2, 4)
    assert side_by_side(sharpener, 1, 4) == (1, 4)
    assert side_by_side(sharpener, 0, 4) == (1, 4)
    fitted = WindowFitted(METHODS["ucnn"], ("B05",), FitOptions(2), "cpu")
    assert side_by_side(fitted, 8, 4) == (1, 4)


def test_an_error_in_a_window_is_not_lost(threads, monkeypatch):
    threads(2)
    kind = type(load_sharpener("bicubic"))

    def fail(*_):
        raise ArithmeticError("of this window")

    monkeypatch.setattr(kind, "sharpen", fail)
    with pytest.raises(ArithmeticError, match="of this window"):
        sharpened("bicubic")
