"""Threads that are kept, because a new thread has no memory of its own and reloads what libraries keep for each."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

__all__ = ["threads_for"]


@lru_cache
def threads_for(
    purpose: str, count: int, begin: Callable[..., object] | None = None, *given: Any
) -> ThreadPoolExecutor:
    """Return the threads of this process for a purpose, so many; each calls ``begin(*given)`` first."""
    return ThreadPoolExecutor(count, purpose, begin, given)


if hasattr(os, "register_at_fork"):  # a child has none of its parent's
    os.register_at_fork(after_in_child=threads_for.cache_clear)
