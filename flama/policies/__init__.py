"""Policies of a repository: optimistic locks, timestamps, soft deletion and scopes, on any backend."""

from flama.policies._columns import Column, Columns
from flama.policies._policies import Declaration, Policies, declare

__all__ = ["Column", "Columns", "Declaration", "Policies", "declare"]
