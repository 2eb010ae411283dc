"""Versions for bug reports."""

import os
import platform
from importlib.metadata import version

_OTHERS = ("numpy", "dask", "distributed", "xarray", "zarr", "rasterio")


def versions() -> dict[str, str]:
    """Return the versions of this package, its main dependencies, Python and the device, by name."""
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
