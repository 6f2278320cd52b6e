"""The papers: one folder each, found by listing this package and by the entry points of plug-ins.

Importing this package reads facts only. A paper's method and claims are imported when they are used.
"""

from workingpapers.papers._facts import BrokenPaper, ClaimFacts, Code, Metric, PaperFacts, Reported, read_facts
from workingpapers.papers.catalogue import Catalogue, ClaimsMismatch, NotRunning, Paper, UnknownPaper, load_catalogue

__all__ = [
    "BrokenPaper",
    "Catalogue",
    "ClaimFacts",
    "ClaimsMismatch",
    "Code",
    "Metric",
    "NotRunning",
    "Paper",
    "PaperFacts",
    "Reported",
    "UnknownPaper",
    "load_catalogue",
    "read_facts",
]
