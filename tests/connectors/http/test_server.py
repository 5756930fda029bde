"""Where the process listens."""

from __future__ import annotations

import re

import pytest

from penstock.connectors import Settings, Site
from penstock.connectors.http.endpoint import Http, Reply
from penstock.errors import ConfigError, DeclarationError
from tests.connectors.http.rig import HttpSourceRig, opened
from tests.servers.port import free_port


class TestSettings:
    @pytest.mark.parametrize("listen", ["8080", "localhost", "localhost:http", "localhost:99999"])
    def test_an_address_that_is_none(self, listen: str) -> None:
        with pytest.raises(ConfigError, match=r"PENSTOCK_HTTP_LISTEN is .* write host:port"):
            Http("/a").source(Site(Settings({"PENSTOCK_HTTP_LISTEN": listen})))

    async def test_an_address_that_is_taken(self, rig: HttpSourceRig) -> None:
        async with opened(rig):
            taken = {"PENSTOCK_HTTP_LISTEN": rig.url.removeprefix("http://")}
            site = Site(Settings(taken))
            with pytest.raises(ConfigError, match=r"PENSTOCK_HTTP_LISTEN is .*cannot listen there"):
                await rig.endpoint.source(site).open()
            await site.close()

    async def test_workers_share_an_address(self) -> None:
        settings = Settings({"PENSTOCK_HTTP_LISTEN": f"127.0.0.1:{free_port()}", "PENSTOCK_WORKERS": "2"})
        sites = [Site(settings, worker=worker) for worker in (0, 1)]
        sources = [Http("/a").source(site) for site in sites]
        for source in sources:
            await source.open()
        for source in sources:
            await source.close()
        for site in sites:
            await site.close()

    def test_declarations_that_cannot_work(self) -> None:
        site = Site(Settings({}))
        for wrong, said in (
            (lambda: Http("payments"), "write a path"),
            (lambda: Http("/a/{b"), "braces"),
            (lambda: Http("/a", timeout="soon"), "length of time"),
            (lambda: Http("/a", method="post"), "method"),
            (lambda: Http("https://host/a").source(site), "listens on a path"),
            (lambda: Http("/a?b=c").source(site), "no ?"),
            (lambda: Http("/{a}/{a}").source(site), "one field"),
            (lambda: Http("/a").sink(site), "goes to a URL"),
            (lambda: Reply().source(site), "not a source"),
            (lambda: Reply().sink(site), "no connection"),
        ):
            with pytest.raises(DeclarationError, match=re.escape(said)):
                wrong()
        with pytest.raises(ConfigError, match="PENSTOCK_STORE is not set"):
            Http("/a", durable=True).source(site)
