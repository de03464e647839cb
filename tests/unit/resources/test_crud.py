"""A CRUD resource: its endpoints, on every backend."""

import asyncio
import json
import uuid

import pytest

from flama.rest import link_header, ndjson, paging
from flama.rest.operations import Envelope

pytestmark = [pytest.mark.anyio, pytest.mark.any_driver]

JSON = {"content-type": "application/json"}
BELLA = {
    "name": "Bella",
    "age": 3,
    "weight": "4.50",
    "born": "2024-02-29",
    "kind": "dog",
    "good": True,
    "size": "small",
}
NOTHING = {"age": None, "weight": None, "born": None, "good": True, "kind": "dog", "size": None}


async def stored(client, *records):
    response = await client.post("/puppy/", json=list(records))
    assert response.status_code == 201, response.text
    return response.json()


class TestOneRecord:
    async def test_is_created_and_found_where_it_is_said_to_be(self, client):
        response = await client.post("/puppy/", json=BELLA)
        found = await client.get(response.headers["location"])

        assert response.status_code == 201
        assert response.json() == {"id": 1, **BELLA}
        assert found.json() == response.json()
        assert found.headers["etag"] == response.headers["etag"]

    async def test_has_defaults_for_what_is_not_sent_or_has_no_key_yet(self, client):
        response = await client.post("/puppy/", json={"id": None, "name": "Coco"})

        assert response.json() == {"id": 1, "name": "Coco", **NOTHING}

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_that_is_not_there_is_404(self, client, method):
        body = {} if method in ("GET", "DELETE") else {"json": {"name": "x"}}
        response = await client.request(method, "/puppy/7/", **body)

        assert response.status_code == 404
        assert response.json()["detail"] == "Resource 'puppy' (7) not found"

    async def test_that_has_no_such_key_is_400(self, client):
        assert (await client.get("/puppy/seven/")).status_code == 400

    async def test_is_replaced_by_put_which_resets_what_is_not_sent(self, client):
        await stored(client, BELLA)

        response = await client.put("/puppy/1/", json={"id": 99, "name": "Max"})

        assert response.status_code == 200
        assert response.json() == {"id": 1, "name": "Max", **NOTHING}

    async def test_keeps_what_patch_does_not_send(self, client):
        await stored(client, BELLA)

        response = await client.patch("/puppy/1/", json={"age": 4, "id": 99})
        same = await client.patch("/puppy/1/", json={})

        assert response.json() == same.json() == {"id": 1, **BELLA, "age": 4}

    async def test_is_deleted_without_a_body(self, client):
        await stored(client, BELLA)

        response = await client.delete("/puppy/1/")

        assert (response.status_code, response.content) == (204, b"")
        assert (await client.get("/puppy/1/")).status_code == 404

    async def test_that_breaks_a_constraint_is_400_and_says_which(self, client):
        await stored(client, BELLA)

        response = await client.post("/puppy/", json=BELLA)

        assert response.status_code == 400
        assert (response.json()["error"], response.json()["kind"]) == ("IntegrityError", "unique")

    async def test_that_others_refer_to_is_updated_in_place_and_not_deleted(self, client):
        await stored(client, BELLA)
        toy = await client.post("/toy/", json={"owner": 1})

        updated = await client.put("/puppy/1/", json={"name": "Max"})
        deleted = await client.delete("/puppy/1/")

        assert toy.status_code == 201
        assert updated.status_code == 200
        assert (deleted.status_code, deleted.json()["kind"]) == (400, "foreign_key")

    async def test_is_taken_back_as_it_was_answered(self, client):
        toy = {"raw": "YWI=", "notes": {"a": [1, None]}, "kind": "bone", "speed": 1.5, "span": "P1DT2S"}
        created = (await client.post("/toy/", json={**toy, "made": "2024-02-29T10:00:00"})).json()

        again = await client.put(f"/toy/{created['id']}/", json=created)

        assert again.json() == {**created, "version": 2}
        assert again.json().items() >= toy.items()

    async def test_cannot_be_given_what_the_schema_does_not_have(self, client):
        created = await client.post("/toy/", json={"version": 99})
        changed = await client.patch(created.headers["location"], json={"version": 99, "speed": 1.5})

        assert (created.json()["version"], changed.json()["version"]) == (1, 2)


