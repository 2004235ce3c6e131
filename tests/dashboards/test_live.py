"""The live page: it follows a search that goes on, and keeps what one did to it."""

import threading

import pytest
from explored import explored_document, explored_spec, explored_trials

from autopeft.report.server import make_server


def test_the_page_follows_the_search_and_keeps_the_pins(opened):
    spec, trials = explored_spec(), explored_trials()
    told = explored_document(spec, trials[:20], state="running")
    server = make_server(lambda: told, host="127.0.0.1", port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        page = opened(f"http://127.0.0.1:{server.server_address[1]}/")
        assert "20 of 60 trials" in page.locator("#summary").inner_text()
        page.click('[data-row-pin="1"]')
        page.locator('[data-limit="accuracy"]').focus()
        told = explored_document(spec, trials, state="finished")
        expect = pytest.importorskip("playwright.sync_api").expect
        expect(page.locator("#summary")).to_contain_text("60 of 60 trials", timeout=30_000)
        assert page.locator("#state").inner_text() == "finished"
        assert page.locator("#live").inner_text() == "live"
        assert page.evaluate("document.activeElement.dataset.limit") == "accuracy"
        assert "#1 " in page.locator(".compare > thead").inner_text()
    finally:
        server.shutdown()
        server.server_close()
