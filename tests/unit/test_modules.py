"""Modules: the named parts of an application."""

import pytest

from flama import Flama, Module, Modules, exceptions
from flama.client import Client

pytestmark = pytest.mark.anyio


def test_a_module_without_a_name_is_refused_where_it_is_declared():
    with pytest.raises(
        exceptions.ApplicationError, match=r"Module .*Nameless needs a class attribute 'name'.* not None"
    ):

        class Nameless(Module):
            pass


def test_a_module_whose_name_is_no_string_is_refused_where_it_is_declared():
    with pytest.raises(exceptions.ApplicationError, match=r"Module .*Numbered needs a class attribute 'name'.* not 7"):

        class Numbered(Module):
            name = 7


def test_a_module_inherits_its_name():
    class Base(Module):
        name = "base"

    class Special(Base):
        pass

    assert Special().name == "base"


async def test_a_module_that_defines_nothing_more_starts_and_stops():
    class Quiet(Module):
        name = "quiet"

    async with Client(app=Flama(modules=[Quiet()])) as client:
        response = await client.get("/")

    assert response.status_code == 404


def test_modules_are_kept_in_order_under_their_names_and_know_their_application():
    class First(Module):
        name = "first"

    class Second(Module):
        name = "second"

    app = Flama()
    first, second = First(), Second()

    modules = Modules(app, (second, first))

    assert list(modules.items()) == [("second", second), ("first", first)]
    assert first.app is second.app is app


def test_a_module_whose_name_is_an_attribute_of_the_application_is_refused_by_that_name():
    class Routes(Module):
        name = "routes"

    with pytest.raises(exceptions.ApplicationError, match="routes"):
        Flama(modules=[Routes()])
