"""Text for people."""

import pytest

from kinetics_tools.text import format_size


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB"), (4.5e12, "4,500.00 GB")]
)
def test_sizes_for_people(count, text):
    assert format_size(count) == text
