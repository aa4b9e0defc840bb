"""Recognise requests from web pages that made a name of their own point to this machine (DNS rebinding)."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_local(host: str) -> bool:
    """Whether a Host header is empty, localhost or an IP address, with or without a port."""
    try:
        parts = urlsplit(f"//{host}")
        if parts.netloc != host or "@" in host:  # a path or a user, which no header has
            return False
        return parts.hostname in (None, "localhost") or bool(ip_address(str(parts.hostname)))
    except ValueError:
        return False
