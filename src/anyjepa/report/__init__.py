"""Write a run as one self-contained HTML page."""

from anyjepa.report.page import write_report

__all__ = ["write_report"]
