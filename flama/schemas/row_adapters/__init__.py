"""Typed records: conversion between dictionaries and models."""

from flama.schemas.row_adapters.base import Records, records

__all__ = ["Records", "records"]