class TestManyRecords:
    async def test_are_created_all_or_none(self, client):
        response = await client.post("/puppy/", json=[{"name": "a"}, {"name": "b"}, {"name": "a"}])
        none = await client.get("/puppy/")
        created = await stored(client, {"name": "a"}, {"name": "b", "age": 3})

        assert response.status_code == 400
        assert none.json()["data"] == []
        assert [record["name"] for record in created] == ["a", "b"]

    async def test_replace_all(self, client):
        await stored(client, BELLA, {"name": "Max"})

        response = await client.put("/puppy/", json=[{"id": 7, "name": "Bella"}, {"id": 8, "name": "Coco"}])

        assert response.status_code == 200
        assert [record["id"] for record in response.json()] == [7, 8]
        assert [record["id"] for record in (await client.get("/puppy/")).json()["data"]] == [7, 8]

    async def test_that_cannot_replace_all_replace_none(self, client):
        await stored(client, BELLA)

        response = await client.put("/puppy/", json=[{"name": "x"}, {"name": "x"}])

        assert response.status_code == 400
        assert [record["name"] for record in (await client.get("/puppy/")).json()["data"]] == ["Bella"]

    async def test_replace_all_by_nothing(self, client):
        await stored(client, BELLA)

        assert (await client.put("/puppy/", json=[])).json() == []
        assert (await client.get("/puppy/")).json()["data"] == []

    @pytest.mark.parametrize("body", [b"", b"null", b" ", b"{}"])
    async def test_are_not_replaced_by_what_is_no_list(self, client, body):
        await stored(client, BELLA)

        responses = [
            await client.request(method, "/puppy/", content=body, headers={"content-type": "application/json"})
            for method in ("PUT", "PATCH")
        ]

        assert [response.status_code for response in responses] == [400, 400]
        assert len((await client.get("/puppy/")).json()["data"]) == 1

    async def test_change_those_that_are_there_and_are_added_otherwise(self, client):
        await stored(client, BELLA)

        response = await client.patch("/puppy/", json=[{"name": "new"}, {"id": 1, "age": 9}, {"id": 70, "name": "z"}])

        assert [(record["name"], record["age"]) for record in response.json()] == [
            ("new", None),
            ("Bella", 9),
            ("z", None),
        ]
        assert response.json()[1] == {"id": 1, **BELLA, "age": 9}

    async def test_that_are_the_same_twice_are_refused(self, client):
        await stored(client, BELLA)

        assert (await client.patch("/puppy/", json=[{"id": 1, "age": 1}, {"id": 1, "age": 2}])).status_code == 422

    async def test_are_dropped_and_counted(self, client):
        await stored(client, BELLA, {"name": "Max"})

        response = await client.delete("/puppy/")

        assert (response.status_code, response.json()) == (200, {"deleted": 2})

    @pytest.mark.parametrize(("method", "path"), [("DELETE", "/puppy/"), ("POST", "/puppy/:drop/")])
    async def test_are_dropped_as_far_as_a_query_asks_for_them(self, client, method, path):
        await stored(client, BELLA, {"name": "Max"}, {"name": "Coco"})

        refused = await client.request(method, path, headers=JSON, params={"age": "isnull", "max_affected": 1})
        typo = await client.request(method, path, headers=JSON, params={"aeg": "isnull"})
        response = await client.request(method, path, headers=JSON, params={"age": "isnull", "max_affected": 2})

        assert (refused.status_code, typo.status_code) == (409, 422)
        assert response.json() == {"deleted": 2}

    async def test_are_changed_as_far_as_a_query_asks_for_them(self, client):
        await stored(client, BELLA, {"name": "Max"})

        response = await client.post("/puppy/:update/", params={"age": "gte:3"}, json={"kind": "wolf"})

        assert [(record["name"], record["kind"]) for record in response.json()] == [("Bella", "wolf")]

    async def test_are_stored_or_changed_by_what_they_are_alike_in(self, client):
        await stored(client, BELLA)

        response = await client.post(
            "/puppy/:upsert/", params={"on": "name"}, json=[{"name": "Bella", "age": 5}, {"name": "n"}]
        )
        refused = await client.post("/puppy/:upsert/", params={"on": "age"}, json=[{"name": "Bella", "age": 5}])

        assert [(record["name"], record["age"]) for record in response.json()] == [("Bella", 5), ("n", None)]
        assert refused.status_code == 400


