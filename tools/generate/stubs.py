"""Python stubs of every proto, through protoc.

`-I<package>=proto` gives the stubs their package: modules import one another as `theblock_node.pb...`.
"""

from __future__ import annotations

import sys
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory

from grpc_tools import protoc  # type: ignore[import-untyped]

PACKAGE = "theblock_node/pb"


def render(root: Path) -> dict[str, str]:
    """Path -> content of the stubs of all protos under ``root``."""
    protos = sorted(path.relative_to(root / "proto").as_posix() for path in (root / "proto").rglob("*.proto"))
    well_known = resources.files("grpc_tools").joinpath("_proto")
    bin_dir = Path(sys.executable).parent
    with TemporaryDirectory() as out:
        status = protoc.main(
            [
                "protoc",
                f"-I{PACKAGE}={root / 'proto'}",
                f"-I{well_known}",
                *(f"--plugin=protoc-gen-{name}={bin_dir / f'protoc-gen-{name}'}" for name in ("mypy", "mypy_grpc")),
                f"--python_out={out}",
                f"--grpc_python_out={out}",
                f"--mypy_out=quiet:{out}",
                f"--mypy_grpc_out=quiet:{out}",
                *(f"{PACKAGE}/{name}" for name in protos),
            ]
        )
        if status != 0:
            raise RuntimeError("protoc refused the protos; its message is above")
        found = sorted(path for path in Path(out).rglob("*.py*") if path.is_file())
        services = {name for name in protos if "\nservice " in (root / "proto" / name).read_text()}
        return {
            f"node/{path.relative_to(out).as_posix()}": path.read_text()
            for path in found
            if "_grpc" not in path.name or _proto_of(path.relative_to(out)) in services
        }


def _proto_of(stub: Path) -> str:
    return stub.relative_to(PACKAGE).as_posix().split("_pb2")[0] + ".proto"
