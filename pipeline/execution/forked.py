"""Module that the fork server imports: it loads what workers of a run need, and leaves no thread behind."""

import gc
from contextlib import suppress

# Libraries leave no garbage, and to look for it takes a sixth of their time.
gc.disable()
# An error would end the server; the process that needs the library tells of it.
with suppress(Exception):
    import distributed.nanny  # noqa: F401

    from . import datatake_jobs, publish  # noqa: F401

    # The last one, because it knows how long all this took.
    from ..planning import calibrate  # noqa: F401  # isort: skip
# Workers share the memory of these objects until they change them.
gc.freeze()
gc.enable()
