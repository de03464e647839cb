"""Pages about the inside: what they name is there, and every decision is listed."""

import re

import pytest

from tests.support import source

DECISIONS = sorted((source.ROOT / "docs" / "decisions").glob("[0-9]*.md"))
PAGES = [source.ROOT / "CONTRIBUTING.md", *sorted((source.ROOT / "docs").rglob("*.md"))]
INDEX = (source.ROOT / "docs" / "decisions" / "index.md").read_text()
NAVIGATION = (source.ROOT / "zensical.toml").read_text()
FOLDERS = "benchmarks|changes|docs|examples|flama|locks|scripts|tests"


def paths(text):
    """Return what a page has in backticks as a file or folder of the repository; placeholders are none."""
    return re.findall(rf"`((?:{FOLDERS})/[\w./-]*)[` ]", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(source.ROOT)))
def test_every_path_that_a_page_names_is_there(page):
    assert [path for path in paths(page.read_text()) if not (source.ROOT / path).exists()] == []


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_title_in_the_index_and_a_place_in_the_navigation(page):
    number, title = page.read_text().partition("\n")[0].removeprefix("# ").split(": ", 1)

    assert page.name.startswith(f"{number}-")
    assert f"- {number}: [{title}]({page.name})\n" in INDEX
    assert f'"decisions/{page.name}"' in NAVIGATION


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.stem)
def test_a_decision_has_its_context_and_consequences(page):
    sections = re.findall(r"^## (.*)", page.read_text(), re.MULTILINE)

    assert sections[:3] == ["Context", "Decision", "Consequences"]


def test_no_number_is_missing_without_a_reason():
    listed = re.findall(r"^- (\d{4}): ", INDEX, re.MULTILINE)

    assert [int(number) for number in listed] == list(range(1, len(listed) + 1))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`flama/gone.py` is", ["flama/gone.py"]),
        ("run `scripts/test -n 0`", ["scripts/test"]),
        ("`changes/<issue>.<kind>.md`", []),
        ("`flama.rest`", []),
    ],
)
def test_the_rule_on_paths_notices_files_alone(text, found):
    assert paths(text) == found
