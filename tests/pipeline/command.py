"""The command line as a process of its own, whose forecast is given: to measure a net takes longer than a small run."""

import sys
from pathlib import Path

COMMAND = [sys.executable, "-P", str(Path(__file__).resolve())]
"""`s2sharp`, but for the time and the memory that it foresees."""

FORESEEN = {"seconds": 0.01, "bytes": 1e8, "fit": 1.0, "fit_bytes": 1e8, "start": 3.0}
"""Time and memory of a window, for any method and size."""

if __name__ == "__main__":
    import s2sharp.planning.cost
    from s2sharp.cli.app import main

    s2sharp.planning.cost._calibrate = lambda *_, **__: FORESEEN
    main()
