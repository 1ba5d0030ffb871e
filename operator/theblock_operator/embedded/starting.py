"""Bring the controller up, wait for what it does, and say what stands at the end. Part of the command `theblock`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from theblock_operator.embedded import files
from theblock_operator.embedded.control import ControlError, NotRunning, call
from theblock_operator.embedded.places import Home
from theblock_operator.observed import Object

START_S = 30.0
STOP_S = 45.0
LOOK_S = 0.2
LOG_TAIL = 15
GOES_ON = frozenset({"HeadersNotSynced"})
"""A relayer that serves and still catches up with its foreign chain: nothing that anybody needs to wait for."""
Say = Callable[[str], None]


def ensure_controller(home: Home, namespace: str, subnet: int, *, say: Say) -> None:
    """Start the controller where none runs; returns when it answers."""
    try:
        told = call(home.control, "status")
    except NotRunning:
        told = None
    if told is not None:
        if told["namespace"] != namespace:
            raise click.UsageError(
                f"{home.root} runs the namespace {told['namespace']}, not {namespace}: use another --home"
            )
        return
    home.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    say(f"starting the controller in {_near(home.root)}")
    with home.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "theblock_operator.embedded", "--home", str(home.root)]
            + ["--namespace", namespace, "--subnet", str(subnet)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # The controller starts processes beside its channels; gRPC need do nothing for them.
            env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"},
            start_new_session=True,
        )
    _wait_answer(home, process)


def stop_controller(home: Home) -> str:
    """Ask the controller to end with all members; if it does not in time, kill it. What happened."""
    pid = files.holder(home.lock)
    try:
        call(home.control, "stop")
    except (NotRunning, TimeoutError):
        if pid is None or not is_held(home.lock):
            return "nothing is running here"
        os.kill(pid, signal.SIGTERM)
    ends = time.monotonic() + STOP_S
    while is_held(home.lock):
        if time.monotonic() > ends and pid is not None:
            # Its members get SIGTERM with its end, and hold their own locks until they are gone.
            os.kill(pid, signal.SIGKILL)
            return f"the controller did not stop within {STOP_S:.0f} s and was killed; the state is kept"
        time.sleep(LOOK_S)
    return "stopped; the state is kept (remove it with `make clean`)"


def is_held(lock: Path) -> bool:
    if not lock.exists():
        return False
    taken = files.try_lock(lock)
    if taken is None:
        return True
    os.close(taken)
    return False


def wait_ready(home: Home, timeout_s: float, *, began: float, say: Say) -> bool:
    """Until every resource is ready, a line whenever one gets on; False when the time is over.

    ``began`` is the moment from which seconds are told.
    """
    seen: dict[str, str] = {}
    while True:
        told = call(home.control, "status")
        for name, text in progress(told):
            if seen.get(name) != text:
                seen[name] = text
                say(f"{time.monotonic() - began:6.1f} s  {name:<28} {text}")
        rows = told["resources"]
        if rows and all(row["ready"] == "True" or row["deleting"] or row["reason"] in GOES_ON for row in rows):
            say(f"ready after {time.monotonic() - began:.1f} s")
            return True
        if time.monotonic() - began > timeout_s:
            return False
        time.sleep(LOOK_S)


def progress(status: Object) -> Iterable[tuple[str, str]]:
    """Of each resource where it stands, in a few words."""
    for row in status["resources"]:
        name = f"{row['kind'].lower()}/{row['name']}"
        yield name, "ready" if row["ready"] == "True" else row["reason"]


def wait_gone(home: Home, targets: list[tuple[str, str]], timeout_s: float) -> bool:
    ends = time.monotonic() + timeout_s
    left = list(targets)
    while left:
        still = []
        for kind, name in left:
            try:
                call(home.control, "get", kind=kind, name=name)
                still.append((kind, name))
            except ControlError as refused:
                if refused.reason != "NotFound":
                    raise
        left = still
        if left and time.monotonic() > ends:
            return False
        time.sleep(LOOK_S if left else 0)
    return True


def summary(home: Home) -> str:
    """What is running and what to do with it."""
    status = call(home.control, "status")
    context = json.loads(home.context.read_text())
    # Where the commands are not on the path, as in an environment that nobody has entered, they are named in full.
    programs = "" if shutil.which("theblock") else f"{_near(Path(sys.executable).parent)}/"
    authority = _near(Path(context["ca"])) if context["ca"] else ""
    return render_summary(status, context, programs=programs, authority=authority)


def render_summary(status: Object, context: Object, *, programs: str, authority: str) -> str:
    members: list[dict[str, Any]] = context["members"]
    ready = {row["name"]: row["ready"] for row in status["members"]}
    lines = ["", f"network {context['network']}, namespace {context['namespace']}"]
    for member in members:
        state = "ready" if ready.get(member["name"]) else "not ready"
        lines.append(f"  {member['name']:<22} {member['role']:<18} {member['host']:<16} {state}")
    validator = next((member for member in members if member["role"] == "validator"), None)
    lines.append("")
    if context["explorer"]:
        lines.append(f"explorer   {context['explorer']}")
    if validator is not None:
        lines.append(f"gRPC       {validator['host']}:{validator['grpc']}  (TLS, authority {authority})")
        lines.append(f"metrics    {context['metrics'][validator['name']]}")
    lines += ["", "five things to try:", *(f"  {programs}{text}" for text in ideas(members))]
    lines += ["", "stop it with `make down` (the state is kept), remove it with `make clean`"]
    return "\n".join(lines)


def ideas(members: Iterable[dict[str, Any]]) -> list[str]:
    """Five commands that work on what runs, the most telling first."""
    by_role: dict[str, Any] = {}
    for member in members:
        by_role.setdefault(member["role"], member)
    found = ["tb-cli status"]
    if "storage_provider" in by_role:
        found.append("tb-cli storage put README.md")
    if "compute_provider" in by_role:
        found.append("tb-cli compute submit --digests 100000 --max-price 1BLOCK")
    if "energy_oracle" in by_role:
        found.append("tb-cli energy credits")
    if "storage_provider" in by_role:
        found.append(f"theblock scale storageprovider/{by_role['storage_provider']['resource']} --replicas 5")
    if "validator" in by_role:
        found.append(f"theblock delete pod {by_role['validator']['name']}-0")
    found += ["theblock get -o wide", "theblock events", "tb-cli events --follow"]
    return found[:5]


def _wait_answer(home: Home, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends:
        try:
            call(home.control, "status")
            return
        except (NotRunning, TimeoutError):
            if process.poll() is not None:
                break
        time.sleep(0.05)
    tail = home.log.read_text(errors="replace").splitlines()[-LOG_TAIL:]
    raise click.ClickException("\n".join([f"the controller did not start, {home.log} ends with:", *tail]))


def _near(path: Path) -> str:
    """The path as people would write it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
