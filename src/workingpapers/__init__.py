"""Working Papers: daily papers, in working order."""

__version__ = "0.1.0"
