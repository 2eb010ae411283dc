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
from uuid import uuid4

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import S2SharpError
from .options import OF_A_SCENE, FitOptions, Tell

__all__ = ["CONSTANTS", "FEWEST", "OF_A_SCENE", "Curve", "FitOptions", "Tell", "optimise"]

_CHECKPOINT = 50
# Share of the steps after which a fit continues with frozen statistics, and its share of the learning rate. At the
# full rate, with statistics frozen half-way, Deep SURE's loss on APEX at 40 dB rose from 0.003 to 1.2 within 60
# steps.
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

FEWEST = 2
"""Steps of the shortest fit with frozen statistics: one before freezing, one after."""


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
    *,
    steps: int,
    rate: float,
    seed: int,
    eps: float = EPS,
    checkpoint: Path | None = None,
    settle: Callable[[], object] | None = None,
    tell: Tell = lambda *_: None,
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
    eps
        Adam's addition to the root of the mean squared gradient.
    settle
        Feeds the whole sample through ``net`` to set the statistics of its batch norms. It is called once, after
        which they are frozen for the remaining steps. None: there are none.
    checkpoint
        A safetensors file, written now and then and read if it exists. The caller removes it, and names it after the
        training data. A checkpoint with another number of steps or seed is ignored.

    Raises
    ------
    S2SharpError
        ``bad-config`` for fewer than :data:`FEWEST` steps with frozen statistics. ``fit-failed`` if the loss is not
        finite, or if the final loss with frozen statistics is more than 1.05 × the loss on the same draws before
        freezing.
    """
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=rate, eps=eps, amsgrad=True)
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    if norms and settle and steps < FEWEST:
        raise S2SharpError(
            "bad-config",
            f"A fit of {steps} steps has no step before its statistics are frozen; it needs at least {FEWEST}.",
            f"Give {FEWEST} steps or more, or leave the number to the method.",
        )
    facts = {"steps": steps, "rate": rate, "eps": eps, "seed": seed}
    told: list[tuple[int, float]] = []
    losses: list[float] = []
    training: list[float] = []
    begin, replay = 0, random.get_state()
    on_freezing = 1.0
    frozen = int(_SETTLE * steps) if norms and settle else steps
    if checkpoint and (state := _read(checkpoint, facts)):
        state.restore(net, optimizer)
        random.set_state(state.tensors["random"])
        replay = state.tensors["replay"]
        begin, losses = state.note["step"], state.note["losses"]
        training, on_freezing = state.note["training"], state.note["on_freezing"]
        told = [(step, value) for step, value in state.note["told"]]
    net.train()
    for step in range(begin, steps):
        if settle and step == frozen:
            for norm in norms:
                norm.reset_running_stats()
            with torch.no_grad():
                settle()
        for norm in norms:
            norm.train(step < frozen)
        if settle and step == frozen:
            on_freezing, _ = _again(loss, replay, training)
        if step == max(0, frozen - _CHECKED):
            replay = random.get_state()
        for group in optimizer.param_groups:
            group["lr"] = rate * _share(step / steps) * (1 if step < frozen else _SETTLED_RATE)
        value = loss(random)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), _CLIP)
        optimizer.step()
        losses = [*losses[1 - _CHECKED :], float(value.detach())]
        if not math.isfinite(losses[-1]):
            raise S2SharpError(
                "fit-failed",
                f"The loss is {losses[-1]} at step {step + 1} of {steps}.",
                "Try another seed, or a pretrained method.",
            )
        if step + 1 == frozen:
            training = losses
        if (step + 1) % _CHECKED == 0 or step + 1 == steps:
            told.append((step + 1, float(np.mean(losses))))
            tell(step + 1, steps, told[-1][1])
        if checkpoint and (step + 1) % _CHECKPOINT == 0 and step + 1 < steps:
            states = {"random": random.get_state(), "replay": replay}
            note = {
                "facts": facts,
                "step": step + 1,
                "told": told,
                "losses": losses,
                "training": training,
                "on_freezing": on_freezing,
            }
            _Saved.of(net, optimizer, states, note).write(checkpoint)
    net.eval()
    ratio, still = _again(loss, replay, training)
    if not ratio <= _ALLOWED:
        raise S2SharpError(
            "fit-failed",
            f"With frozen statistics, the net's loss is {still:.4g}, {ratio:.3g} × its loss in training; at most "
            f"{_ALLOWED} × is allowed. The weights would not be those that were fitted.",
            "Fit longer, on more or larger windows, or with another seed.",
        )
    return Curve(tuple(s for s, _ in told), tuple(v for _, v in told), ratio, on_freezing)


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
    """Content of a checkpoint: everything that a fit needs to continue."""

    tensors: dict[str, Tensor]
    note: dict[str, Any]

    @classmethod
    def of(
        cls,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        random: dict[str, Tensor],
        note: dict[str, Any],
    ) -> "_Saved":
        tensors = {f"net.{name}": x for name, x in net.state_dict().items()}
        for name, p in net.named_parameters():
            tensors |= {f"adam.{name}.{k}": v for k, v in optimizer.state[p].items()}
        return cls(tensors | random, note)

    def write(self, file: Path) -> None:
        tensors = {name: x.contiguous() for name, x in self.tensors.items()}
        content = save(tensors, {"fit": json.dumps(self.note)})
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}.{uuid4().hex}")
        draft.write_bytes(content)
        draft.replace(file)

    def restore(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        state = {k.removeprefix("net."): v for k, v in self.tensors.items() if k.startswith("net.")}
        net.load_state_dict(state)
        for name, p in net.named_parameters():
            start = f"adam.{name}."
            slots = {
                k.removeprefix(start): v for k, v in self.tensors.items() if k.startswith(start)
            }
            optimizer.state[p] = {k: v if k == "step" else v.to(p.device) for k, v in slots.items()}


def _read(file: Path, facts: Mapping[str, Any]) -> _Saved | None:
    """Return a checkpoint of this very fit, if there is a sound one."""
    try:
        with safe_open(file, "pt") as content:
            note = json.loads(content.metadata()["fit"])
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    same = json.dumps(note["facts"], sort_keys=True) == json.dumps(dict(facts), sort_keys=True)
    return _Saved(tensors, note) if same else None
