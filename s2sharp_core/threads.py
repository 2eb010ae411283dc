"""Threads that are kept, because a new thread starts without the memory that libraries keep for each thread."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any


@lru_cache
def threads_for(
    purpose: str, count: int, begin: Callable[..., object] | None = None, *given: Any
) -> ThreadPoolExecutor:
    """Return ``count`` threads of this process for a purpose; each first calls ``begin(*given)``."""
    return ThreadPoolExecutor(count, purpose, begin, given)


if hasattr(os, "register_at_fork"):  # a child process has none of its parent's threads
    os.register_at_fork(after_in_child=threads_for.cache_clear)
