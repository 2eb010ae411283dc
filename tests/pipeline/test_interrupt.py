"""Ctrl-C where Python loses it."""

import gc
import signal
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from s2sharp.engine import interrupt
from s2sharp.engine.dispatch import Flow


@pytest.fixture
def heard() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt.hear()
    yield
    signal.signal(signal.SIGINT, before)


class Thing:
    """Something that weak references may name."""


@pytest.mark.usefixtures("heard")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_ends_though_ctrl_c_fell_into_a_callback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
    del thing
    gc.collect()
    assert reference() is None  # and nothing was raised
    flow = object.__new__(Flow)
    more: dict[str, Any] = {"_flying": {}, "check": lambda: pytest.fail("it goes on")}
    for name, value in more.items():
        monkeypatch.setattr(flow, name, value, raising=False)
    with pytest.raises(KeyboardInterrupt):
        flow.through([])
    interrupt.check()  # it is told once


@pytest.mark.usefixtures("heard")
def test_it_interrupts_as_ever() -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        interrupt.check()


def test_where_it_is_ignored_it_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupt.hear()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
