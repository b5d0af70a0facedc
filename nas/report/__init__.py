"""Layer 4: records become one HTML page, figures for a paper, and tables for the terminal."""

from nas.report.diagram import draw_architecture
from nas.report.figures import write_figures
from nas.report.page import write_report
from nas.report.text import best_table, effects_table, verdict_text

__all__ = ["best_table", "draw_architecture", "effects_table", "verdict_text", "write_figures", "write_report"]
