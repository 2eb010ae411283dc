import os

# Processes of pytest-xdist have it, and the width of the command line's tables would be theirs, not a test's.
os.environ.pop("COLUMNS", None)
