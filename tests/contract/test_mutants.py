"""The contract notices what a repository can do wrong."""

import collections
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from tests.contract import mutants

# a mutant has one fault: these it passes
SOUND = ("test_a_created_record_is_given_as_stored", "test_the_record_of_a_key_is_given")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, request):
    """Give how each test ended, by the repository it was run on."""
    report = tmp_path_factory.mktemp("mutants") / "report.xml"
    wanted = {mutant: {killer, *SOUND} for mutant, killer in mutants.MUTANTS.items()}
    wanted[SQLAlchemyTableRepository] = {*mutants.MUTANTS.values(), *SOUND}
    tests = [f"{mutants.__file__}::{mutants.suite_of(each)[0]}::{test}" for each in wanted for test in wanted[each]]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "0",
        "--tb=no",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
    ]

    run = subprocess.run(
        [*command, *tests], cwd=request.config.rootpath, capture_output=True, text=True, timeout=100, check=False
    )

    assert run.returncode == pytest.ExitCode.TESTS_FAILED, run.stdout + run.stderr
    found = collections.defaultdict(lambda: collections.defaultdict(set))
    for case in ET.parse(report).iter("testcase"):
        suite, test = case.get("classname").rpartition(".")[2], case.get("name").partition("[")[0]
        found[suite][test].update({child.tag for child in case} & {"failure", "error", "skipped"} or {"passed"})
    return found


def of(outcomes, repository):
    return outcomes[mutants.suite_of(repository)[0]]


def test_what_has_no_fault_passes(outcomes):
    found = of(outcomes, SQLAlchemyTableRepository)

    assert found.keys() == {*mutants.MUTANTS.values(), *SOUND}
    assert set.union(*found.values()) == {"passed"}


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_fault_is_noticed(outcomes, mutant):
    found, killer = of(outcomes, mutant), mutants.MUTANTS[mutant]

    assert "failure" in found[killer]
    assert "error" not in set.union(*found.values())
    assert [found[test] for test in SOUND if test != killer] == [{"passed"} for test in SOUND if test != killer]
