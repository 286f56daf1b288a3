"""Stability report of a circuit: what is proved, sampled and measured.

`report` gathers the content as plain data; page, JSON and figures are made from it alone.
"""

from elegans.reporting.stability.report import StabilityReport, report

__all__ = ["StabilityReport", "report"]
