"""Training of weights: on real scenes, or from existing weights, with a plot of the loss.

May import execution, planning, scenes.
Main path: a catalog → :func:`school` or :func:`finetune` → weights with a card.
"""

from s2sharp_core.faces import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "losses": ["draw_losses"],
        "train": ["Training", "finetune", "train_dsen2", "train_s2net", "train_start"],
    },
)
