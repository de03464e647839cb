"""Whatever a client sends, it's never the server's fault."""

import json

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

JSON = {"content-type": "application/json"}


def sent(value):
    return json.dumps(value).encode()


BODIES = {
    "nothing": b"",
    "null": b"null",
    "a number": b"1",
    "a text": b'"x"',
    "true": b"true",
    "a list of numbers": b"[1, 2]",
    "a list in a list": b"[[{}]]",
    "a list of null": b"[null]",
    "an empty object": b"{}",
    "an object of objects": sent({"name": {"a": 1}}),
    "half of it": b'{"name": "a"',
    "two of it": b'{"name": "a"}{"name": "b"}',
    "NaN": b'{"name": "a", "age": NaN}',
    "Infinity": b'{"name": "a", "weight": Infinity}',
    "a number beyond floats": b'{"name": "a", "weight": 1e400}',
    "a fraction": sent({"name": "a", "age": 1.5}),
    "a whole number beyond the column": sent({"name": "a", "age": 2**31}),
    "a whole number beyond 64 bits": sent({"name": "a", "age": 2**70}),
    "a whole number of 5,000 digits": b'{"name": "a", "age": ' + b"9" * 5000 + b"}",
    "too many digits": sent({"name": "a", "weight": "123456.789"}),
    "a text for a number": sent({"name": "a", "age": "three"}),
    "a text that is too long": sent({"name": "a" * 21}),
    "a text of a million": sent({"name": "a" * 1_000_000}),
    "a zero byte": sent({"name": "a\0b"}),
    "a zero byte in what has a default": sent({"name": "a", "kind": "\0"}),
    "a lone surrogate": b'{"name": "\\ud800"}',
    "two surrogates the wrong way round": b'{"name": "\\udc00\\ud800"}',
    "invalid UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-16": '{"name": "a"}'.encode("utf-16"),
    "10,000 lists": b"[" * 10_000,
    "10,000 objects": b'{"name":' * 10_000,
    "10,000 lists that end": b"[" * 10_000 + b"]" * 10_000,
    "a name twice": b'{"name": "a", "name": "b"}',
    "unknown fields": sent({"name": "a", "nope": 1, "__class__": "x", "": 0}),
    "no such day": sent({"name": "a", "born": "2023-02-29"}),
    "a day before all": sent({"name": "a", "born": "0000-00-00"}),
    "a time for a day": sent({"name": "a", "born": "2024-01-01T10:00:00"}),
    "the first day": sent({"name": "a", "born": "0001-01-01"}),
    "no such size": sent({"name": "a", "size": "huge"}),
    "a key below zero": sent({"id": -(2**31), "name": "a"}),
    "a key beyond the column": sent({"id": 2**31, "name": "a"}),
    "SQL": sent({"name": "'; DROP TABLE p;--"}),
    "a null that can't be": sent({"name": None}),
    "a key that nobody has": sent({"owner": 99}),
    "the same record twice": sent([{"id": 5, "name": "a"}, {"id": 5, "name": "b"}]),
    "a record with one that is wrong": sent([{"name": "a"}, {"name": None}]),
}