class TestLists:
    @pytest.fixture
    async def puppies(self, client):
        return await stored(client, *({"name": f"p{n:02}", "age": n % 7 if n % 3 else None} for n in range(25)))

    async def test_are_pages_of_ten_in_the_references_envelope(self, client, puppies):
        response = await client.get("/puppy/", params={"page": 3, "count": True})

        assert response.json() == {
            "meta": {"page": 3, "page_size": 10, "count": 25, "next": None},
            "data": puppies[20:],
        }

    @pytest.mark.parametrize("style", paging.STYLES)
    async def test_can_be_walked_through_in_each_style(self, client, puppies, style):
        walk, found = paging.PageIterator(style, 4, resource="puppy"), []
        while not walk.is_done:
            query = {
                **walk.next_parameters(),
                "order_by": "-age:nulls_first,name",
                "filter": '{"not":["name","eq","p03"]}',
            }
            found += walk.accept(Envelope(**(await client.get("/puppy/", params=query)).json()))

        expected = sorted(puppies, key=lambda puppy: (puppy["age"] is not None, -(puppy["age"] or 0), puppy["name"]))
        assert found == [puppy for puppy in expected if puppy["name"] != "p03"]

    async def test_link_to_the_next_page(self, client, puppies):
        response = await client.get("/puppy/", params={"age": "isnull", "limit": 5})
        following = link_header.decode(response.headers["link"])

        assert "link" not in (await client.get("/puppy/", params={"limit": 100})).headers
        assert response.json()["meta"] == {"limit": 5, "offset": 0, "count": None, "next": 5}
        assert following == {"next": "?age=isnull&limit=5&offset=5"}

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"age": "gte:5", "order_by": "name"}, ["p05", "p13", "p19", "p20"]),
            ({"age": "5"}, ["p05", "p19"]),
            ([("name", "in:p01"), ("name", "in:p02")], ["p01", "p02"]),
            ({"name": "not:startswith:p0", "age": "2"}, ["p16", "p23"]),
            ({"born": "lt:2024-01-01"}, []),
            ({"size": "small"}, []),
            ({"weight": "gt:1.25"}, []),
            ({"good": "false"}, []),
            ({"order_by": "name", "order_direction": "desc", "limit": 2}, ["p24", "p23"]),
        ],
    )
    async def test_have_what_is_asked_for(self, client, puppies, query, names):
        response = await client.get("/puppy/", params=query)

        assert [record["name"] for record in response.json()["data"]] == names

    async def test_are_streams_of_lines_for_who_takes_those(self, client, puppies):
        response = await client.get("/puppy/", headers={"accept": ndjson.MEDIA_TYPE}, params={"order_by": "id"})

        assert response.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line) for line in response.content.splitlines()] == puppies

    async def test_that_are_streamed_may_be_pages_as_well(self, client, puppies):
        response = await client.get("/puppy/", headers={"accept": ndjson.MEDIA_TYPE}, params={"limit": 2, "offset": 3})

        assert [json.loads(line) for line in response.content.splitlines()] == puppies[3:5]


