"""Files of members: folders that change in one step, locks that a process holds while it lives, bounded logs."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

LOG_SIZE_MAX = 8 * 1024 * 1024
"""A longer log is moved to `<name>.1`, over the one before."""
CURRENT = "..data"


def put_folder(folder: Path, files: Mapping[str, str]) -> bool:
    """Make ``folder`` hold exactly ``files``; a reader sees the old ones or the new ones. Whether it changed.

    As a kubelet does it: the names are links through one link, which is what is swapped.
    """
    digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()[:16]
    version = f"..{digest}"
    current = folder / CURRENT
    if current.is_symlink() and os.readlink(current) == version:
        return False
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    shutil.rmtree(folder / version, ignore_errors=True)
    (folder / version).mkdir(mode=0o700)
    for name, text in files.items():
        write_private(folder / version / name, text)
    _swap_link(current, version)
    for name in files:
        if not (folder / name).is_symlink():
            _swap_link(folder / name, f"{CURRENT}/{name}")
    for path in folder.iterdir():
        if path.name in files or path.name in (CURRENT, version):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    return True


def write_private(path: Path, text: str) -> None:
    """Write whole or not at all, readable by nobody else."""
    temp = path.with_name(f".{path.name}.new")
    with open(os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(temp, path)


def try_lock(path: Path) -> int | None:
    """An open descriptor that holds the lock of ``path``, also in children that inherit it; None if it is taken."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as failed:
        os.close(opened)
        if failed.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return None
        raise
    return opened


def holder(path: Path) -> int | None:
    """The process that wrote its number into a lock, if it is alive."""
    try:
        pid = int(path.read_text().strip() or "0")
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid or None


def write_holder(descriptor: int, pid: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{pid}\n".encode(), 0)


def shorten_log(path: Path) -> None:
    """Keep a log within its bound. Who writes to it appends, so that cutting it here is safe; a line may be lost."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return
    if size > LOG_SIZE_MAX:
        shutil.copyfile(path, path.with_name(path.name + ".1"))
        os.truncate(path, 0)


def _swap_link(path: Path, target: str) -> None:
    temp = path.with_name(f"{path.name}.new")
    temp.unlink(missing_ok=True)
    temp.symlink_to(target)
    os.replace(temp, path)
