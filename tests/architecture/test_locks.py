"""The lock files hold what ``pyproject.toml`` states."""

import functools
import re
import tomllib

import pytest
from packaging.requirements import Requirement

from tests.support import source

STATED = tomllib.loads((source.ROOT / "pyproject.toml").read_text())
LOCKS = {"example": "sqlite", "full": "full", "test": None, "lint": None, "docs": None, "bench": None}  # of extras
ENVIRONMENTS = [
    {"python_version": version, "python_full_version": f"{version}.9", "sys_platform": platform}
    for version in ("3.11", "3.12", "3.13", "3.14")
    for platform in ("linux", "darwin")
]


def of_extra(name):
    """The requirements of an extra, those of the extras that it names included."""
    for line in STATED["project"]["optional-dependencies"][name]:
        requirement = Requirement(line)
        if requirement.name == STATED["project"]["name"]:
            for extra in requirement.extras:
                yield from of_extra(extra)
        else:
            yield requirement


def of_group(name):
    return [Requirement(line) for line in STATED["dependency-groups"][name]]


def stated(lock):
    if LOCKS[lock] is None:
        return of_group(lock)
    package = [Requirement(line) for line in STATED["project"]["dependencies"]]
    building = [Requirement(line) for line in STATED["build-system"]["requires"]]
    return [*package, *building, *of_group("build"), *of_extra(LOCKS[lock])]


@functools.cache
def text(lock):
    return (source.ROOT / "locks" / f"{lock}.txt").read_text()


@functools.cache
def pins(lock):
    """The pinned requirements of a lock file, each with the number of its hashes."""
    blocks = re.split(r"\n(?=\S)", text(lock).strip())
    return [(Requirement(block.partition(" \\\n")[0]), block.count("--hash=sha256:")) for block in blocks]


def pinned(lock, environment):
    """The versions that are installed in an environment, by name."""
    return {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin, _ in pins(lock)
        if pin.marker is None or pin.marker.evaluate(environment)
    }


def mismatches(lock, requirements):
    return [
        f"{requirement} on {environment['sys_platform']}, {environment['python_version']}: {version}"
        for environment in ENVIRONMENTS
        for requirement in requirements
        if (version := pinned(lock, environment).get(requirement.name)) is None or version not in requirement.specifier
    ]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_version_for_everything_that_is_stated(lock):
    assert mismatches(lock, stated(lock)) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_in_a_lock_has_one_version_and_its_hashes(lock):
    assert [
        str(pin) for pin, hashes in pins(lock) if not re.fullmatch(r"==[^,*]+", str(pin.specifier)) or not hashes
    ] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_place_to_install_from(lock):
    assert re.findall(r"^ *(?:-\S*index|-f|--find-links)|\w+://|file:", text(lock), re.MULTILINE) == []


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=lambda each: "-".join(each.values()))
def test_the_locks_agree_on_every_version(environment):
    versions = {}
    for lock in LOCKS:
        for name, version in pinned(lock, environment).items():
            versions.setdefault(name, set()).add(version)

    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_there_is_a_lock_for_every_group():
    groups = set(STATED["dependency-groups"]) - {"build", "dev"}

    assert groups <= set(LOCKS)
    assert {path.stem for path in (source.ROOT / "locks").iterdir()} == set(LOCKS)


@pytest.mark.parametrize("requirement", ["httpx>=999", "nothing-of-this-name>=1", "pyproj>=3.8"])
def test_a_requirement_that_no_lock_covers_is_noticed(requirement):
    assert mismatches("test", [Requirement(requirement)]) != []
