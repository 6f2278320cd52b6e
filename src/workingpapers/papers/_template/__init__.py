"""Median of means: an average that wild numbers cannot spoil.

>>> from workingpapers.papers._template import median_of_means
>>> median_of_means([1.0, 2.0, 3.0, 2.0, 1000.0, 2.0], groups=3)
2.5
"""

from .method import median_of_means

__all__ = ["median_of_means"]
