"""Versions that a report of a fault needs to name."""

import os
import platform
from importlib.metadata import version

__all__ = ["versions"]

_OTHERS = ("numpy", "dask", "distributed", "xarray", "zarr", "rasterio")


def versions() -> dict[str, str]:
    """Name → version, of this package, of those that it stands on, and of what they run on."""
    import rasterio
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return {
        "s2sharp": version("s2sharp"),
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "torch": str(torch.__version__),
        "GDAL": str(rasterio.__gdal_version__),
        **{name: version(name) for name in _OTHERS},
        "device": f"{device}, {os.cpu_count()} processors",
    }
