"""Renders pages: the templates, and how values look in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from theblock_node.services.explorer.project import ADDRESS
from theblock_node.services.explorer.views import GROUPS, PROVIDERS, VIEWS

HEX = re.compile(r"^[0-9a-f]{40,}$")
SHORT_LENGTH = 20
BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class Pages:
    """The templates of one network's explorer."""

    def __init__(self, network: str) -> None:
        self._templates = Environment(
            loader=PackageLoader("theblock_node.services.explorer", "templates"),
            autoescape=select_autoescape(),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters |= {
            "short": shorten,
            "time_ms": lambda value: format_time(int(value) // 1000),
            "time": lambda value: format_time(int(value)),
            "amount": format_amount,
            "wh": format_wh,
            "bytes": format_bytes,
            "bps": lambda value: f"{int(value) / 100:g} %",
            "bonded": lambda roles: format_amount(sum(int(role["bonded"]) for role in roles)),
            "count": lambda value: f"{int(value):,}",
        }
        self._templates.tests |= {
            "address": lambda value: isinstance(value, str) and ADDRESS.match(value) is not None,
            "hex": lambda value: isinstance(value, str) and HEX.match(value) is not None,
        }
        self._templates.globals |= {
            "network": network,
            "groups": GROUPS,
            "views": VIEWS,
            "kinds_of": PROVIDERS,
        }

    def render(self, template: str, facts: Mapping[str, Any]) -> str:
        return self._templates.get_template(template).render(facts)


def shorten(text: str) -> str:
    return text if len(text) <= SHORT_LENGTH else f"{text[:10]}…{text[-6:]}"


def format_time(seconds: int) -> str:
    """UTC, without the zone."""
    if not 0 < seconds < 253_402_300_800:
        return "–"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def format_amount(amount: Any) -> str:
    """nBLOCK as BLOCK, exactly."""
    whole, part = divmod(abs(int(amount)), 10**9)
    sign = "-" if int(amount) < 0 else ""
    digits = f"{part:09d}".rstrip("0")
    return f"{sign}{whole:,}{'.' + digits if digits else ''}"


def format_wh(amount: Any) -> str:
    """Wh below a kWh, else kWh, exactly."""
    wh = int(amount)
    if wh < 1000:
        return f"{wh} Wh"
    whole, part = divmod(wh, 1000)
    digits = f"{part:03d}".rstrip("0")
    return f"{whole:,}{'.' + digits if digits else ''} kWh"


def format_bytes(size: Any) -> str:
    """In the largest unit that leaves at least one, with one decimal."""
    value = float(int(size))
    for unit in BYTES:
        if value < 1024 or unit == BYTES[-1]:
            return f"{value:.1f}".removesuffix(".0") + f" {unit}"
        value /= 1024
    raise AssertionError("the last unit takes everything")
