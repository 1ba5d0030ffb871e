"""What the harness says while it works: one line a step, with how long it took, and waits that end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

SAY_EVERY_SECONDS = 15.0


class ClusterError(Exception):
    """The cluster cannot do what was asked; the text says what to do about it."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins, and how long it took once it ended well."""
    started = time.monotonic()
    say(f"  {what} …")
    yield
    say(f"  {what}: {time.monotonic() - started:.1f} s")


def wait(
    what: str,
    is_so: Callable[[], bool],
    *,
    limit_seconds: float,
    every_seconds: float = 0.25,
    progress: Callable[[], str] = lambda: "",
    hint: Callable[[], str] = lambda: "",
) -> None:
    """Return once ``is_so``; fail at the limit and say what ``hint`` knows of the reason."""
    started = time.monotonic()
    said = started
    while not is_so():
        now = time.monotonic()
        if now - started > limit_seconds:
            raise ClusterError(f"{what}: not within {limit_seconds:.0f} s\n{hint()}".rstrip())
        if now - said > SAY_EVERY_SECONDS:
            say(f"    {what}: {now - started:.0f} s {progress()}".rstrip())
            said = now
        time.sleep(every_seconds)


def run(
    *argv: str | Path,
    timeout_seconds: float = 60,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end and return what it printed; a failure carries what it complained of."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
            check=False,
            cwd=cwd,
            env=None if env is None else dict(env),
        )
    except subprocess.TimeoutExpired as late:
        raise ClusterError(f"{_shown(words)}: not done within {timeout_seconds:.0f} s") from late
    except FileNotFoundError as missing:
        raise ClusterError(f"{words[0]} is not installed") from missing
    if done.returncode != 0:
        raise ClusterError(f"{_shown(words)}: exit {done.returncode}\n{(done.stderr or done.stdout).strip()}")
    return done.stdout


def _shown(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) <= 200 else f"{text[:200]}…"
