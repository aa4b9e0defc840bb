"""Recognise requests from web pages that made a name of their own point to this machine (DNS rebinding)."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_local(host: str) -> bool:
    """Whether a Host header is empty, localhost or an IP address, with or without a port."""
    try:
        name = urlsplit(f"//{host}").hostname
        return name in (None, "localhost") or bool(ip_address(str(name)))
    except ValueError:
        return False
