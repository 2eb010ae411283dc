"""The way in which an address is signed follows from it, and so does the end of its signature."""

import math

import pytest
from s2sharp.catalog.access import renewable
from s2sharp.catalog.signing import expiry, signed
from s2sharp.catalog.sources import Source

from s2sharp_core import S2SharpError

BLOB = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/x/B02.tif"
OTHER = "https://elsewhere.blob.core.windows.net/container/x/B02.tif"
PC = "https://planetarycomputer.microsoft.com/api/stac/v1/collections/sentinel-2-l2a/items/x"


@pytest.mark.parametrize(
    ("href", "was", "item", "sign", "way"),
    [
        (BLOB, "none", PC, "auto", "planetary-computer"),
        (BLOB, "none", None, "auto", "planetary-computer"),
        (BLOB, "item", PC, "auto", "planetary-computer"),
        (OTHER, "none", PC, "auto", "planetary-computer"),
        (OTHER, "none", "https://host/item.json", "auto", "none"),
        (OTHER, "item", "https://host/item.json", "auto", "item"),
        ("https://host/B02.tif", "none", PC, "auto", "none"),
        ("https://host/B02.tif", "item", "https://host/item.json", "auto", "item"),
        ("https://host/B02.tif", "item", None, "auto", "none"),
        ("https://host/B02.tif", "item", "https://host/item.json", "none", "none"),
        ("https://host/B02.tif", "none", "https://host/item.json", "item", "item"),
        (OTHER, "none", None, "planetary-computer", "planetary-computer"),
        ("s3://bucket/B02.tif", "none", PC, "auto", "none"),
        ("/data/B02.tif", "none", "/data/item.json", "auto", "none"),
        ("/data/B02.tif", "none", "/data/item.json", "item", "none"),
    ],
)
def test_the_way_follows_from_the_address_unless_it_is_chosen(href, was, item, sign, way):
    source = Source("B02", href, 1e-4, 0.0, 0, "item metadata", was)
    assert renewable(source, item, sign).sign == way


def test_a_file_in_no_container_is_told():
    source = Source("B02", "https://host/B02.tif", 1e-4, 0.0, 0, "", "planetary-computer")
    with pytest.raises(S2SharpError) as caught:
        signed(source, None)
    assert caught.value.kind == "sign-unsuitable"


@pytest.mark.parametrize(
    ("query", "until"),
    [
        ("st=2024-06-01T00%3A00%3A00Z&se=2024-06-01T01%3A00%3A00Z&sig=x", 1717203600),
        ("AWSAccessKeyId=x&Expires=1717203600&Signature=y", 1717203600),
        ("X-Amz-Date=20240601T000000Z&X-Amz-Expires=3600&X-Amz-Signature=x", 1717203600),
        ("x-goog-date=20240601T000000Z&x-goog-expires=3600", 1717203600),
        ("versionId=3", math.inf),
        ("se=tomorrow", math.inf),
        ("", math.inf),
    ],
)
def test_the_end_of_a_signature_is_read_from_the_address(query, until):
    assert expiry(f"https://host/B02.tif?{query}") == until