class TestPreconditions:
    async def test_a_record_that_is_known_is_not_sent_again(self, client):
        await stored(client, BELLA)
        first = await client.get("/puppy/1/")

        response = await client.get("/puppy/1/", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})

        assert (response.status_code, response.content) == (304, b"")

    @pytest.mark.parametrize(
        ("path", "record", "field"), [("/puppy/", {"name": "a"}, "age"), ("/toy/", {}, "speed")], ids=["puppy", "toy"]
    )
    async def test_a_record_that_has_changed_is_not_changed_again(self, client, path, record, field):
        created = await client.post(path, json=record)
        url, tag = created.headers["location"], created.headers["etag"]

        changed = await client.patch(url, json={field: 5}, headers={"if-match": tag})
        stale = [await client.patch(url, json={field: 6}, headers={"if-match": tag})]
        stale.append(await client.delete(url, headers={"if-match": tag}))
        stale.append(await client.delete(url, headers={"if-none-match": "*"}))
        deleted = await client.delete(url, headers={"if-match": f'"x", {changed.headers["etag"]}'})

        assert changed.status_code == 200
        assert changed.headers["etag"] != tag
        assert [response.status_code for response in stale] == [412, 412, 412]
        assert {response.json()["error"] for response in stale} == {"PreconditionFailedError"}
        assert deleted.status_code == 204

    async def test_of_two_changes_at_once_one_is_refused(self, client):
        toy = await client.post("/toy/", json={})
        url, tag = toy.headers["location"], toy.headers["etag"]

        responses = await asyncio.gather(
            *(client.patch(url, json={"owner": None}, headers={"if-match": tag}) for _ in range(5))
        )

        assert sorted(response.status_code for response in responses) == [200, 412, 412, 412, 412]


class TestKeys:
    @pytest.mark.parametrize(("method", "path"), [("PUT", "1/"), ("PATCH", "1/"), ("DELETE", "1/"), ("DELETE", "")])
    async def test_any_write_is_done_once_for_its_key(self, client, method, path):
        await client.post("/puppy/", json=BELLA)
        sent = {} if method == "DELETE" else {"json": {**BELLA, "name": "b"}}
        key = {"idempotency-key": str(uuid.uuid4())}

        first = await client.request(method, f"/puppy/{path}", headers=key, **sent)
        await client.post("/puppy/", json={"name": "c"})
        again = await client.request(method, f"/puppy/{path}", headers=key, **sent)

        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert first.is_success
        assert again.headers["idempotency-replayed"] == "true"
        assert "c" in [each["name"] for each in (await client.get("/puppy/")).json()["data"]]

    async def test_a_request_is_done_once_for_its_key(self, client):
        key = {"idempotency-key": str(uuid.uuid4())}

        responses = [await client.post("/puppy/", json={"name": "a"}, headers=key) for _ in range(3)]

        assert {(response.status_code, response.content) for response in responses} == {(201, responses[0].content)}
        assert [response.headers.get("idempotency-replayed") for response in responses] == [None, "true", "true"]
        assert responses[2].headers["location"] == "/puppy/1/"
        assert len((await client.get("/puppy/")).json()["data"]) == 1

    async def test_a_key_of_another_request_is_refused(self, client):
        await client.post("/puppy/", json={"name": "a"}, headers={"idempotency-key": "k"})

        other = await client.post("/puppy/", json={"name": "b"}, headers={"idempotency-key": "k"})
        others = await client.post(
            "/puppy/", json={"name": "b"}, headers={"idempotency-key": "k", "authorization": "x"}
        )
        none = await client.post("/puppy/", json={"name": "c"}, headers={"idempotency-key": "k" * 300})

        assert (other.status_code, others.status_code, none.status_code) == (422, 201, 400)

    async def test_what_failed_may_be_tried_again(self, client):
        await stored(client, BELLA)

        failed = await client.post("/puppy/", json=BELLA, headers={"idempotency-key": "k"})
        await client.delete("/puppy/1/")
        done = await client.post("/puppy/", json=BELLA, headers={"idempotency-key": "k"})

        assert (failed.status_code, done.status_code) == (400, 201)

    async def test_of_the_same_requests_at_once_one_is_done_and_each_is_answered(self, client):
        responses = await asyncio.gather(
            *(client.post("/puppy/", json={"name": "a"}, headers={"idempotency-key": "k"}) for _ in range(4))
        )

        assert {(response.status_code, response.content) for response in responses} == {(201, responses[0].content)}
        assert len((await client.get("/puppy/")).json()["data"]) == 1


async def test_head_and_options_answer(client):
    await stored(client, BELLA)
    head = await client.head("/puppy/1/")
    options = await client.options("/puppy/")
    other = await client.request("TRACE", "/puppy/")

    assert (head.status_code, head.content) == (200, b"")
    assert (options.status_code, other.status_code) == (204, 405)
    assert options.headers["allow"] == other.headers["allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"
