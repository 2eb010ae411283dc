"""Protocols: ways to make an image with a known answer, and the definitions by which a method is judged on it.

Figures mean something only together with both. A protocol is a small object with a name. From a :class:`BenchScene`
it makes :class:`Case` objects, which any method can run on (see :mod:`.evaluate`).
"""

from ..sensor.simulate import landscape
from .cases import BenchScene, Protocol
from .full_resolution import FULL
from .harm import HARM
from .paper_protocols import PAPERS
from .reduced import REDUCED

# Seeds of landscapes that are not used for training, whose seeds begin at 10 000.
_SEED = 20_000
_BY_NAME = {p.name: p for p in (*REDUCED, *FULL, HARM, *PAPERS)}
_FIRST = ("measured", "hidden", "spectrum", "robust", "harm", "consistency")


def synthetic_scenes(count: int, cells: int = 48) -> list[BenchScene]:
    """Return landscapes that no weights were trained on, observed with a signal-to-noise ratio of 200."""
    shape = (6 * cells, 6 * cells)
    return [
        BenchScene(f"landscape-{i}", truth=landscape(shape, _SEED + i), snr=200.0, seed=_SEED + i)
        for i in range(count)
    ]


PROTOCOLS: dict[str, Protocol] = {
    name: _BY_NAME[name] for name in dict.fromkeys((*_FIRST, *_BY_NAME))
}
"""The protocols by name, the default first."""
