"""What the machine must have: Debian's container runtime and network tools. Installed as root, named otherwise."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from tools.cluster.console import ClusterError, run, say

PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "mmdebstrap": "mmdebstrap",
    "nsenter": "util-linux",
    "mount": "mount",
    "gcc": "gcc",
}
"""Each program that is run, and the package that has it."""
FILES = {
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "/usr/include/stdio.h": "libc6-dev",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

IMAGE_PACKAGES = ("mmdebstrap", "debian-archive-keyring")
"""What alone is needed to build images."""
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"


def missing_packages(wanted: Iterable[str] | None = None) -> list[str]:
    """Packages of which something is not there; of all, or of those ``wanted``."""
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    packages = {package for program, package in PROGRAMS.items() if shutil.which(program, path=path) is None}
    packages |= {package for file, package in FILES.items() if not Path(file).exists()}
    return sorted(packages if wanted is None else packages.intersection(wanted))


def ensure_packages(wanted: Iterable[str] | None = None) -> None:
    missing = missing_packages(wanted)
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ClusterError(f"the cluster needs: {' '.join(missing)} (on Debian: apt-get install {' '.join(missing)})")
    say(f"  installing {' '.join(missing)}")
    env: dict[str, str] = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", "update", "-qq", timeout_seconds=300, env=env)
    run("apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing, timeout_seconds=600, env=env)
    still = missing_packages(wanted)
    if still:
        raise ClusterError(f"installed, and still not found: {' '.join(still)}")


def why_not_self_built() -> str | None:
    """Why this machine cannot carry the self-built cluster; None if it can."""
    if os.uname().sysname != "Linux":
        return "it needs Linux"
    if os.geteuid() != 0:
        return "it needs root, for network namespaces and containers"
    if not Path("/sys/fs/cgroup").is_dir():
        return "it needs cgroups at /sys/fs/cgroup"
    return None
