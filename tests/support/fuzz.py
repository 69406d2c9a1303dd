"""Mutated inputs for readers of what is from outside, in a process that may crash, hang or fill the memory.

    fuzz("tests.support.media_fuzz", 0, 1000, folder)

The module has `inputs(number)`, which yields the names of targets, each with the same bytes for the same number, and
`TARGETS`, by name a function of such bytes and the exception that it may raise.
"""

import importlib
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

LONGEST_SECONDS, MOST_BYTES = 10, 1 << 30


def fuzz_on_all_cores(module: str, count: int, folder: Path) -> list[str]:
    """Like `fuzz`, in a process per core, from number 0 on; prints the number of inputs of each target."""
    cores, start = os.cpu_count() or 1, time.monotonic()
    bounds = [count * core // cores for core in range(cores + 1)]
    with ThreadPoolExecutor(cores) as pool:
        problems = pool.map(lambda first, end: fuzz(module, first, end - first, folder), bounds, bounds[1:])
    targets = ", ".join(importlib.import_module(module).TARGETS)
    print(f"\n{count:,} mutated inputs for each of {targets}, in {time.monotonic() - start:.0f} s")
    return [problem for some in problems for problem in some]


def fuzz(module: str, first: int, count: int, folder: Path) -> list[str]:
    """Read `count` inputs from number `first` on with each target, in processes of their own.

    Returns:
        A line for each input that broke a rule: that only the documented exception is raised, within 10 s of work and
        1 GB. `folder` gets those inputs.
    """
    begun, number = first, first
    state, found = folder / f"{begun}.state", folder / f"{begun}.found"  # which an interrupted run leaves, too
    while number < begun + count:
        numbers = (str(number), str(begun + count - number), str(state))
        command = [sys.executable, "-m", "tests.support.fuzz", module, *numbers]
        with open(found, "a") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace")
            if not state.exists():
                raise RuntimeError(done.stderr)
            reached = state.read_text().split()
            if done.returncode:
                print(f"{' '.join(reached)}: ended by {done.returncode}: {done.stderr[-300:]!a}", file=output)
        number = int(reached[0]) + 1
    problems = found.read_text().splitlines()
    for problem in problems:
        bad, name = problem.partition(":")[0].split(maxsplit=1)
        (folder / f"{bad}").write_bytes(dict(importlib.import_module(module).inputs(int(bad)))[name])
    return problems


def main(module: str, first: int, count: int, state: Path) -> None:
    """Read inputs and print a line for each one that breaks a rule; a hang ends the process."""
    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, signal.SIG_DFL)
    logging.disable(logging.WARNING)
    readers = importlib.import_module(module)
    # A process inherits the peak of the one that started it.
    most = max(MOST_BYTES, _peak_bytes())
    with open(state, "w") as file:
        for number in range(first, first + count):
            for target, content in readers.inputs(number):
                read, allowed = readers.TARGETS[target]
                file.seek(0)
                file.write(f"{number} {target:20}")
                file.flush()
                signal.setitimer(signal.ITIMER_PROF, LONGEST_SECONDS)  # of this process: others may take the cores
                signal.alarm(12 * LONGEST_SECONDS)  # for one that sleeps
                try:
                    read(content)
                except allowed:
                    pass
                except Exception as error:
                    print(f"{number} {target}: {type(error).__name__}: {str(error)!a}"[:300], flush=True)
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.alarm(0)
                if _peak_bytes() > most:
                    most = _peak_bytes()
                    print(f"{number} {target}: {most >> 20} MB", flush=True)


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
