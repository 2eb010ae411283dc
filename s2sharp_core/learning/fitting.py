"""Learning on the scene itself: a sample of windows, and a training loop that can be stopped and resumed.

The file of a method in ``sharpeners/`` defines what it learns. Optimisation, resumption, freezing and the final check
are the same for all methods and stand here.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import S2SharpError
from ..weights.store import read_tensors, write_tensors
from .options import FitCourse

_CHECKPOINT = 50
# Share of the steps after which a fit continues with frozen statistics, and its share of the learning rate.
_SETTLE, _SETTLED_RATE = 0.7, 0.2
# Number of steps in a reported mean, and of the last steps before freezing, whose draws are repeated. Largest allowed
# ratio of losses.
_CHECKED = 20
_ALLOWED = 1.05
# Final share of the learning rate, and the norm to which gradients are cut.
_LAST_RATE, _CLIP = 0.02, 1.0

EPS = 1e-8
"""Adam's own value, for methods that state no other."""

CONSTANTS: Mapping[str, float] = MappingProxyType(
    {"settle": _SETTLE, "settled_rate": _SETTLED_RATE, "last_rate": _LAST_RATE, "clip": _CLIP}
)
"""Numbers that every result of :func:`optimise` depends on, besides its arguments."""


@dataclass(frozen=True)
class Curve:
    """The mean loss of every few steps, and the effect of freezing the statistics.

    Attributes
    ----------
    steps, losses
        A step, and the mean loss of the steps that lead up to it.
    frozen
        The loss of the finished net with frozen statistics, over the training loss: the mean loss of the last steps
        before freezing, on the same draws. More than 1.05 is refused.
    on_freezing
        The same ratio at the moment of freezing, before the other steps have trained the net with its frozen
        statistics. It is reported, but not judged; 1 without statistics.
    facts
        Other facts for the card.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    frozen: float
    on_freezing: float = 1.0
    facts: Mapping[str, float] = field(default_factory=dict)

    def write(self, file: Path) -> None:
        """Write it as CSV: step, loss."""
        rows = [f"{s},{v:.8g}" for s, v in zip(self.steps, self.losses, strict=True)]
        file.write_text("\n".join(["step,loss", *rows]) + "\n")

    def card(self) -> dict[str, Any]:
        return {
            "steps": self.steps[-1],
            "loss": self.losses[-1],
            "frozen_over_training": self.frozen,
            "on_freezing": self.on_freezing,
            **self.facts,
        }


def optimise(
    net: nn.Module,
    loss: Callable[[torch.Generator], Tensor],
    course: FitCourse,
    *,
    rate: float,
    eps: float = EPS,
    settle: Callable[[], object] | None = None,
) -> Curve:
    """Minimise ``loss`` over the parameters of ``net``: Adam, a cosine learning rate, clipped gradients.

    The statistics of batch norms are frozen after seven tenths of the steps. The finished net is checked on the draws
    of the last 20 steps before freezing: its mean loss with frozen statistics over the mean loss of these steps in
    training. A net that freezing made worse passes if the other steps have mended it. ``Curve.on_freezing`` keeps how
    much worse it was at the time.

    Every random number comes from the generator that ``loss`` receives. So a fit that is resumed from its checkpoint
    equals an uninterrupted one.

    Parameters
    ----------
    loss
        Gives the loss of the next step; a closure over ``net``.
    course
        A checkpoint with another number of steps or seed is ignored.
    eps
        Adam's addition to the root of the mean squared gradient.
    settle
        Feeds the whole sample through ``net`` to set the statistics of its batch norms. It is called once, after
        which they are frozen for the remaining steps. None: there are none.

    Raises
    ------
    S2SharpError
        ``fit-failed`` if the loss is not finite, or if the final loss with frozen statistics is more than 1.05 × the
        loss on the same draws before freezing.
    """
    steps, checkpoint = course.steps, course.checkpoint
    random = torch.Generator().manual_seed(course.seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, eps=eps, amsgrad=True)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    facts = {"steps": steps, "rate": rate, "eps": eps, "seed": course.seed}
    frozen = int(_SETTLE * steps) if norms and settle else steps
    state = _Saved.read(checkpoint, facts, net, optimizer, random) if checkpoint else None
    state = state or _Saved(random.get_state())
    net.train()
    for step in range(state.step, steps):
        if settle and step == frozen:
            for norm in norms:
                norm.reset_running_stats()
            with torch.no_grad():
                settle()
        for norm in norms:
            norm.train(step < frozen)
        if settle and step == frozen:
            state.on_freezing, _ = _again(loss, state.replay, state.training)
        if step == max(0, frozen - _CHECKED):
            state.replay = random.get_state()
        for group in optimizer.param_groups:
            group["lr"] = rate * _share(step / steps) * (1 if step < frozen else _SETTLED_RATE)
        value = loss(random)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), _CLIP)
        optimizer.step()
        state.count(float(value.detach()), course)
        if state.step == frozen:
            state.training = state.losses
        if checkpoint and state.step % _CHECKPOINT == 0 and state.step < steps:
            state.write(checkpoint, facts, net, optimizer, random)
    net.eval()
    ratio, still = _again(loss, state.replay, state.training)
    if not ratio <= _ALLOWED:
        raise S2SharpError(
            "fit-failed",
            f"With frozen statistics, the net's loss is {still:.4g}, {ratio:.3g} × its loss in training; at most "
            f"{_ALLOWED} × is allowed. The weights would not be those that were fitted.",
            "Fit longer, on more or larger windows, or with another seed.",
        )
    told, values = zip(*state.told, strict=True)
    return Curve(told, values, ratio, state.on_freezing)


def _share(done: float) -> float:
    """Return the remaining share of the learning rate after a share of ``done`` of the steps: half a cosine."""
    return _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))


def _again(
    loss: Callable[[torch.Generator], Tensor], replay: Tensor, training: list[float]
) -> tuple[float, float]:
    """Return the mean loss of the net over that of ``training`` on the same draws, and the mean loss itself.

    ``replay``: the state of the random numbers at the start of ``training``.
    """
    random = torch.Generator()
    random.set_state(replay)
    with torch.no_grad():
        still = float(np.mean([float(loss(random)) for _ in training]))
    before = float(np.mean(training))
    # An estimate of a risk can be negative; for a positive loss, this is the plain ratio.
    return (1 + (still - before) / abs(before) if before else math.inf), still


@dataclass
class _Saved:
    """State of a fit, which a checkpoint keeps with the net, its optimizer and the random numbers.

    ``step``: number of steps made; ``losses``: of the last ones; ``told``: what the curve shows; ``training``: the losses
    before freezing, and ``replay`` the state of the random numbers at their start.
    """

    replay: Tensor
    step: int = 0
    told: list[tuple[int, float]] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    training: list[float] = field(default_factory=list)
    on_freezing: float = 1.0

    def count(self, loss: float, course: FitCourse) -> None:
        """Count a step, with its loss."""
        self.step += 1
        self.losses = [*self.losses[1 - _CHECKED :], loss]
        if not math.isfinite(loss):
            raise S2SharpError(
                "fit-failed",
                f"The loss is {loss} at step {self.step} of {course.steps}.",
                "Try another seed, or a pretrained method.",
            )
        if self.step % _CHECKED == 0 or self.step == course.steps:
            self.told.append((self.step, float(np.mean(self.losses))))
            course.tell(self.step, course.steps, self.told[-1][1])

    def write(
        self,
        file: Path,
        facts: Mapping[str, Any],
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        random: torch.Generator,
    ) -> None:
        tensors = {f"net.{name}": x for name, x in net.state_dict().items()}
        for name, p in net.named_parameters():
            tensors |= {f"adam.{name}.{k}": v for k, v in optimizer.state[p].items()}
        tensors |= {"random": random.get_state(), "replay": self.replay}
        note = {name: value for name, value in vars(self).items() if name != "replay"}
        write_tensors(file, tensors, {"fit": json.dumps({"facts": facts, **note})})

    @classmethod
    def read(
        cls,
        file: Path,
        facts: Mapping[str, Any],
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        random: torch.Generator,
    ) -> "_Saved | None":
        """Restore all from a checkpoint of this very fit, if there is a sound one."""
        tensors, about = read_tensors(file) or ({}, {})
        note = json.loads(about.get("fit", "{}"))
        if note.pop("facts", None) != json.loads(json.dumps(facts)):
            return None
        net.load_state_dict(_below(tensors, "net."))
        for name, p in net.named_parameters():
            slots = _below(tensors, f"adam.{name}.")
            optimizer.state[p] = {k: v if k == "step" else v.to(p.device) for k, v in slots.items()}
        random.set_state(tensors["random"])
        told = [(step, value) for step, value in note.pop("told")]
        return cls(tensors["replay"], told=told, **note)


def _below(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``start``, without it."""
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}
