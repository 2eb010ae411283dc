"""Odd items and products by the thousand: each is in an acquisition or refused, and nothing else comes out.

``python -m tests.benchmarks.fuzz [--count 5000] [--seed 1]``; the same seed draws the same documents.
"""

import argparse
import logging
import tempfile
import time
from collections import Counter
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, seed, settings

from s2sharp_core.bands import BANDS
from tests.pipeline.fuzzing import check_item, check_product, odd_items, odd_texts
from tests.pipeline.pictures import box_at, noise, scenes
from tests.pipeline.products import write_safe

__all__ = ["main"]


def main(count: int = 5000, number: int = 1) -> Counter[str]:
    """Draw ``count`` documents, a tenth of them products'; raises what broke the claim, shrunk."""
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    become: Counter[str] = Counter()
    many = settings(
        max_examples=count - count // 10,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        box = box_at(4, 4)
        (item,) = scenes(folder / "cogs", noise(box, *BANDS, "SCL"), box)
        safe = write_safe(folder / "safe", item, "2A", -1000)

        @seed(number)
        @many
        @given(document=odd_items())
        def all_items(document: object) -> None:
            become[f"items {check_item(document, folder)}"] += 1

        @seed(number)
        @settings(many, max_examples=count // 10)
        @given(change=odd_texts())
        def all_products(change: tuple[str, int, str, str]) -> None:
            become[f"products {check_product(safe, change, folder)}"] += 1

        all_items()
        all_products()
    return become


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=5000, help="documents")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    begun = time.monotonic()
    found = main(asked.count, asked.seed)
    for what, times in sorted(found.items()):
        print(f"{times:6d} {what}")
    print(
        f"{sum(found.values()):6d} documents in {time.monotonic() - begun:.0f} s, seed {asked.seed}"
    )