QUERIES = {
    "an unknown field": "nope=1",
    "an unknown field without a value": "nope",
    "no name": "=1",
    "an unknown operator": "age=near:1",
    "no operand": "age=gte:",
    "no operator": "age=:1",
    "a superfluous operand": "age=isnull:1",
    "a text for a number of a filter": "age=gte:x",
    "a number beyond the column in a filter": "age=gte:99999999999",
    "a number beyond 64 bits in a filter": "age=" + "9" * 30,
    "a number beyond all": "age=" + "9" * 999,
    "a number of many digits": "weight=1e900",
    "a fraction in a filter": "age=0.5",
    "infinity in a filter": "weight=Infinity",
    "NaN in a filter": "weight=NaN",
    "a zero byte in a filter": "name=a%00b",
    "a zero byte in a pattern": "name=like:a%00b",
    "invalid UTF-8 in a filter": "name=%ff%fe",
    "a surrogate in a filter": "name=%ed%a0%80",
    "a pattern that ends with an escape": "name=like:a%5C",
    "a pattern of wildcards": "name=ilike:" + "%25_" * 1500,
    "a text of a filter that is too long": "name=contains:" + "a" * 5000,
    "a text of a filter with all that LIKE knows": "name=contains:%25_%5C%5B%5D%5E",
    "no such day in a filter": "born=2023-02-29",
    "a day before all in a filter": "born=lt:0001-01-01",
    "no such size in a filter": "size=huge",
    "no such truth": "good=maybe",
    "2,001 values": "&".join(["age=in:1"] * 2001),
    "201 comparisons": "&".join(["age=1"] * 201),
    "no JSON": "filter={",
    "JSON of another shape": "filter=[[]]",
    "10,000 groups": "filter=" + "[" * 10_000,
    "100 negations": "filter=" + '{"not":' * 100 + '["age","isnull"]' + "}" * 100,
    "an empty group": 'filter={"or":[]}',
    "an object for a value": 'filter=["age","gt",{}]',
    "null for a value": 'filter=["age","eq",null]',
    "an unknown field in a group": 'filter=["nope","isnull"]',
    "an unknown order": "order_by=nope",
    "an order by nothing": "order_by=",
    "an order by SQL": "order_by=age;DROP TABLE",
    "an order of many": "order_by=" + ",".join(["age"] * 50),
    "an unknown direction": "order_direction=up&order_by=age",
    "page 0": "page=0",
    "page -1": "page=-1",
    "page x": "page=x",
    "a page beyond all": "page=999999999&page_size=999999999",
    "a page of a number of digits": "page=" + "9" * 400,
    "a page of nothing": "page_size=0",
    "an offset below zero": "offset=-1",
    "an offset beyond all": "offset=999999999",
    "a limit of other digits": "limit=%D9%A3",
    "no cursor": "cursor=rubbish",
    "a cursor with a zero byte": "cursor=%00",
    "a cursor of many": "cursor=" + "a" * 9000,
    "a count of something else": "count=2",
    "all styles at once": "page=1&limit=1&offset=1&cursor=",
    "an amount below zero": "max_affected=-1",
}

TOYS = {
    "a time of another kind": {"made": "2024-01-01T10:00:00Z"},
    "a time without its zone": {"bought": "2024-01-01T10:00:00"},
    "a time before all in its zone": {"bought": "0001-01-01T00:00:00+14:00"},
    "a time after all in its zone": {"bought": "9999-12-31T23:59:59-14:00"},
    "a number for a time": {"made": 1e15},
    "a span beyond all": {"span": "P999999999D"},
    "a span of years": {"span": "P1Y"},
    "no base64": {"raw": "é"},
    "half of base64": {"raw": "YQ="},
    "a great number": {"speed": 1e308},
    "a tiny number": {"speed": 1e-320},
    "JSON with a zero byte": {"notes": {"\0": "\0"}},
    "JSON with a great number": {"notes": 2**80},
    "JSON with a lone surrogate": {"notes": "\ud800"},
    "JSON of many levels": {"notes": json.loads("[" * 300 + "]" * 300)},
    "no such kind": {"kind": "rope"},
}

TOY_QUERIES = [
    "made=2024-01-01T10:00:00Z",
    "bought=2024-01-01T10:00:00",
    "bought=gt:9999-12-31T23:59:59-14:00",
    "bought=lt:0001-01-01T00:00:00%2B14:00",
    "span=gt:P999999999D",
    "raw=%00",
    "raw=YWI=",
    "speed=inf",
    "speed=-inf",
    "speed=nan",
    "speed=1e308",
    "kind=rope",
    "kind=gt:ball",
    "kind=contains:b",
    "notes=1",
    "order_by=notes",
    "id=x",
    "owner=1e300",
    "order_by=span,raw,-bought:nulls_first,kind,speed,id&cursor=",
]

HEADERS = {
    "a content type of nobody": {"content-type": "application/x-nope"},
    "a form": {"content-type": "application/x-www-form-urlencoded"},
    "a multipart form without a boundary": {"content-type": "multipart/form-data"},
    "no entity tag": {"if-match": "x", "if-none-match": "x"},
    "entity tags without an end": {"if-match": '"a', "if-none-match": '"a'},
    "many entity tags": {"if-match": ", ".join(['"a"'] * 5000)},
    "a version that is none": {"if-match": '"vx"'},
    "a version beyond all": {"if-match": '"v' + "9" * 40 + '"'},
    "an idempotency key of nothing": {"idempotency-key": ""},
    "an idempotency key that is too long": {"idempotency-key": "k" * 300},
    "an idempotency key with a tab": {"idempotency-key": "a\tb"},
}

