"""The weights that ship, each with a card, and how weights are written and read.

May import networks. ``save_net`` → file and card → ``load_net``.
"""

from .files import PUBLISHED, weights_file
from .store import SHIPPED, load_net, save_net

__all__ = ["PUBLISHED", "SHIPPED", "load_net", "save_net", "weights_file"]
