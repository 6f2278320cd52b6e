"""The site: feed, papers, claims, live runs, and the same as an API."""

from .app import create_app
from .server import PortInUse, serve

__all__ = ["PortInUse", "create_app", "serve"]
