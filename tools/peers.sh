#!/usr/bin/env bash
# Build what `make bench-proving` compares with, under build/. A peer whose tools are not here is left out of the table.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$PWD/build/peers
export PATH="$PATH:$HOME/.cargo/bin"
without() { echo "note: no $1, so $2 is not in the table" >&2; }

if command -v cargo >/dev/null; then
  (cd bench/peers/arkworks && cargo build --quiet --release --target-dir "$build/arkworks")
else without cargo arkworks; fi
if command -v go >/dev/null; then
  (cd bench/peers/gnark && go build -o "$build/gnark/peer-gnark" .)
else without go gnark-crypto; fi
if command -v npm >/dev/null; then
  (cd tests && ../.venv/bin/python -c "from support import interop; interop.install()")
else without npm snarkjs; fi
if [ ! -x "$build/groth16py/bin/python" ]; then
  .venv/bin/uv venv --quiet "$build/groth16py"
fi
.venv/bin/uv pip install --quiet --python "$build/groth16py/bin/python" -r bench/peers/groth16py/requirements.txt ||
  without "wheel of it for this machine" groth16py
