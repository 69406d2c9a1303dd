"""Threads that an interrupt must not make us forget."""

import subprocess
import sys
import threading

from kinetics_tools.run.threads import Workers


def test_all_threads_are_waited_for():
    begun, may_end = threading.Semaphore(0), threading.Event()

    def work():
        begun.release()
        may_end.wait(10)

    workers = Workers(work, 3)
    for _ in range(3):
        assert begun.acquire(timeout=10)
    assert not workers.wait(0.05)
    may_end.set()
    assert workers.wait(10)
    assert Workers(work, 0).wait(0)


def test_a_thread_that_fails_has_ended(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _: None)

    def work():
        raise RuntimeError

    assert Workers(work, 2).wait(10)


INTERRUPTED = """
import os, signal, threading, time
from kinetics_tools.run.threads import Workers

may_end = threading.Event()
workers = Workers(lambda: may_end.wait(10), 1)

def interrupt():
    time.sleep(0.2)  # by then the main thread waits
    os.kill(os.getpid(), signal.SIGINT)

try:
    threading.Thread(target=interrupt).start()
    workers.wait(10)
except KeyboardInterrupt:
    print("interrupted", workers.wait(0.05))
may_end.set()
print("at its end", workers.wait(10))
"""


def test_a_thread_runs_on_after_an_interrupt_and_can_be_waited_for():
    """In a process of its own, whose main thread, which interrupts reach, is certain to be the one that waits."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("interrupted False\nat its end True\n", "")
