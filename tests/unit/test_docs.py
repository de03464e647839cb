"""Serving the document and its page: paths, headers, what a browser makes of it."""

import html.parser
import json
import urllib.parse

import pytest
from starlette.staticfiles import StaticFiles

from flama import Component, Flama, exceptions
from flama.client import Client
from flama.middleware import Middleware
from flama.openapi import _swagger_ui
from tests.support import browser

pytestmark = pytest.mark.anyio

JSON = "application/vnd.oai.openapi+json"


def hello() -> str:
    """Say hello."""
    return "hello"


def greeting(**options):
    app = Flama(**options)
    app.add_get("/hello/", hello)
    return app


async def get(app, path, method="GET", **request):
    async with Client(app=app) as client:
        return await client.request(method, path, **request)


async def status(app, path, method="GET"):
    return (await get(app, path, method)).status_code


class Links(html.parser.HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found = []
        self.inline = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("href", "src", "data-schema")]
        self.inline += [name for name, _ in attributes if name == "style" or name.startswith("on")]
        self.inline += [tag] * (tag == "style" or (tag == "script" and "src" not in dict(attributes)))


async def test_the_document_is_served_as_openapi():
    response = await get(greeting(), "/schema/")

    assert response.headers["content-type"] == JSON
    assert list(response.json()["paths"]) == ["/hello/"]


