"""Files with the hex of a 32-byte seed: made so that only their owner reads them, never overwritten."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from theblock_node.cli.finding import Unusable
from theblock_node.cli.forms import read_file

SEED_BYTES = 32
MODE = 0o600


def parse_seed(data: bytes, name: str, size: int = SEED_BYTES) -> bytes:
    """The seed that a file holds; what is in it is never shown."""
    try:
        seed = bytes.fromhex(data.decode("ascii").strip())
    except ValueError as wrong:
        raise Unusable(f"{name} is no key file: not hexadecimal", "`tb-cli keys generate FILE` makes one") from wrong
    if len(seed) != size:
        raise Unusable(f"{name} is no key file: {len(seed)} bytes where {size} are wanted", "check which file it is")
    return seed


def read_seed(path: str) -> bytes:
    """The seed in a file, ``-`` for standard input."""
    try:
        data = read_file(path)
    except ValueError as wrong:
        raise Unusable(
            f"key file {wrong}", "give --key FILE or set TB_KEY; `tb-cli keys generate FILE` makes one"
        ) from wrong
    return parse_seed(data, "standard input" if path == "-" else path)


def write_secret(path: Path, secret: bytes) -> None:
    """Write hex to a new file of mode 0600; `Unusable` where something is there already."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE)
    except FileExistsError as there:
        raise Unusable(f"{path} is there already, and a key is never overwritten", "choose another name") from there
    except OSError as failed:
        raise Unusable(f"{path}: {failed.strerror}", "choose a folder that can be written") from failed
    with os.fdopen(handle, "w") as file:
        file.write(secret.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())


def is_open_to_others(path: Path) -> bool:
    """Whether somebody beside the owner may read a key file."""
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))
