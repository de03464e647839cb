"""Contracts that repositories and workers are tested by.

These are no public interface yet: names and fixtures may change without notice until the documentation describes them.
The room needs pytest and Hypothesis, and nothing else imports it.
"""

import pkgutil

import pytest

# Before they are imported: an assertion that fails shows its values.
pytest.register_assert_rewrite(*(f"{__name__}.{module.name}" for module in pkgutil.iter_modules(__path__)))

from flama.testing._capabilities import CAPABILITIES  # noqa: E402
from flama.testing._repository import RepositoryContract  # noqa: E402
from flama.testing._unit_of_work import WorkerContract  # noqa: E402

__all__ = ["CAPABILITIES", "RepositoryContract", "WorkerContract"]