@pytest.mark.parametrize("path", ["/schema/", "/docs/", "/docs/swagger-ui.css"])
async def test_what_is_served_answers_head_and_options_and_refuses_the_rest(path):
    async with Client(app=greeting()) as client:
        whole = await client.get(path)
        head = await client.head(path)
        options = await client.options(path)
        post = await client.post(path)

    assert (head.status_code, head.content, head.headers) == (200, b"", whole.headers)
    assert (options.status_code, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_both_paths_are_chosen_by_the_constructor():
    app = greeting(schema="/openapi.json", docs="/")

    assert await status(app, "/openapi.json") == 200
    assert "openapi.json" in (await get(app, "/")).text
    assert await status(app, "/init.js") == 200
    assert (await status(app, "/schema/"), await status(app, "/docs/")) == (404, 404)


async def test_without_paths_nothing_is_served():
    app = greeting(schema=None, docs=None)

    assert (await status(app, "/schema/"), await status(app, "/docs/")) == (404, 404)
    assert list(app.openapi["paths"]) == ["/hello/"]


async def test_the_document_is_served_without_its_page():
    app = greeting(docs=None)

    assert (await status(app, "/schema/"), await status(app, "/docs/")) == (200, 404)


@pytest.mark.parametrize(
    ("paths", "message"),
    [
        ({"schema": None}, "docs=None"),
        ({"schema": "/x/", "docs": "/x/"}, "a path each"),
        ({"schema": "/{x}/"}, "without parameters"),
        ({"docs": "/{x}/"}, "without parameters"),
    ],
)
def test_paths_that_cannot_be_served_are_refused_at_once(paths, message):
    with pytest.raises(exceptions.ApplicationError, match=message):
        Flama(**paths)


async def test_a_route_on_one_of_the_paths_comes_first():
    app = Flama()
    app.add_get("/schema/", hello)

    assert (await get(app, "/schema/")).json() == "hello"
    assert await status(app, "/docs/") == 200


async def test_a_route_added_while_running_takes_the_path_at_once():
    app = Flama()

    async with Client(app=app) as client:
        before = await client.get("/docs/")
        app.add_post("/docs/", hello)
        after = await client.get("/docs/")
        assets = await client.get("/docs/init.js")

    assert (before.status_code, after.status_code, assets.status_code) == (200, 405, 404)


async def test_a_mount_on_one_of_the_paths_comes_first(tmp_path):
    (tmp_path / "index.html").write_text("ours")
    app = Flama()
    app.mount("/docs", StaticFiles(directory=tmp_path, html=True))

    assert (await get(app, "/docs/")).text == "ours"
    assert await status(app, "/docs/init.js") == 404
    assert await status(app, "/schema/") == 200


async def test_a_route_for_everything_leaves_the_paths_alone():
    app = Flama()
    app.add_get("/{rest:path}", lambda rest: rest)

    assert (await get(app, "/schema/")).headers["content-type"] == JSON
    assert (await get(app, "/else/")).json() == "else/"


async def test_a_mounted_application_serves_its_own_below_its_path():
    outer = Flama(schema=None, docs=None)
    outer.mount("/inner", greeting(), name="inner")

    response = await get(outer, "/inner/schema/")

    assert response.json()["servers"] == [{"url": "/inner"}]
    assert list(response.json()["paths"]) == ["/hello/"]
    assert await status(outer, "/inner/docs/") == 200
    assert list(outer.openapi["paths"]) == ["/inner/hello/"]


async def test_servers_that_are_given_stay_as_they_are():
    outer = Flama()
    outer.mount("/inner", greeting(openapi={"servers": [{"url": "https://example.com"}]}))

    response = await get(outer, "/inner/schema/")

    assert response.json()["servers"] == [{"url": "https://example.com"}]


async def test_the_document_is_made_once_and_anew_for_routes_added():
    outer, inner = Flama(), greeting()
    outer.mount("/inner", inner)

    async with Client(app=outer) as client:
        first = outer.openapi
        assert outer.openapi is first
        inner.add_get("/late/", hello)
        added = await client.get("/schema/")

    assert list(first["paths"]) == ["/inner/hello/"]
    assert list(added.json()["paths"]) == ["/inner/hello/", "/inner/late/"]


async def test_the_document_is_made_anew_for_components_added():
    class Token:
        pass

    class TokenComponent(Component):
        def resolve(self, key: str) -> Token: ...

    class OtherComponent(Component):
        def resolve(self) -> int: ...

    def handler(token: Token) -> str: ...

    app = Flama(components=[TokenComponent()])
    app.add_get("/x/", handler)

    async with Client(app=app):
        first = app.openapi
        app.add_component(OtherComponent())
        second = app.openapi

    assert first == second
    assert first is not second


async def test_what_cannot_be_described_is_an_error_that_says_why():
    class Odd:
        pass

    def odd() -> Odd:
        return Odd()

    app = greeting()
    app.add_get("/odd/", odd)

    async with Client(app=app, raise_app_exceptions=True) as client:
        assert (await client.get("/hello/")).status_code == 200
        with pytest.raises(exceptions.ApplicationError, match=r"'odd' of '/odd/' can't be described: .*Odd"):
            await client.get("/schema/")


async def test_the_page_has_nothing_inline_and_all_it_links_to_is_there():
    app = greeting()
    page = (await get(app, "/docs/")).text
    links = Links(page)

    assert links.inline == []
    assert len(links.found) == 5
    for link in links.found:
        assert await status(app, urllib.parse.urljoin("/docs/", link)) == 200


@pytest.mark.parametrize(
    ("paths", "assets", "schema"),
    [
        (("/docs/", "/schema/"), "./", "../schema/"),
        (("/docs", "/schema"), "docs/", "schema"),
        (("/a/docs", "/b/openapi.json"), "docs/", "../b/openapi.json"),
        (("/", "/openapi.json"), "./", "openapi.json"),
        (("/docs/", "/"), "./", "../"),
    ],
)
def test_the_links_of_the_page_are_relative(paths, assets, schema):
    links = Links(_swagger_ui._page(*paths, "title")).found

    assert links[0] == f"{assets}favicon-32x32.png"
    assert links[-1] == schema


async def test_the_title_is_text_on_the_page():
    page = await get(greeting(openapi={"info": {"title": "<script>&"}}), "/docs/")

    assert "<title>&lt;script&gt;&amp;</title>" in page.text


async def test_a_file_of_the_page_is_not_sent_twice():
    async with Client(app=greeting()) as client:
        first = await client.get("/docs/swagger-ui.css")
        again = await client.get("/docs/swagger-ui.css", headers={"if-none-match": first.headers["etag"]})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")


async def test_the_style_sheet_carries_no_images_within_itself():
    async with Client(app=greeting()) as client:
        style = (await client.get("/docs/swagger-ui.css")).text
        images = {part.partition(")")[0] for part in style.split("url(")[1:]}
        found = [(await client.get(f"/docs/{image}")).headers["content-type"] for image in sorted(images)]

    assert "data:" not in style
    assert {kind.partition("/")[0] for kind in found} == {"image"}


@pytest.mark.parametrize("name", ["package.json", "LICENSE", "../docs.py", "%2e%2e/docs.py", "nothing.js"])
async def test_what_the_page_does_not_need_is_not_served(name):
    assert await status(greeting(), f"/docs/{name}") == 404


def test_the_licences_of_what_is_carried_along_are_kept():
    carried = _swagger_ui._ASSETS

    assert "Apache License" in (carried / "LICENSE").read_text()
    assert "SmartBear" in (carried / "NOTICE").read_text()
    assert json.loads((carried / "package.json").read_text())["license"] == "Apache-2.0"


class Policy(Middleware):
    """Lets a browser load nothing but the server's own files."""

    async def __call__(self, scope, receive, send):
        async def strict(message):
            if message["type"] == "http.response.start":
                policy = (b"content-security-policy", b"default-src 'self'")
                message = {**message, "headers": [*message["headers"], policy]}
            await send(message)

        await self.app(scope, receive, strict)


@pytest.mark.skipif(browser.executable() is None, reason="no Chromium is installed")
@pytest.mark.parametrize("prefix", ["", "/inner"])
async def test_a_browser_shows_the_page_under_the_strictest_policy(serve, tmp_path, prefix):
    app = greeting(openapi={"info": {"title": "Greetings"}}, middleware=[Policy()])
    outer = Flama()
    outer.mount("/inner", app)
    origin = serve(outer if prefix else app)

    async with browser.opened(f"{origin}{prefix}/docs/", tmp_path) as page:
        await page.until("document.querySelectorAll('.opblock').length === 1")
        title = await page.evaluate("document.querySelector('.info .title').innerText")
        summary = await page.evaluate("document.querySelector('.opblock').innerText")
        for control in (".opblock-summary-control", ".try-out__btn", ".execute"):
            await page.until(f"document.querySelector('{control}') !== null")
            await page.evaluate(f"document.querySelector('{control}').click()")
        answered = await page.until(
            "document.querySelector('.live-responses-table tbody .response-col_status')?.innerText"
        )

    assert title.startswith("Greetings")
    assert "/hello/" in summary
    assert "Say hello." in summary
    assert answered.startswith("200")
    assert f"{origin}{prefix}/hello/" in page.requests
    assert page.complaints == []
    assert {url for url in page.requests if not url.startswith((origin, "blob:"))} == set()
