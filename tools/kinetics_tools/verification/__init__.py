"""Check of clip directories against the annotations."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.verification.report import Report, check_reports
    from kinetics_tools.verification.run import verify

__all__ = ["Report", "check_reports", "verify"]

__getattr__ = lazy_exports(__name__, {"report": ["Report", "check_reports"], "run": ["verify"]})
