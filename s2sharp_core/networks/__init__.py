"""Networks: plain ``torch.nn.Module`` s, each of which knows what it reads around a cell."""

from .residual import ResidualNet

__all__ = ["ResidualNet"]
