"""The page about security names tests that are there."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", (ROOT / "docs/explanation/security.md").read_text())))


@pytest.mark.parametrize("named", NAMED)
def test_what_is_promised_is_tested(named):
    path, _, name = named.partition("::")

    assert re.search(rf"^(class|def|async def|    def|    async def) {name}", (ROOT / path).read_text(), re.MULTILINE)
