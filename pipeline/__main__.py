"""``python -m s2sharp``: the command line."""

from .cli.app import main

if __name__ == "__main__":
    main()