PATHS = [
    "0",
    "-1",
    "99999999999999999999",
    "x",
    "1.5",
    "%00",
    "%ff",
    "..%2f",
    "a%2Fb",
    "%F0%9F%98%80",
    "1e3",
    ":drop",
    ":get_or_create",
    " ",
]


async def refusals(client, requests):
    """The requests for which the server takes the blame, with what it answered."""
    found = {}
    for what, (method, path, options) in requests.items():
        response = await client.request(method, path, **options)
        if response.status_code >= 500 or any(word in response.text for word in ("Traceback", "sqlalchemy", "SELECT")):
            found[what] = (response.status_code, response.text[:300])
    return found


async def test_no_body_is_the_servers_fault(client):
    await client.post("/puppy/", json={"id": 1, "name": "Bella"})
    targets = [
        ("POST", "/puppy/"),
        ("PUT", "/puppy/"),
        ("PATCH", "/puppy/"),
        ("PUT", "/puppy/1/"),
        ("PATCH", "/puppy/1/"),
    ]
    targets += [("POST", "/puppy/:get_or_create/"), ("POST", "/puppy/:get_or_create/?on=name")]
    targets += [("POST", "/puppy/:upsert/"), ("POST", "/puppy/:update/?name=x"), ("POST", "/toy/")]
    requests = {
        (what, method, path): (method, path, {"content": body, "headers": JSON})
        for what, body in BODIES.items()
        for method, path in targets
    }

    assert await refusals(client, requests) == {}


async def test_no_query_is_the_servers_fault(client):
    await client.post("/puppy/", json={"id": 1, "name": "Bella"})
    targets = [("GET", {}), ("GET", {"accept": "application/x-ndjson"}), ("DELETE", {})]
    requests = {
        (what, method, *headers): (method, f"/puppy/?{query}", {"headers": headers})
        for what, query in QUERIES.items()
        for method, headers in targets
    }

    assert await refusals(client, requests) == {}


async def test_no_choice_of_fields_is_the_servers_fault(client):
    options = [
        "on=",
        "on=,",
        "on=nope",
        "on=%00",
        "on=name,name",
        "on=id,name",
        "on=size",
        "set=",
        "set=nope",
        "set=%ff",
    ]
    records = {"puppy": {"id": 1, "name": "a"}, "toy": {"kind": "ball"}}
    requests = {
        (resource, verb, option): ("POST", f"/{resource}/:{verb}/?{option}", {"json": body})
        for resource, record in records.items()
        for verb, body in {"upsert": [record], "get_or_create": record}.items()
        for option in options
    }

    assert await refusals(client, requests) == {}


async def test_no_value_of_any_type_is_the_servers_fault(client):
    requests = {what: ("POST", "/toy/", {"content": sent(body), "headers": JSON}) for what, body in TOYS.items()} | {
        query: ("GET", f"/toy/?{query}", {}) for query in TOY_QUERIES
    }

    assert await refusals(client, requests) == {}


async def test_no_header_is_the_servers_fault(client):
    await client.post("/toy/", json={})
    url = f"/toy/{(await client.get('/toy/')).json()['data'][0]['id']}/"
    targets = [("GET", url), ("PUT", url), ("PATCH", url), ("DELETE", url), ("POST", "/puppy/")]
    requests = {
        (what, method): (method, path, {"headers": {**JSON, **headers}, "content": b'{"name": "a"}'})
        for what, headers in HEADERS.items()
        for method, path in targets
    }

    assert await refusals(client, requests) == {}


async def test_no_path_is_the_servers_fault(client):
    requests = {
        (method, path): (method, f"/{resource}/{path}/", {"headers": JSON, "content": b'{"name": "a"}'})
        for method in ("GET", "PUT", "PATCH", "DELETE", "POST")
        for resource in ("puppy", "toy")
        for path in PATHS
    }

    assert await refusals(client, requests) == {}
