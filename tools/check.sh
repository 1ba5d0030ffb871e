#!/usr/bin/env bash
# Everything that can be said of the code without running it.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=()
step() { # name command...
  local name=$1 started=$SECONDS; shift
  if out=$("$@" 2>&1); then printf '  ok    %-28s %3ss\n' "$name" $((SECONDS - started))
  else printf '  FAIL  %-28s %3ss\n%s\n' "$name" $((SECONDS - started)) "$out"; failed+=("$name"); fi
}
step "format"             $bin/ruff format --check node operator gpu tests tools bench
step "lint"               $bin/ruff check node operator gpu tests tools bench
step "types"              $bin/mypy node/theblock_node operator/theblock_operator gpu/theblock_gpu gpu/theblock_kernels tools bench
step "import contracts"   $bin/lint-imports
step "generated files"    $bin/python -m tools.generate --check
step "protos"             $bin/python -m tools.generate.lint
step "resources"          $bin/python -m theblock_operator.schema --check
step "charts"             $bin/python -m tools.charts
step "device kernels"     $bin/python -m pytest -q -n 2 -m soak tests/theblock_kernels/test_device.py
if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; exit 1; fi
