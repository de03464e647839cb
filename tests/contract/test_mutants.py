"""The contract detects the fault of every mutant."""

import collections
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from flama.ddd.repositories.sqlalchemy import SQLAlchemyTableRepository
from tests.contract import mutants

# Every mutant passes these, as it has only one fault.
SOUND = ("test_create_returns_the_record_as_stored", "test_retrieve_returns_the_record_of_a_key")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, request):
    """The outcomes of the tests, by repository and name."""
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
