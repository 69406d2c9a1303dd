"""Files opened by a push to a folder and by a second one, with 352 shards and with 1,408.

Counts, not seconds: a growth exponent of 1 means that each shard is opened a fixed number of times.

    python benchmarks/push_reads.py
"""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from _common import Result, fresh, report, workspace
from tests.support.prepared import write_prepared

FEW, MANY = 352, 1408
LIMIT = 1.1


@contextlib.contextmanager
def counted(opened: Counter[str]) -> Iterator[None]:
    """Counts the opened files of all folders, by path."""
    from kinetics_tools.io.folder import Folder

    reads = {"open": Folder.open, "read": Folder.read}

    def count(name: str, folder: Folder, file: str) -> object:
        opened[folder.path(file)] += 1
        return reads[name](folder, file)

    for name in reads:
        setattr(Folder, name, lambda folder, file, name=name: count(name, folder, file))
    yield
    for name, function in reads.items():
        setattr(Folder, name, function)


def opens(root: Path, shards: int) -> tuple[int, int, int]:
    """Return the number of opened files of the target in a first and a second push, and of local ones in both."""
    from rich.console import Console

    from kinetics_tools.publication.run import push

    out, target = root / f"local-{shards}", root / f"target-{shards}"
    write_prepared(out, "700", "train", shards=shards, clips=shards, clip_bytes=100)
    counts = []
    for _ in range(2):
        opened: Counter[str] = Counter()
        with counted(opened):
            push(out, f"file://{target}", console=Console(quiet=True))
        counts.append(opened)
    remote = [sum(count for path, count in one.items() if path.startswith(str(target))) for one in counts]
    return remote[0], remote[1], sum(map(Counter.total, counts)) - sum(remote)


def main() -> None:
    with workspace() as root:
        few, many = (fresh(partial(opens, root, shards)) for shards in (FEW, MANY))
    results = []
    claims = "first push: target", "second push: target", "both: local"
    for claim, small, large in zip(claims, few, many, strict=True):
        exponent = math.log(max(1, large) / max(1, small)) / math.log(MANY / FEW)
        results.append(Result(claim, f"{large:,} opened files", f"{small:,}", exponent, "at most", LIMIT))
    report(f"push to a folder: growth exponent of opened files, {FEW:,} and {MANY:,} shards", results)


if __name__ == "__main__":
    main()
