"""Downloads that are killed again and again; `make soak` runs them, minutes long."""

from collections import Counter
from pathlib import Path

import pytest

from kinetics_tools.downloading import download
from kinetics_tools.io import RetryPolicy
from tests.support.fault_server import FaultServer
from tests.support.releases import Release, kill_download, ledger_lines, leftovers, made_clips, mixed_faults, tree_of

KILLS = 200
CLIPS = 2_400
ARCHIVES = 8
# Without a limit the download is over before it was killed so often.
RATE = "3MB"


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    clips = made_clips(CLIPS, size=40_000)
    each = CLIPS // ARCHIVES
    parts = {f"part_{number}": clips[number * each : (number + 1) * each] for number in range(ARCHIVES)}
    # The first clips of two archives lie in a third as well, and the replacements win over all.
    parts["part_0"] = [*parts["part_0"], *parts["part_5"][:20]]
    replacement = {clip.file_name: b"the replacement of " + clip.content for clip in clips[::300]}
    return Release(tmp_path_factory.mktemp("mirror"), "400", {"train": parts}, replacement=replacement).write()


@pytest.fixture(scope="module")
def undisturbed(release: Release, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    with FaultServer(release.root) as mirror:
        assert download("400", out, splits=["train"], mirror=mirror.url).is_complete
    return tree_of(out)


def test_200_kills(release: Release, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with FaultServer(release.root) as mirror:
        killed = kill_download(mirror, out, kills=KILLS, release=release, splits=["train"], workers=3, rate_limit=RATE)
        sent, requests = mirror.bytes_sent("*.t*gz"), mirror.count("*.t*gz", "GET")
    size = sum(path.stat().st_size for path in release.root.rglob("*.t*gz") if "deepmind" not in str(path))
    lines = Counter((line["source"], line["key"]) for line in ledger_lines(out) if line["status"] == "complete")
    print(
        f"\n{killed.kills} kills in {killed.runs} runs and {killed.seconds:.0f} s of a download of {CLIPS} clips in "
        f"{ARCHIVES + 1} archives of {size:,} bytes: {requests} requests, {sent:,} bytes sent, "
        f"{sent - size:,} of them in flight at kills; clips made again {len(killed.rewritten)}, "
        f"bytes on disk fetched again {len(killed.fetched_again)}, left over {leftovers(out)}"
    )
    assert (killed.kills, killed.exit_code) == (KILLS, 0)
    assert tree_of(out) == undisturbed
    assert killed.fetched_again == []
    assert max(lines.values()) == 1  # no clip was written twice out of the same archive
    # Out of two, where that whose clips win came later.
    twice = {*(release.replacement or {}), *(clip.file_name for clip in release.archives["train"]["part_5"][:20])}
    assert set(killed.rewritten) <= twice
    assert leftovers(out) == []


def test_60_kills_with_a_server_that_misbehaves(
    release: Release, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    faults = mixed_faults(cut_at=1_000_000, stall_at=6_000_000, stall_seconds=2, corrupt_at=7_000_000)
    http = {"policy": RetryPolicy(6, 0.01), "timeout_seconds": 1.0}
    out = tmp_path / "out"
    with FaultServer(release.root, faults=faults) as mirror:
        killed = kill_download(mirror, out, kills=60, release=release, http=http, splits=["train"], workers=3)
        struck = Counter(kind for request in mirror.requests for kind in request.faults)
        requests = mirror.count("*/part_*")
        runs = 0
        while killed.exit_code == 1 and runs < 10:  # what could not be fetched was named; later it can
            report = download("400", out, splits=["train"], mirror=mirror.url)
            killed.exit_code, runs = int(not report.is_complete), runs + 1
    print(
        f"\n{killed.kills} kills in {killed.runs} runs and {killed.seconds:.0f} s, {sum(struck.values())} faults in "
        f"{requests} requests ({', '.join(f'{kind} {count}' for kind, count in sorted(struck.items()))}); then "
        f"{runs} runs without kills; left over {leftovers(out)}"
    )
    assert (killed.kills, killed.exit_code) == (60, 0)
    assert tree_of(out) == undisturbed
    assert leftovers(out) == []
