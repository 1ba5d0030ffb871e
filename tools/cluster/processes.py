"""The cluster's long-running programs: started in a namespace, remembered in a file each, ended by exactly that.

A process is remembered by its id and the moment it started, so that a number which the kernel gave to somebody else
since is never signalled.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.cluster.console import ClusterError, wait
from tools.cluster.layout import Layout

STOP_SECONDS = 10
LOG_TAIL_LINES = 12


@dataclass(frozen=True)
class Remembered:
    pid: int
    started: int
    """In clock ticks since boot, as /proc says it."""


def start(
    layout: Layout,
    name: str,
    argv: Sequence[str | Path],
    *,
    enter: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    sockets: Sequence[socket.socket] = (),
) -> int:
    """Start ``argv`` as the cluster's process ``name``, inside the namespaces that ``enter`` names."""
    layout.logs.mkdir(parents=True, exist_ok=True)
    words = [*enter, *(str(word) for word in argv)]
    log = _log(layout, name)
    for made in sockets:
        made.set_inheritable(True)
    # Not subprocess: the program outlives us, and is nobody's child to wait for. nsenter becomes the program, so the
    # id is the program's own.
    pid = os.posix_spawnp(
        words[0],
        words,
        {**os.environ, **(env or {})},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=True,
        # Python ignores these, and what is ignored stays so in every child's child.
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )
    started = _started(pid)
    if started is None:
        raise ClusterError(f"{name} ended at once\n{tail(layout, name)}")
    path = _file(layout, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(Remembered(pid, started))))
    return pid


def names(layout: Layout) -> list[str]:
    return sorted(path.stem for path in (layout.run / "processes").glob("*.json"))


def is_alive(layout: Layout, name: str) -> bool:
    return pid_of(layout, name) is not None


def pid_of(layout: Layout, name: str) -> int | None:
    path = _file(layout, name)
    if not path.exists():
        return None
    remembered = Remembered(**json.loads(path.read_text()))
    return remembered.pid if _started(remembered.pid) == remembered.started else None


def stop(layout: Layout, name: str) -> None:
    stop_all(layout, [name])


def stop_all(layout: Layout, which: Iterable[str]) -> None:
    """End the processes and forget them. At once: what they work on is thrown away with them."""
    living = {name: pid for name in which if (pid := pid_of(layout, name)) is not None}
    for pid in living.values():
        _kill(pid)
    wait(
        "processes end",
        lambda: not any(is_alive(layout, name) for name in living),
        limit_seconds=STOP_SECONDS,
        every_seconds=0.05,
        hint=lambda: f"still alive: {[name for name in living if is_alive(layout, name)]}",
    )
    for name in which:
        _file(layout, name).unlink(missing_ok=True)


def kill_matching(argument: str) -> None:
    """Kill the processes one of whose arguments is exactly ``argument``: containerd's shims, by their socket."""
    wanted = argument.encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It may have ended since it was listed.
            if wanted in (folder / "cmdline").read_bytes().split(b"\0"):
                _kill(int(folder.name))


def tail(layout: Layout, name: str) -> str:
    """The last lines of the process's log, for a message about why it failed."""
    path = _log(layout, name)
    lines = path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if path.exists() else []
    return "\n".join([f"--- {path}", *lines])


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _file(layout: Layout, name: str) -> Path:
    return layout.run / "processes" / f"{name}.json"


def _log(layout: Layout, name: str) -> Path:
    return layout.logs / f"{name}.log"


def _started(pid: int) -> int | None:
    """When the process started; None if there is none, or if it ended, and then a child of ours is gone for good."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, in parentheses, may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    if fields[0] != "Z":
        return int(fields[19])
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return None
