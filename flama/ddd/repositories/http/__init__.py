"""Repositories over HTTP: the records of a REST resource."""

from flama.ddd.repositories.http._repository import HTTPRepository, HTTPResourceManager, HTTPResourceRepository

__all__ = ["HTTPRepository", "HTTPResourceManager", "HTTPResourceRepository"]
