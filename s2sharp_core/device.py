"""Work on a device: on a CPU plain calls, on a GPU copies beside the work, and passes that are recorded.

A GPU copies one strip in, computes another and copies a third one back, each on a stream of its own. The host waits for
nothing but the results of a strip. All memory of a strip is kept until they are there. So nothing else is written into
memory that the GPU still uses, whatever becomes of the strip.

Passes of one shape are recorded and replayed (:mod:`.recording`).
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import lru_cache, partial
from threading import RLock
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from .recording import Pass, RecordedPass, Recorder, Recording, Work

# Strips at work at once: one that is computed or copied in, and one that is copied back.
_STRIPS = 2

Shape = Sequence[int]


class Strip(Protocol):
    """What a strip is sharpened with."""

    def sent(self, x: np.ndarray) -> Tensor:
        """Return an array on the device."""

    def blank(self, into: np.ndarray, value: float) -> Tensor:
        """Return what is to become ``into``, on the device; all of it is ``value``."""

    def one_pass(self, work: Work, shapes: Sequence[Shape], key: Hashable | None) -> Pass:
        """Return a pass with float32 inputs of ``shapes``; equal keys mean equal work, and None that it is never recorded."""

    def returned(self, results: Sequence[Tensor], into: Sequence[np.ndarray]) -> Callable[[], None]:
        """Begin to copy results of :meth:`blank` back; return a function that waits until they are there."""


class Device(Protocol):
    """A CPU or a GPU."""

    def memory(self, shape: Shape) -> np.ndarray:
        """Return undefined float32 values in memory of the host that the device can read directly."""

    def strip(self) -> AbstractContextManager[Strip]:
        """Work on a strip during the block; after an error, nothing of it is still at work."""


class Cpu:
    """A CPU; it may work on a strip in several threads."""

    def memory(self, shape: Shape) -> np.ndarray:
        return np.empty(shape, dtype=np.float32)

    @contextmanager
    def strip(self) -> Iterator["Cpu"]:
        yield self

    def sent(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(x)

    def blank(self, into: np.ndarray, value: float) -> Tensor:
        into.fill(value)
        return torch.from_numpy(into)

    def one_pass(
        self,
        work: Work,
        shapes: Sequence[Shape],
        key: Hashable | None,  # noqa: ARG002
    ) -> Pass:
        return Pass(work, [torch.empty(*shape) for shape in shapes])

    def returned(
        self,
        results: Sequence[Tensor],  # noqa: ARG002
        into: Sequence[np.ndarray],  # noqa: ARG002
    ) -> Callable[[], None]:
        return _nothing


def _nothing() -> None:
    """Wait for nothing."""


class Cuda:
    """The calls of CUDA, by the names that :class:`Gpu` uses."""

    name = "cuda"
    on = staticmethod(torch.cuda.stream)

    def stream(self) -> Any:
        return torch.cuda.Stream()

    def current(self) -> Any:
        return torch.cuda.current_stream()

    def event(self) -> Any:
        # A thread that waits leaves its core to those that read.
        return torch.cuda.Event(blocking=True)

    def synchronize(self) -> None:
        torch.cuda.synchronize()

    def memory(self, shape: Shape, dtype: torch.dtype) -> Tensor:
        """Return pinned memory; torch takes it back after use, and waits for copies that were begun."""
        return torch.empty(*shape, dtype=dtype, pin_memory=True)

    def pinned(self, x: Tensor) -> Tensor:
        """Return a tensor of the host in pinned memory."""
        return x if x.is_pinned() else x.pin_memory()

    def recorded(self, stream: Any, work: Work, inputs: Sequence[Tensor]) -> Recording:
        graph = torch.cuda.CUDAGraph()
        # Meanwhile, another thread may ask for pinned memory for the next strip.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            results = work(*inputs)
        return Recording(graph.replay, results)


class Gpu:
    """A GPU: its streams, the strips at work on it, and its recorded pass."""

    def __init__(self, cuda: Any) -> None:
        self.cuda = cuda
        self.coming, self.working, self.leaving = (cuda.stream() for _ in range(3))
        self.recorder = Recorder(partial(cuda.recorded, self.working))
        self._at_work: list[GpuStrip] = []
        # The last one alone: a recording holds the memory of its intermediate results.
        self._passes: dict[Hashable, Pass] = {}
        # Strips of two threads must not fill the inputs of one recorded pass at once.
        self._lock = RLock()

    def memory(self, shape: Shape) -> np.ndarray:
        found: np.ndarray = self.cuda.memory(shape, torch.float32).numpy()
        return found

    @contextmanager
    def strip(self) -> Iterator["GpuStrip"]:
        with self._lock:
            while len(self._at_work) >= _STRIPS:
                self._at_work[0].wait()
            strip = GpuStrip(self)
            # Weights may just have been sent on another stream.
            self.working.wait_stream(self.cuda.current())
            try:
                with self.cuda.on(self.working):
                    yield strip
            except BaseException:
                # An error of the GPU itself is raised again here.
                with suppress(RuntimeError):
                    self.cuda.synchronize()
                self._passes.clear()
                raise
            self._at_work.append(strip)

    def one_pass(self, work: Work, shapes: Sequence[Shape], key: Hashable | None) -> Pass:
        """Return the pass of a key, whose inputs stay where they are, or else a new one."""
        if key is None:
            return Pass(work, self._inputs(shapes))
        key = key, tuple(map(tuple, shapes))
        if key not in self._passes:
            if self._passes:
                self.cuda.synchronize()
                # Before the new one takes memory, or a batch would be halved that fits.
                self._passes.clear()
            self._passes[key] = RecordedPass(work, self._inputs(shapes), self.recorder)
        return self._passes[key]

    def _inputs(self, shapes: Sequence[Shape]) -> list[Tensor]:
        return [torch.empty(*shape, device=self.cuda.name) for shape in shapes]

    def done_with(self, strip: "GpuStrip") -> None:
        """Let go of a strip whose results are there."""
        with self._lock:
            if strip in self._at_work:
                self._at_work.remove(strip)


class GpuStrip:
    """A strip on a GPU, and all memory that is used for it."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu, self._kept = gpu, list[Tensor]()
        self._there = gpu.cuda.event()
        self.one_pass = gpu.one_pass

    def sent(self, x: np.ndarray) -> Tensor:
        gpu = self._gpu
        here = gpu.cuda.pinned(torch.from_numpy(x))
        with gpu.cuda.on(gpu.coming):
            there = torch.empty(here.shape, dtype=here.dtype, device=gpu.cuda.name)
            there.copy_(here, non_blocking=True)
        gpu.working.wait_stream(gpu.coming)
        self._kept += here, there
        return there

    def blank(self, into: np.ndarray, value: float) -> Tensor:
        kind = torch.from_numpy(into).dtype
        there = torch.full(into.shape, value, dtype=kind, device=self._gpu.cuda.name)
        self._kept.append(there)
        return there

    def returned(self, results: Sequence[Tensor], into: Sequence[np.ndarray]) -> Callable[[], None]:
        gpu = self._gpu
        gpu.leaving.wait_stream(gpu.working)
        with gpu.cuda.on(gpu.leaving):
            here = [gpu.cuda.memory(x.shape, x.dtype) for x in results]
            for x, there in zip(here, results, strict=True):
                x.copy_(there, non_blocking=True)
            self._there.record(gpu.leaving)
        self._kept += here

        def arrive() -> None:
            self.wait()
            for x, place in zip(here, into, strict=True):
                np.copyto(place, x.numpy())

        return arrive

    def wait(self) -> None:
        """Wait until the results are there."""
        self._there.synchronize()
        self._kept.clear()
        self._gpu.done_with(self)


@lru_cache
def device_of(name: str) -> Device:
    """Return the device of a sharpener, ``"cpu"`` or ``"cuda"``."""
    return Cpu() if name == "cpu" else Gpu(Cuda())
