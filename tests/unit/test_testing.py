"""The capabilities that contracts declare and require."""

import pytest

from flama import testing


def cases_of(contract):
    return [getattr(contract, name) for name in dir(contract) if name.startswith("test_")]


@pytest.mark.parametrize("contract", [testing.RepositoryContract, testing.WorkerContract])
def test_every_test_requires_capabilities_that_exist(contract):
    required = set().union(*(vars(test).get("requires", ()) for test in cases_of(contract)))

    assert required <= testing.CAPABILITIES.keys()


def test_every_capability_is_required_by_a_test():
    cases = [*cases_of(testing.RepositoryContract), *cases_of(testing.WorkerContract)]

    assert set().union(*(vars(test).get("requires", ()) for test in cases)) == testing.CAPABILITIES.keys()


def test_an_unknown_capability_cannot_be_declared():
    with pytest.raises(TypeError, match="declares \\['upsert'\\]: there are bulk_create"):
        type("Upserting", (testing.RepositoryContract,), {"capabilities": frozenset({"upsert"})})
