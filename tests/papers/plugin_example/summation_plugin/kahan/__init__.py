"""Compensated summation."""

from .method import kahan_sum

__all__ = ["kahan_sum"]
