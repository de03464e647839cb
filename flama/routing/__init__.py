"""Routing: routes, mounts, and the router that finds the handler for a path."""

from flama.routing.path import Path
from flama.routing.route import BaseRoute, Route, WebSocketRoute
from flama.routing.router import Mount, Router, Routes

__all__ = ["BaseRoute", "Mount", "Path", "Route", "Router", "Routes", "WebSocketRoute"]
