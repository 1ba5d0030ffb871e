"""Hatch's hook: a wheel made where there is a C++ compiler brings the native kernels; made elsewhere, none."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class KernelsHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            # Where somebody works on the sources, `python -m theblock_kernels` makes them anew.
            return
        sys.path.insert(0, str(Path(self.root) / "gpu"))
        from theblock_kernels import library

        self._folder = tempfile.TemporaryDirectory(prefix="theblock-kernels-")
        try:
            made = list(library.make_all(Path(self._folder.name)))
        except library.KernelsMissing as missing:
            self.app.display_warning(f"no native kernels in this wheel, proofs are left to the exact twins: {missing}")
            return
        build_data["force_include"] |= {str(path): f"theblock_kernels/build/{path.name}" for path in made}
        build_data["pure_python"], build_data["infer_tag"] = False, True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if version != "editable":
            self._folder.cleanup()
