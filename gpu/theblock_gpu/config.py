"""The configuration of the prover: read once, strictly; the operator renders the file (``prover.json``)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

EXIT_BAD_CONFIG = 78
"""As that of a member: a restart does not help."""
EXIT_LOST = 75
"""A device's context is lost: a restart helps."""
SOCKET_LENGTH_MAX = 107
"""Of a path that the kernel binds a socket to."""


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the prover is told about itself."""

    socket: Annotated[str, Meta(min_length=1, max_length=SOCKET_LENGTH_MAX)]
    backend: Literal["auto", "cuda", "native", "python"] = "auto"
    """The best that it may use; it falls back to the next one and says why."""
    self_check: bool = True
    cache_bytes: Annotated[int, Meta(ge=0)] = 1_073_741_824
    """What may be kept of circuits; hashing keeps nothing."""
    gpu_min_domain: Annotated[int, Meta(ge=1, le=2**28)] = 2**12
    """Proofs of smaller circuits are made on the CPU; the first of a circuit on a device needs eight times this."""
    host: str = "127.0.0.1"
    """Where the metrics are served."""
    metrics: Annotated[int, Meta(ge=0, le=65_535)] = 9899
    """Port of the metrics; 0 serves none."""


class BadConfig(Exception):
    """The file cannot be used; the text says which key and why."""


def parse(data: bytes) -> Config:
    try:
        return msgspec.json.decode(data, type=Config)
    except (msgspec.ValidationError, msgspec.DecodeError) as refused:
        raise BadConfig(str(refused)) from refused


def load(path: Path) -> Config:
    try:
        data = path.read_bytes()
    except OSError as failed:
        raise BadConfig(f"{path}: {failed.strerror}") from failed
    return parse(data)
