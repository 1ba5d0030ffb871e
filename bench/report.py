"""The table for people and the same as JSON, with the machine and the commit that it holds for."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure

ROOT = Path(__file__).resolve().parents[1]


def machine() -> dict[str, str]:
    """What the figures hold for."""
    return {
        "cpu": f"{os.cpu_count()} x {_cpu_name()}",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "tree": "clean" if not _git("status", "--porcelain", "--untracked-files=no") else "with changes",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def render(figures: Sequence[Figure]) -> str:
    """A Markdown table: a line for each figure and each of its peers."""
    rows = [("figure", "value", "unit", "ratio to", "x", "note")]
    for figure in figures:
        value = "not measured" if figure.value is None else _short(figure.value)
        first = (figure.name, value, figure.unit)
        if figure.value is None or not figure.peers:
            rows.append((*first, "", "", figure.note))
            continue
        for at, peer in enumerate(figure.peers):
            shown = (f"{peer.name} ({_short(peer.value)})", f"{figure.ratio(peer):.2f}")
            rows.append((*(first if at == 0 else ("", "", "")), *shown, figure.note if at == 0 else ""))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    ruler = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], ruler, *lines[1:]])


def to_json(figures: Sequence[Figure], command: str) -> str:
    shown = [
        {
            "name": figure.name,
            "value": figure.value,
            "unit": figure.unit,
            "lower_is_better": figure.is_time,
            "peers": [
                {"name": peer.name, "value": peer.value, "ratio": round(figure.ratio(peer), 3)}
                for peer in (figure.peers if figure.value is not None else ())
            ],
            "note": figure.note,
        }
        for figure in figures
    ]
    return json.dumps({"machine": machine(), "command": command, "figures": shown}, indent=1) + "\n"


def _short(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def _cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"
