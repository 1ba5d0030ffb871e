#!/usr/bin/env bash
# What the tests need beside Python packages: a browser, node, go, compilers.
# Installed where that is possible, named where it is not.
set -euo pipefail
missing=()
need() { command -v "$1" >/dev/null || [ -x "${3:-/nonexistent}" ] || missing+=("$2"); }
need chromium chromium
need npm npm
need g++ g++
if [ "$(uname -m)" = x86_64 ]; then
  # The kernels for 64-bit Arm are built and run here too.
  need aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
  need qemu-aarch64-static qemu-user-static
fi
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing ${missing[*]}"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "the tests need: ${missing[*]} (on Debian: apt-get install ${missing[*]})" >&2
    exit 1
  fi
fi
command -v go >/dev/null || echo "note: without Go there is no self-built cluster; give one with KUBECONFIG, or install Go" >&2
