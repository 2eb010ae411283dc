"""Comparison of methods on the same cases.

May import scenes, ui.
Main path: scenes and protocols → :func:`compare` → tables, CSV and a page.
"""

from s2sharp_core.lazy import face

__getattr__, __dir__, __all__ = face(
    __name__,
    {
        "compare": ["BenchOutcome", "Tasks", "Tell", "find_tasks", "folders"],
        "page": ["write_page"],
        "tables": ["Grid", "SEEN", "grids", "write_csv", "write_tables"],
    },
)
