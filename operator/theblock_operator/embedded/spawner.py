"""A process that has imported what members need, and forks them: each starts in milliseconds and shares that memory.

    python -m theblock_operator.embedded.spawner FD PARENT MODULE...

Like the standard library's fork server, with whole programs in place of functions. Requests come over the socket
pair FD, each a line of JSON with the descriptors it hands over; so do the answers: `started` with the process number,
later `ended` with its exit code. It has one thread and opens nothing, which is what makes forking it safe. When its
controller goes, the socket ends, and so do it and, by their death signal, all that it started.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from typing import Any

REQUEST_SIZE_MAX = 64 * 1024
DESCRIPTORS_MAX = 4
_PR_SET_NAME, _PR_SET_PDEATHSIG = 15, 1
_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: list[str]) -> int:
    channel = socket.socket(fileno=int(arguments[0]))
    die_with_parent(int(arguments[1]))
    for name in arguments[2:]:
        _import(name)
    # What was made by now lives for good: no collection in a child should touch, and so copy, these pages.
    gc.collect()
    gc.freeze()
    _serve(channel)
    return 0


def _import(name: str) -> None:
    """Import a module beforehand; one that cannot be is left to the program that needs it, which says why."""
    try:
        importlib.import_module(name)
    except ImportError as failed:
        print(f"{name} is not imported beforehand: {failed}", file=sys.stderr)


def die_with_parent(parent: int) -> None:
    """In a child of ``parent``: SIGTERM when it dies, or died before this asked for it: nothing outlives it."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def _serve(channel: socket.socket) -> None:
    """Answer requests, and tell of ends, until the controller closes its end."""
    wake, woken = socket.socketpair()
    woken.setblocking(False)
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    tags: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(channel, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is woken:
                    _drain(woken)
                    continue
                data, descriptors, _, _ = socket.recv_fds(channel, REQUEST_SIZE_MAX, DESCRIPTORS_MAX)
                if not data:
                    return
                request = json.loads(data)
                pid = _fork(request, descriptors, (channel, wake, woken))
                tags[pid] = request["tag"]
                _tell(channel, {"started": pid, "tag": request["tag"]})
            for pid, code in _reap():
                _tell(channel, {"ended": pid, "code": code, "tag": tags.pop(pid, 0)})


def _fork(request: dict[str, Any], descriptors: list[int], ours: tuple[socket.socket, ...]) -> int:
    """Start a program: its output goes to the first descriptor, the others it holds open while it lives."""
    spawner = os.getpid()
    pid = os.fork()
    if pid:
        for descriptor in descriptors:
            os.close(descriptor)
        return pid
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for one in ours:
            one.close()
        os.setsid()
        die_with_parent(spawner)
        os.chdir(request["folder"])
        os.environ.update(request["environment"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[0], 2)
        _libc.prctl(_PR_SET_NAME, request["name"].encode()[:15])
        code = _run_program(request["module"], request["arguments"])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        # Not `sys.exit`: the frames above are the spawner's, and must not go on in here.
        os._exit(code)


def _run_program(module: str, arguments: list[str]) -> int:
    """What `python -m MODULE ARGUMENTS` does; its exit code."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - told as the interpreter tells it at the end of a program.
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


def _reap() -> list[tuple[int, int]]:
    ended: list[tuple[int, int]] = []
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        ended.append((pid, os.waitstatus_to_exitcode(status)))


def _tell(channel: socket.socket, message: dict[str, Any]) -> None:
    channel.sendall(json.dumps(message).encode() + b"\n")


def _drain(woken: socket.socket) -> None:
    while True:
        try:
            if not woken.recv(4096):
                return
        except BlockingIOError:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
