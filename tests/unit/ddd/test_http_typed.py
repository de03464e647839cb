"""Values of a type, over HTTP: what is sent is the type's JSON, and what is answered becomes the type."""

import dataclasses
import datetime
import decimal
import json
import typing as t
import uuid

import msgspec
import pydantic
import pytest
import starlette.applications
import starlette.responses
import starlette.routing

from flama import exceptions
from flama.client import Client
from flama.ddd.repositories.http import HTTPResourceRepository

pytestmark = pytest.mark.anyio

ID = uuid.UUID(int=1)


class Address(pydantic.BaseModel):
    street: str = pydantic.Field(alias="streetName")


class User(pydantic.BaseModel):
    id: uuid.UUID | None = None
    name: str = pydantic.Field(alias="fullName")
    born: datetime.date = datetime.date(2000, 1, 1)
    height: decimal.Decimal | None = None
    address: Address | None = None


@dataclasses.dataclass
class DataclassAddress:
    streetName: str


@dataclasses.dataclass
class DataclassUser:
    fullName: str
    id: uuid.UUID | None = None
    born: datetime.date = datetime.date(2000, 1, 1)
    height: decimal.Decimal | None = None
    address: DataclassAddress | None = None


class StructAddress(msgspec.Struct, rename={"street": "streetName"}):
    street: str


class StructUser(msgspec.Struct, rename={"name": "fullName"}):
    name: str
    id: uuid.UUID | None = None
    born: datetime.date = datetime.date(2000, 1, 1)
    height: decimal.Decimal | None = None
    address: StructAddress | None = None


class DictAddress(t.TypedDict):
    streetName: str


class DictUser(t.TypedDict):
    fullName: str
    id: uuid.UUID
    born: datetime.date
    height: decimal.Decimal
    address: DictAddress


USERS = {
    User: User.model_validate(
        {
            "fullName": "Ann",
            "id": ID,
            "born": datetime.date(2001, 2, 3),
            "height": "1.5",
            "address": {"streetName": "Elm"},
        }
    ),
    DataclassUser: DataclassUser("Ann", ID, datetime.date(2001, 2, 3), decimal.Decimal("1.5"), DataclassAddress("Elm")),
    StructUser: StructUser("Ann", ID, datetime.date(2001, 2, 3), decimal.Decimal("1.5"), StructAddress("Elm")),
    DictUser: DictUser(
        fullName="Ann",
        id=ID,
        born=datetime.date(2001, 2, 3),
        height=decimal.Decimal("1.5"),
        address=DictAddress(streetName="Elm"),
    ),
}
SENT = {
    "fullName": "Ann",
    "id": str(ID),
    "born": "2001-02-03",
    "height": "1.5",
    "address": {"streetName": "Elm"},
}


class Service:
    """A service that answers what it is sent, with what else it is told to."""

    def __init__(self):
        self.sent = []
        self.more = {}
        paths = ("/user/", "/user/{id}/")
        methods = ["GET", "POST", "PUT", "PATCH"]
        self.app = starlette.applications.Starlette(
            routes=[starlette.routing.Route(path, self.answer, methods=methods) for path in paths]
        )

    async def answer(self, request):
        if request.method == "GET" and request.url.path == "/user/":
            return starlette.responses.JSONResponse({"meta": {"page": 1, "count": 2}, "data": [SENT, SENT | self.more]})
        self.sent.append(json.loads(await request.body() or "{}"))
        sent = self.sent[-1]
        answer = sent if isinstance(sent, list) else {**SENT, **sent, **self.more}
        return starlette.responses.JSONResponse(answer, 201 if request.method == "POST" else 200)


@pytest.fixture(params=USERS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


@pytest.fixture
def service():
    return Service()


@pytest.fixture
async def client(service):
    async with Client(app=service.app, base_url="http://service") as client:
        yield client


@pytest.fixture
def users(client, kind):
    class Users(HTTPResourceRepository[kind]):
        _resource = "/user"

    return Users(client)


async def test_a_value_goes_and_comes_back(users, service, kind):
    user = USERS[kind]

    answers = [await users.create(user), await users.retrieve(ID), await users.update(id=ID, data=user)]
    answers += [
        await users.partial_update(ID, user),
        *await users.replace([user]),
        *await users.partial_replace([user]),
    ]

    assert answers == [user] * 6
    assert service.sent == [SENT, {}, SENT, SENT, [SENT], [SENT]]


async def test_a_list_is_of_values(users, kind):
    assert [user async for user in users.list()] == [USERS[kind]] * 2


async def test_a_dictionary_goes_as_well(users, service, kind):
    address = USERS[kind]["address"] if kind is DictUser else USERS[kind].address

    await users.partial_update(ID, {"born": datetime.date(2001, 2, 3), "address": address})

    assert service.sent == [{"born": "2001-02-03", "address": {"streetName": "Elm"}}]


async def test_what_is_not_of_the_type_is_not_sent(users, service, kind):
    with pytest.raises(exceptions.InvalidDataError, match=f"a record is a {kind.__name__} or a mapping, not 3"):
        await users.create(3)

    assert service.sent == []


async def test_an_answer_that_does_not_fit_is_told_without_its_values(users, service, kind):
    service.more = {"born": "secret"}

    with pytest.raises(exceptions.InvalidResponseError, match=rf"no {kind.__name__}: .*born") as caught:
        await users.retrieve(ID)
    assert "secret" not in str(caught.value)
    assert caught.value.resource == "user"
    with pytest.raises(exceptions.InvalidResponseError):
        [user async for user in users.list()]


async def test_what_the_type_does_not_know_is_left_out(users, service, kind):
    service.more = {"more": 1}

    assert await users.retrieve(ID) == USERS[kind]


async def test_a_field_of_which_nothing_is_said_is_not_sent(client, service):
    class Users(HTTPResourceRepository[User]):
        _resource = "/user"

    user = User.model_validate({"fullName": "Ann"})

    await Users(client).create(user)
    await Users(client).partial_update(ID, user)

    assert service.sent == [{"fullName": "Ann", "born": "2000-01-01"}, {"fullName": "Ann"}]


async def test_a_number_that_json_does_not_have_is_not_sent(client, service):
    class Size(pydantic.BaseModel):
        length: float

    class Sizes(HTTPResourceRepository[Size]):
        _resource = "/user"

    with pytest.raises(exceptions.InvalidDataError, match="JSON has no infinity"):
        await Sizes(client).create(Size(length=float("inf")))

    assert service.sent == []


async def test_the_type_is_kept_by_a_subclass(client):
    class Users(HTTPResourceRepository[User]):
        _resource = "/user"

    class Admins(Users):
        pass

    assert isinstance(await Admins(client).retrieve(ID), User)


async def test_a_repository_without_a_type_gives_dictionaries(client):
    class Users(HTTPResourceRepository):
        _resource = "/user"

    assert await Users(client).retrieve(ID) == SENT
