"""Weights as safetensors, each with a card (data, protocol, figures, licence, sha256)."""

import hashlib
import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from ..errors import S2SharpError
from ..networks import built, described
from .tensors import write_whole

SHIPPED = Path(__file__).parent
"""The folder of the shipped weights."""


def save_net(net: Any, file: Path, facts: dict[str, Any]) -> str:
    """Write ``net`` as safetensors and ``facts`` as its card, and return the sha256 of the weights."""
    network = described(net)
    # The file includes these facts, so its sha256 covers everything that determines the result.
    tensors = {name: x.contiguous() for name, x in net.state_dict().items()}
    content = save(tensors, {"network": json.dumps(network, sort_keys=True)})
    sha256 = hashlib.sha256(content).hexdigest()
    card = {"network": network, "sha256": sha256, **facts}
    # The weights come last, so readers of the weights find their card.
    write_whole(file.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode())
    write_whole(file, content)
    return sha256


def load_net(file: Path, expected: str | None = None) -> tuple[Any, str]:
    """Read a net that :func:`save_net` wrote, and check it against its card.

    Raises
    ------
    S2SharpError
        ``weights-missing``, or ``weights-corrupt`` if the sha256 differs from the card's (or from ``expected``).
    """
    try:
        content = file.read_bytes()
        card = json.loads(file.with_suffix(".json").read_text())
    except (OSError, ValueError) as error:
        raise S2SharpError(
            "weights-missing",
            f"Cannot read the weights {file} and their card {file.with_suffix('.json').name}: {error}.",
            "Make them with `s2sharp train --out FOLDER` (or fit them), or leave --weights out.",
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    wanted = expected or card.get("sha256")
    if sha256 != wanted:
        raise S2SharpError(
            "weights-corrupt",
            f"The weights {file} have sha256 {sha256}, but {wanted} was expected.",
            "Copy them again from their source, together with their card.",
        )
    try:
        net: nn.Module = built(card["network"])
        net.load_state_dict(load(content))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise S2SharpError(
            "weights-corrupt",
            f"The weights {file} do not fit the network in their card: {error}.",
            "Copy weights and card again from their source.",
        ) from error
    return net.eval().requires_grad_(False), sha256
