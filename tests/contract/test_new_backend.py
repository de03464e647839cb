"""A repository over a backend of one's own, as a page of the documentation builds it, passes what it declares."""

import pytest

from flama.testing import RepositoryContract
from tests.support import source

pytestmark = pytest.mark.anyio

PAGE = source.ROOT / "docs" / "how-to" / "add-a-backend.md"


@pytest.fixture(scope="module")
def base():
    """The class on the page."""
    block = PAGE.read_text().partition("```python\n")[2].partition("```\n")[0]
    assert block.count("\n") < 60
    exec(compile(block, str(PAGE), "exec"), space := {})
    return space["JSONRepository"]


class TestJSONFile(RepositoryContract):
    capabilities = frozenset(
        {"bulk_create", "conditions", "filters", "keyset", "max_affected", "ordering", "portable_verbs", "queries"}
    )

    @pytest.fixture
    def repository(self, base, tmp_path):
        return type("Members", (base,), {"_path": tmp_path / "members.json", "_resource_name": "member"})()

    @pytest.fixture
    def clubs(self):
        """No repository: the tests that need one are skipped."""

    @pytest.fixture
    def seats(self):
        """No repository: the tests that need one are skipped."""
