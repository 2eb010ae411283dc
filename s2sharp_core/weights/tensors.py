"""Files of tensors with facts about them, written atomically."""

from collections.abc import Mapping
from pathlib import Path
from uuid import uuid4

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor


def write_tensors(file: Path, tensors: Mapping[str, Tensor], facts: dict[str, str]) -> None:
    """Write tensors as safetensors, with ``facts`` in the file's head."""
    content = save({name: x.cpu().contiguous() for name, x in tensors.items()}, facts)
    write_whole(file, content)


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """Return the tensors and facts of :func:`write_tensors`; None if the file is missing or torn."""
    try:
        with safe_open(file, "pt") as content:
            tensors = {name: content.get_tensor(name) for name in content.keys()}  # noqa: SIM118
            return tensors, content.metadata() or {}
    except (OSError, SafetensorError):
        return None


def write_whole(file: Path, content: bytes) -> None:
    """Write a file atomically: readers see the old or the new content."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}.{uuid4().hex}")
    draft.write_bytes(content)
    draft.replace(file)
