"""Threads that are kept, because a new thread starts without the memory that libraries keep for each thread."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from threading import Lock, Thread
from typing import Any

_setting = Lock()


@lru_cache
def threads_for(
    purpose: str, count: int, begin: Callable[..., object] | None = None, *given: Any
) -> ThreadPoolExecutor:
    """Return ``count`` threads of this process for a purpose; each first calls ``begin(*given)``."""
    return ThreadPoolExecutor(count, purpose, begin, given)


def compute_with(count: int) -> None:
    """Let this thread alone compute with ``count`` threads of torch."""
    import torch

    # Torch would give every later thread of the process the number that any thread was last given.
    with _setting:
        before = torch.get_num_threads()
        torch.set_num_threads(count)
        other = Thread(target=torch.set_num_threads, args=(before,))
        other.start()
        other.join()


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=threads_for.cache_clear)
