"""Terminal output, progress and pages.

May import engine.
Main path: a command → :func:`told` and bars on the terminal; facts → :func:`document` → a page.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "html": ["asset", "document", "plural"],
        "progress": ["prepare", "watch_work"],
        "terminal": [
            "GOES_ON",
            "PARTIAL",
            "Screen",
            "bars",
            "busy",
            "check_extras",
            "console",
            "duration_text",
            "leave_quietly",
            "problems",
            "size_text",
            "told",
        ],
    },
)
