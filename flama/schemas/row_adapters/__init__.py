"""Typed records: conversion between dictionaries and models."""

from flama.schemas.row_adapters.base import RowAdapter, make_row_adapter

__all__ = ["RowAdapter", "make_row_adapter"]
