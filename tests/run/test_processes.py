"""Worker processes that crash, hang, raise and go away, each time with the other items' results unharmed."""

import functools
import os
import signal
import subprocess
import sys
import time
from itertools import count

import pytest

from kinetics_tools.run import processes as engine


def behave(item):
    if item == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif item == "exit":
        os._exit(3)
    elif item == "hang":
        time.sleep(60)
    elif item == "raise":
        raise LookupError("of the function")
    elif item == "unpicklable":
        return lambda: None
    elif item == "print":
        print("between the results", flush=True)
    return item, os.getpid()


def add(item, *, other):
    return item + other


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:  # what nobody has waited for yet is a zombie
        return file.read().rpartition(")")[2].split()[0] != "Z"


def test_each_key_gets_its_result():
    numbers = ((f"key {number}", number) for number in range(100))
    found = dict(engine.run(functools.partial(add, other=1000), numbers, workers=2, batch_size=7))
    assert found == {f"key {number}": number + 1000 for number in range(100)}


def test_no_items_start_no_process(monkeypatch):
    monkeypatch.setattr(engine, "_Process", None)
    assert list(engine.run(behave, [], workers=2)) == []


def test_crashes_and_hangs_cost_only_those_who_cause_them():
    items = [(number, number) for number in range(40)]
    items[3:3] = [("a", "crash")]
    items[20:20] = [("b", "hang"), ("c", "exit"), ("d", "print")]
    found = dict(engine.run(behave, items, workers=2, batch_size=8, limit_seconds=0.5))
    assert {key for key, result in found.items() if isinstance(result, engine.Crash)} == {"a", "b", "c"}
    assert found["a"].reason == "reading it ended the process (SIGSEGV)"
    assert found["b"].reason == "reading it did not end in 0.5 s"
    assert found["c"].reason == "reading it ended the process (status 3)"
    assert {key: result[0] for key, result in found.items() if not isinstance(result, engine.Crash)} == {
        **{number: number for number in range(40)},
        "d": "print",
    }


@pytest.mark.parametrize("bad", ["raise", "unpicklable"])
def test_what_the_function_does_wrong_is_raised_with_its_traceback(bad):
    message = {"raise": r"in behave\n(.*\n)*LookupError: of the function", "unpicklable": r"pickle"}[bad]
    with pytest.raises(RuntimeError, match=message):
        list(engine.run(behave, [(1, 1), (2, bad)], workers=1))


def test_what_the_items_do_wrong_is_raised():
    def items():
        yield 1, 1
        raise OSError("of the items")

    with pytest.raises(OSError, match="of the items"):
        list(engine.run(behave, items(), workers=2))


def test_workers_must_be_some():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        list(engine.run(behave, [(1, 1)], workers=0))


def test_a_worker_that_cannot_start_is_not_the_items_fault(monkeypatch, capfd):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(RuntimeError, match="cannot start a worker process"):
        list(engine.run(behave, [(1, 1)], workers=1))
    assert "ModuleNotFoundError" in capfd.readouterr().err


def test_processes_end_with_the_iterator_and_items_are_taken_as_needed():
    taken = []
    items = ((taken.append(number) or number, number) for number in count())
    found = engine.run(behave, items, workers=2, batch_size=4)
    pids = {next(found)[1][1] for _ in range(20)}
    found.close()
    assert not any(alive(pid) for pid in pids)
    assert len(taken) < 10_000
    seen = len(taken)
    time.sleep(0.1)
    assert len(taken) == seen


def test_idle_processes_are_used_again_until_one_crashes():
    def pids(idle, *items):
        found = dict(engine.run(behave, enumerate(items), workers=1, batch_size=1, idle=idle))
        return {value[1] for value in found.values() if isinstance(value, tuple)}

    with engine.IdleProcesses() as idle:
        (first,) = pids(idle, "a", "b")
        assert pids(idle, "c") == {first}
        assert pids(idle, "crash") == set()
        (second,) = pids(idle, "d")
        assert (alive(first), alive(second), first == second) == (False, True, False)
    assert not alive(second)


def test_processes_end_when_this_one_is_killed(tmp_path):
    script = tmp_path / "script.py"  # without a __main__ guard
    script.write_text(
        "from itertools import repeat\n"
        "from tests.run.test_processes import behave\n"
        "from kinetics_tools.run import processes as engine\n"
        "for key, (item, pid) in engine.run(behave, repeat((1, 1)), workers=1, batch_size=1):\n"
        "    print(pid, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        assert alive(pid)
        process.kill()
    for _ in range(100):
        if not alive(pid):
            return
        time.sleep(0.05)
    pytest.fail(f"{pid} outlived the process that started it")


def test_a_worker_that_is_killed_from_outside_costs_no_item(tmp_path):
    """Each item kills its process a few times, as a system that is short of memory does, and then is done."""
    found = dict(engine.run(functools.partial(killed_at_first, folder=tmp_path), [(1, 1), (2, 2)], workers=1))
    assert found == {1: 1, 2: 2}


def killed_at_first(item, *, folder):
    mark = folder / f"{item}-{len(list(folder.glob(f'{item}-*')))}"
    if mark.name[-1] < "4":
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def test_a_crash_is_tried_once_more(tmp_path):
    found = dict(engine.run(functools.partial(crashes_at_first, folder=tmp_path), [(1, 1), (2, 2)], workers=1))
    assert found[1] == 1
    assert found[2] == engine.Crash("reading it ended the process (SIGSEGV)", signal.SIGSEGV)
    # 1 took the batch of both down, then came each alone: 2 twice.
    assert {path.name for path in tmp_path.iterdir()} == {"1-0", "2-0", "2-1"}


def crashes_at_first(item, *, folder):
    mark = folder / f"{item}-{len(list(folder.glob(f'{item}-*')))}"
    if item == 2 or mark.name == "1-0":
        mark.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return item
