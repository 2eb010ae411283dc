"""Training of weights: on real scenes, or from existing weights, with a plot of the loss.

May import execution, planning, scenes.
Main path: a catalog → :func:`train_s2net` or :func:`finetune` → weights with a card.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "train": [
            "Training",
            "draw_losses",
            "finetune",
            "train_dsen2",
            "train_s2net",
            "train_start",
        ],
    },
)
