"""Threads that are kept for a purpose compute with their own number of threads, and change nothing for others."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from s2sharp_core.sensor.measurement import one_thread_each
from s2sharp_core.threads import threads_for


def in_new_thread() -> int:
    with ThreadPoolExecutor(1) as new:
        return new.submit(torch.get_num_threads).result()


@pytest.fixture(autouse=True)
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    threads_for.cache_clear()
    yield
    torch.set_num_threads(before)


def test_a_measurement_leaves_later_threads_as_they_were():
    assert one_thread_each().submit(torch.get_num_threads).result() == 1
    assert in_new_thread() == 3
    assert torch.get_num_threads() == 3
    assert one_thread_each().submit(torch.get_num_threads).result() == 1
