"""What holds in one process holds for two services in processes of their own, on every server."""

import asyncio
import collections
import itertools

import pytest

pytestmark = pytest.mark.anyio

WRITERS = 32  # more than the calls that may fail in a row before a client rests


@pytest.fixture
async def client(deployment):
    async with deployment.client() as client:
        yield client


async def assert_served(client, way, id):
    """Create, retrieve, list, update and delete a record by one of the gateway's ways to the inner service."""
    path = f"/{way}/item/"

    created = await client.post(path, json={"id": id, "name": "bolt"})
    retrieved = await client.get(f"{path}{id}/")
    listed = await client.get(path, params={"id": id})
    updated = await client.put(f"{path}{id}/", json={"id": id, "name": "nut"})
    again = await client.get(f"{path}{id}/")
    deleted = await client.delete(f"{path}{id}/")
    gone = await client.get(f"{path}{id}/")

    assert (created.status_code, created.json()) == (201, {"id": id, "name": "bolt"})
    assert (retrieved.status_code, retrieved.json()) == (200, {"id": id, "name": "bolt"})
    assert (listed.status_code, listed.json()["data"]) == (200, [{"id": id, "name": "bolt"}])
    assert (updated.status_code, updated.json()) == (200, {"id": id, "name": "nut"})
    assert again.json() == {"id": id, "name": "nut"}
    assert deleted.status_code == 204
    assert (gone.status_code, gone.json()["error"]) == (404, "NotFoundError")


async def assert_refused(client, way, id, status, error):
    """Have every verb fail the same by one of the gateway's ways."""
    path, item = f"/{way}/item/", {"id": id, "name": "bolt"}

    answers = [
        await client.post(path, json=item),
        await client.get(f"{path}{id}/"),
        await client.get(path),
        await client.put(f"{path}{id}/", json=item),
        await client.patch(f"{path}{id}/", json={"name": "nut"}),
        await client.delete(f"{path}{id}/"),
    ]

    assert [(answer.status_code, answer.json()["error"]) for answer in answers] == [(status, error)] * len(answers)


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a condition on several counters
            await asyncio.sleep(0.01)


async def test_requests_go_through_both_services(client, id):
    await assert_served(client, "plain", id)


async def test_an_error_of_the_inner_service_is_the_gateways(client, id):
    item = {"id": id, "name": "bolt"}
    await client.post("/plain/item/", json=item)

    refused = await client.post("/plain/item/", json=item)

    assert (refused.status_code, refused.json()["kind"], refused.json()["fields"]) == (400, "unique", ["id"])


async def test_one_unit_writes_to_the_gateways_table_and_to_the_inner_service(client, deployment, id):
    created = await client.post("/order/", json={"id": id, "name": "bolt"})
    again = await client.post("/order/", json={"id": id, "name": "bolt"})

    assert (created.status_code, again.status_code) == (200, 400)
    assert id in deployment.stored("order")
    assert id in deployment.stored("item")


async def test_many_requests_at_once_are_served(client, id):
    created = await asyncio.gather(
        *(client.post("/order/", json={"id": f"{id}-{number}", "name": "bolt"}) for number in range(WRITERS))
    )

    assert [answer.status_code for answer in created] == [200] * WRITERS


async def test_while_the_inner_service_is_killed_and_restarted_nothing_that_was_acknowledged_is_lost(
    client, deployment, id
):
    acknowledged, statuses, ended = set(), collections.Counter(), asyncio.Event()

    async def write(writer):
        for number in itertools.count():
            if ended.is_set():
                return
            name = f"{id}-{writer}-{number}"[-40:]
            answer = await client.post("/order/", json={"id": name, "name": "bolt"})
            statuses[answer.status_code] += 1
            if answer.is_success:
                acknowledged.add(name)

    async with asyncio.TaskGroup() as writers:
        for writer in range(WRITERS):
            writers.create_task(write(writer))
        await until(lambda: statuses[200] > 2 * WRITERS)
        deployment.inner.kill()
        await until(lambda: statuses[503] > 2 * WRITERS)
        between = [await client.get("/plain/item/x/"), await client.delete("/plain/item/x/")]
        await asyncio.to_thread(deployment.inner.start)
        await asyncio.to_thread(deployment.inner.wait)
        first = await client.post("/plain/item/", json={"id": id, "name": "bolt"})
        before = statuses[200]
        await until(lambda: statuses[200] > before + 2 * WRITERS)
        ended.set()

    assert {(answer.status_code, answer.json()["error"]) for answer in between} == {(503, "UnavailableError")}
    assert (first.status_code, first.json()) == (201, {"id": id, "name": "bolt"})
    assert statuses.keys() == {200, 503}
    assert acknowledged <= deployment.stored("order")
    assert acknowledged | {id} <= deployment.stored("item")


async def test_a_restart_that_nobody_has_noticed_fails_no_request(client, deployment, id):
    await asyncio.gather(*(client.get("/plain/item/") for _ in range(10)))  # their connections are kept

    deployment.inner.kill()
    deployment.inner.start()
    await asyncio.to_thread(deployment.inner.wait)
    created = [await client.post("/plain/item/", json={"id": f"{id}{number}", "name": "bolt"}) for number in range(10)]

    assert [answer.status_code for answer in created] == [201] * 10


async def test_requests_go_through_over_tls(client, id):
    await assert_served(client, "secure", id)


@pytest.mark.parametrize("way", ["untrusted", "misnamed"])
async def test_an_inner_service_that_is_not_the_one_of_its_certificate_is_unavailable(client, way, id):
    await assert_refused(client, way, id, 503, "UnavailableError")


async def test_requests_go_through_a_proxy(client, deployment, id):
    deployment.proxy.requests.clear()

    await assert_served(client, "proxied", id)

    asked = deployment.proxy.requests
    assert {target.startswith(f"http://127.0.0.1:{deployment.inner.port}/item/") for _, target in asked} == {True}
    assert [method for method, _ in asked] == ["POST", "GET", "GET", "PUT", "GET", "DELETE", "GET"]


async def test_requests_go_over_tls_through_a_proxy(client, deployment, id):
    deployment.proxy.requests.clear()

    await assert_served(client, "tunnelled", id)

    assert set(deployment.proxy.requests) == {("CONNECT", f"localhost:{deployment.secure.port}")}


async def test_a_proxy_that_is_not_there_is_unavailable(client, id):
    await assert_refused(client, "unproxied", id, 503, "UnavailableError")


async def test_requests_are_authorized_by_a_header(client, id):
    await assert_served(client, "private", id)


async def test_requests_without_authorization_are_refused(client, id):
    await assert_refused(client, "anonymous", id, 401, "UnauthenticatedError")


async def test_requests_whose_authorization_is_not_enough_are_refused(client, id):
    await assert_refused(client, "forbidden", id, 403, "PermissionDeniedError")


@pytest.mark.parametrize("way", ["unresolved", "closed", "not_tls", "not_http"])
async def test_a_base_url_at_which_there_is_no_such_service_is_unavailable(client, way, id):
    await assert_refused(client, way, id, 503, "UnavailableError")


async def test_a_base_url_with_another_path_has_no_such_records(client, id):
    await assert_refused(client, "elsewhere", id, 404, "NotFoundError")
