import subprocess
import sys


def test_importing_the_package_loads_neither_torch_nor_xarray():
    code = (
        "import s2sharp_core, sys; print(*{'torch', 'xarray', 'dask', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_all_that_the_package_promises_is_there():
    import s2sharp_core

    for name in s2sharp_core.__all__:
        assert getattr(s2sharp_core, name) is not None
