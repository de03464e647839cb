"""The page of an API's documentation: what it may load, whom it may call, who may frame it."""

import pytest

from flama import Flama
from flama.client import Client
from flama.openapi._swagger_ui import _ASSETS

pytestmark = pytest.mark.anyio

ABOUT = {
    "servers": [{"url": "https://api.example/v1"}, {"url": "/v2"}, {"url": "https://{tenant}.example"}],
    "components": {
        "securitySchemes": {
            "oauth": {
                "type": "oauth2",
                "flows": {"clientCredentials": {"tokenUrl": "http://id.example:8443/t", "scopes": {}}},
            }
        }
    },
}


async def headers_of(app, path):
    async with Client(app=app) as client:
        response = await client.get(path)
    assert response.status_code == 200
    return response.headers


def directives(headers):
    policy = headers["content-security-policy"].split(";")
    return {name: sources for name, *sources in (directive.split() for directive in policy)}


HTML = [f"/docs/{file.name}" for file in _ASSETS.iterdir() if file.suffix in (".html", ".js")]


@pytest.mark.parametrize("slash", ["", "/"], ids=["without a slash", "with a slash"])
@pytest.mark.parametrize("path", ["page", "document", *HTML])
async def test_what_documents_an_api_is_shown_in_no_frame_and_loads_nothing_else(path, slash):
    app = Flama(docs=f"/docs{slash}", schema=f"/schema{slash}")
    path = {"page": f"/docs{slash}", "document": f"/schema{slash}"}.get(path, path)

    headers = await headers_of(app, path)

    policy = directives(headers)
    assert policy["default-src"] == ["'self'"]
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == ["'none'"]
    assert policy["connect-src"] == ["'self'"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("status", [200, 304])
async def test_a_file_of_the_page_has_the_policy_when_it_hasnt_changed_too(status):
    async with Client(app=Flama()) as client:
        first = await client.get("/docs/init.js")
        known = {"if-none-match": first.headers["etag"]} if status == 304 else {}
        response = await client.get("/docs/init.js", headers=known)

    assert response.status_code == status
    assert "content-security-policy" in response.headers


async def test_the_page_may_call_the_servers_that_its_document_names():
    headers = await headers_of(Flama(openapi=ABOUT), "/docs/")

    assert directives(headers)["connect-src"] == ["'self'", "http://id.example:8443", "https://api.example"]


@pytest.mark.parametrize(
    "url", ["https://a.example;script-src *", "https://a.example 'unsafe-inline'", "https://a\r\nx: y"]
)
async def test_a_servers_url_adds_nothing_to_the_policy(url):
    headers = await headers_of(Flama(openapi={"servers": [{"url": url}]}), "/docs/")

    assert set(directives(headers)) == {
        "base-uri", "connect-src", "default-src", "form-action", "frame-ancestors", "object-src"
    }  # fmt: skip
    assert "unsafe-inline" not in headers["content-security-policy"]
    assert "x" not in headers
