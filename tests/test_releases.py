"""Names of releases and splits as users write them."""

import pytest

from kinetics_tools.annotations import Selection, find_label, map_label
from kinetics_tools.releases import LABELS, archive_list_url, check_release, directory_names


def test_a_release_may_be_a_number():
    assert [check_release(release) for release in ("400", 400, 700, "700-2020")] == ["400", "400", "700", "700-2020"]
    assert Selection(400) == Selection("400")
    assert LABELS[600] == LABELS["600"]
    assert archive_list_url(400, "test") == archive_list_url("400", "test")
    assert find_label("zumba", 400) == 399
    assert map_label("zumba", 400, 700) == "zumba"
    with pytest.raises(ValueError, match=r"unknown release 'True'|unknown release True"):
        check_release(True)


def test_directories_of_a_split():
    assert directory_names("test")[:2] == ("test", "testing")
    assert {"val", "validation", "videos_val", "val_256"} <= set(directory_names("validation"))
