"""Weights: safetensors, each with a card (data, protocol, figures, licence, sha256) beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from ..errors import S2SharpError
from ..networks import ResidualNet

__all__ = ["SHIPPED", "load_net", "save_net"]

SHIPPED = Path(__file__).parent
"""The folder of the weights that come with the package."""


def save_net(net: ResidualNet, file: Path, facts: dict[str, Any]) -> str:
    """Write ``net`` as safetensors and ``facts`` as its card; returns the sha256 of the weights."""
    content = save(net.state_dict())
    sha256 = hashlib.sha256(content).hexdigest()
    card = {
        "network": {"gsd": net.gsd, "features": net.features, "blocks": net.blocks},
        "sha256": sha256,
        **facts,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    file.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    return sha256


def load_net(file: Path, expected: str | None = None) -> tuple[ResidualNet, str]:
    """Read a net that :func:`save_net` wrote, and check it against its card.

    Raises
    ------
    S2SharpError
        ``weights-missing``, or ``weights-corrupt`` when the sha256 is not the card's (or ``expected``).
    """
    try:
        content = file.read_bytes()
        card = json.loads(file.with_suffix(".json").read_text())
    except (OSError, ValueError) as error:
        raise S2SharpError(
            "weights-missing",
            f"Cannot read the weights {file} and their card {file.with_suffix('.json').name}: {error}.",
            "Make them with `s2sharp train --out FOLDER`, or leave --weights out to use the shipped ones.",
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    wanted = expected or card.get("sha256")
    if sha256 != wanted:
        raise S2SharpError(
            "weights-corrupt",
            f"The weights {file} have sha256 {sha256}, but {wanted} was expected.",
            "Copy them again from where they came from, together with their card.",
        )
    try:
        net = ResidualNet(**card["network"])
        net.load_state_dict(load(content))
    except (KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise S2SharpError(
            "weights-corrupt",
            f"The weights {file} do not fit the network in their card: {error}.",
            "Copy weights and card again from where they came from.",
        ) from error
    return net.eval().requires_grad_(False), sha256
