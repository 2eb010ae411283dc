"""Weights as safetensors, each with a card (data, protocol, figures, licence, sha256); and other files of tensors."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor, nn

from ..errors import S2SharpError
from ..networks import built, described

SHIPPED = Path(__file__).parent
"""The folder of the shipped weights."""

PUBLISHED = {"dsen2": (128, 6), "vdsen2": (256, 32)}
"""Method → features and blocks of the published nets."""


def weights_file(method: str, gsd: int | None = None) -> str:
    """Return the file name of the weights of ``method``, for the bands of ``gsd`` if it has a net for each."""
    return f"{method}.safetensors" if gsd is None else f"{method}-{gsd}m.safetensors"


def save_net(net: Any, file: Path, facts: dict[str, Any]) -> str:
    """Write ``net`` as safetensors and ``facts`` as its card, and return the sha256 of the weights."""
    network = described(net)
    # The file includes these facts, so its sha256 covers everything that determines the result.
    tensors = {name: x.contiguous() for name, x in net.state_dict().items()}
    content = save(tensors, {"network": json.dumps(network, sort_keys=True)})
    sha256 = hashlib.sha256(content).hexdigest()
    card = {"network": network, "sha256": sha256, **facts}
    # The weights come last, so readers of the weights find their card.
    _write_whole(file.with_suffix(".json"), (json.dumps(card, indent=2) + "\n").encode())
    _write_whole(file, content)
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


def write_tensors(file: Path, tensors: Mapping[str, Tensor], facts: dict[str, str]) -> None:
    """Write tensors as safetensors, with ``facts`` in the file's head."""
    content = save({name: x.cpu().contiguous() for name, x in tensors.items()}, facts)
    _write_whole(file, content)


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Return the tensors and facts of :func:`write_tensors`; None if the file is missing or torn."""
    try:
        with safe_open(file, "pt") as content:
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
            return tensors, content.metadata() or {}
    except (OSError, SafetensorError):
        return None


def _write_whole(file: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old or the new content."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{uuid4().hex}")
    draft.write_bytes(content)
    draft.replace(file)
