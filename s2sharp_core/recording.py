"""Passes of a net on a GPU, recorded and replayed.

A pass is a thousand small steps, and to start one takes longer than to do it. A recording (a CUDA graph) starts all of
them at once. Its first replay must have the bits of the same pass without it. Otherwise, or where CUDA cannot record, the
process records nothing any more, and a warning says so.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WARM_UPS = 2
"""Passes before one is recorded. They make the constants that it reads, and choose how to convolve."""

Work = Callable[..., Sequence[Tensor]]


class Recording(NamedTuple):
    """A recorded pass: ``replay`` computes ``results`` from the inputs that it was recorded with."""

    replay: Callable[[], None]
    results: Sequence[Tensor]


class Recorder:
    """The way in which a process records passes.

    Attributes
    ----------
    record
        Function of the work and its inputs.
    on
        Whether it still records, and replays what it recorded.
    """

    def __init__(self, record: Callable[[Work, Sequence[Tensor]], Recording]) -> None:
        self.record, self.on = record, True

    def checked(
        self, work: Work, inputs: Sequence[Tensor], expected: Sequence[Tensor]
    ) -> tuple[Recording, list[Tensor]] | None:
        """Record a pass whose results are known; return it with what it reads, or None if it has not their bits."""
        try:
            with _Outside() as outside:
                recording = self.record(work, inputs)
            recording.replay()
            if _same_bits(expected, recording.results):
                return recording, outside.read
            why = "a replay gave other values"
        except RuntimeError as error:
            # Not tried again, not even for want of memory: torch before 2.12 is left unfit to record.
            why = str(error).strip().partition("\n")[0]
        self.on = False
        warnings.warn(
            f"The work of the GPU is not recorded: {why}. Each step is started anew, which takes longer and gives the same "
            "values.",
            stacklevel=2,
        )
        return None


class Pass:
    """A function of tensors of fixed shapes, ``inputs``, which are to be filled before each call."""

    def __init__(self, work: Work, inputs: Sequence[Tensor]) -> None:
        self.work, self.inputs = work, inputs

    def __call__(self) -> Sequence[Tensor]:
        """Return the results; those of a recorded pass are overwritten by its next call."""
        return self.work(*self.inputs)


class RecordedPass(Pass):
    """A pass that is recorded once it was called a few times, and then replayed."""

    def __init__(self, work: Work, inputs: Sequence[Tensor], recorder: Recorder) -> None:
        super().__init__(work, inputs)
        self._recorder, self._calls = recorder, 0
        # With what a replay reads where it lies, so that it stays there.
        self._recording: tuple[Recording, list[Tensor]] | None = None

    def __call__(self) -> Sequence[Tensor]:
        if self._recording and self._recorder.on:
            recording, _ = self._recording
            recording.replay()
            return recording.results
        results = super().__call__()
        self._calls += 1
        if self._calls > WARM_UPS and self._recorder.on:
            self._recording = self._recorder.checked(self.work, self.inputs, results)
        return results


class _Outside(TorchDispatchMode):
    """Keep the tensors that operations read during the block and that none of them made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.read: list[Tensor] = []
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.read += self._new((args, kwargs))
        made = func(*args, **(kwargs or {}))
        self._new(made)
        return made

    def _new(self, tree: Any) -> list[Tensor]:
        """Return the tensors whose memory was not seen before."""
        found = []
        for x in tree_leaves(tree):
            if isinstance(x, Tensor) and (place := x.untyped_storage()._cdata) not in self._known:
                self._known.add(place)
                found.append(x)
        return found


def _same_bits(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(
        torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))
        for one, other in zip(ones, others, strict=True)
    )
