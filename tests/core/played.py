"""A GPU that is played on a CPU: its copies are made as late as the waits between its streams allow."""

from collections import deque
from contextlib import contextmanager

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from s2sharp_core import blocks
from s2sharp_core.device import Gpu
from s2sharp_core.recording import Recording

COPY = torch.ops.aten.copy_


class Stream:
    """Work that was given to it and is not done yet, what it must wait for, and the number of its operations."""

    def __init__(self):
        self.waiting = deque()
        self.given = 0
        self.saw = {}

    def wait_stream(self, other):
        self.saw[other] = other.given
        self.waiting.append(other.wait_for())

    def wait_for(self):
        """A function that does what is waiting now."""
        upto = list(self.waiting)

        def do():
            for one in upto:
                if one in self.waiting:
                    while self.waiting and self.do_one() is not one:
                        pass

        return do

    def do_one(self):
        one = self.waiting.popleft()
        one()
        return one


class Event:
    def __init__(self, cuda):
        self.cuda, self.do = cuda, lambda: None

    def record(self, stream):
        self.do = stream.wait_for()

    def synchronize(self):
        with torch.inference_mode():
            self.do()


class Played(TorchDispatchMode):
    """What :class:`~s2sharp_core.device.Cuda` has, and every operation while it is entered.

    ``fault``: an error that a recording ends with, or True for other bits.
    """

    name = "cpu"

    def __init__(self, fault=None):
        super().__init__()
        self.default = self.now = Stream()
        self.fault = fault
        self.streams = []
        self.records = self.replays = 0
        self.bytes = {"in": 0, "out": 0}

    def stream(self):
        self.streams.append(Stream())
        return self.streams[-1]

    def current(self):
        return self.now

    @contextmanager
    def on(self, stream):
        before, self.now = self.now, stream
        try:
            yield
        finally:
            self.now = before

    def event(self):
        return Event(self)

    def synchronize(self):
        with torch.inference_mode():
            for stream in self.streams:
                while stream.waiting:
                    stream.do_one()

    def memory(self, shape, dtype):
        out = torch.empty(*shape, dtype=dtype)
        return out.fill_(77)  # what nobody may read

    def pinned(self, x):
        return x

    def recorded(self, stream, work, inputs):
        assert stream is self.now
        self.records += 1
        if isinstance(self.fault, Exception):
            raise self.fault
        results = work(*inputs)

        def replay():
            self.replays += 1
            for there, x in zip(results, work(*inputs), strict=True):
                there.copy_(x + 1 if self.fault else x)

        return Recording(replay, results)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        stream, kwargs = self.now, kwargs or {}
        stream.given += 1
        if not self.streams:
            return func(*args, **kwargs)
        coming, working, leaving = self.streams
        if stream in (coming, leaving) and func.overloadpacket is COPY:
            if stream is leaving:
                assert stream.saw[working] == working.given, "copied back before it was made"
            self.bytes["in" if stream is coming else "out"] += args[1].nbytes
            stream.waiting.append(lambda: func(*args, **kwargs))
            return args[0]
        if stream is working:
            while stream.waiting:
                stream.do_one()
        return func(*args, **kwargs)


@contextmanager
def played(monkeypatch, sharpener, fault=None, batch=4):
    """Sharpen on a played GPU during the block; yield the GPU."""
    cuda = Played(fault)
    gpu = Gpu(cuda)
    with monkeypatch.context() as patch, cuda:
        patch.setattr(blocks, "device_of", lambda _: gpu)
        patch.setattr(sharpener, "device", "played")
        patch.setattr(sharpener, "batch", batch)
        yield gpu
