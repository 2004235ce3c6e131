"""A headless chromium, driven by playwright: the one of the system, nothing is downloaded."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from explored import explored_document, explored_spec, explored_trials, with_maps

from autopeft.report.page import explorer_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip(
            "browser tests need Debian's chromium, which is not there: apt install chromium"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # As root, as in a container, chromium has no sandbox of its own.
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    return explored_document(explored_spec(), with_maps(explored_trials()))


@pytest.fixture(scope="session")
def page_file(document: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "front.html"
    file.write_text(explorer_page(document), encoding="utf-8")
    return file


@pytest.fixture
def opened(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address in a fresh window; at the end nothing may have gone wrong in it, and nothing
    may have been asked of any network."""
    contexts, wrong = [], []

    def open_page(address: str, *, width: int = 1440, height: int = 900, scheme: str = "light"):
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: wrong.append(m.text) if m.type == "error" else None)
        page.on("request", lambda r: wrong.append(r.url) if _elsewhere(r.url) else None)
        page.on("dialog", lambda d: (wrong.append(f"alert {d.message}"), d.dismiss()))
        page.goto(address)
        page.wait_for_selector("html[data-ready=true]")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def window(browser: Any, page_file: Path) -> Iterator[Any]:
    """One window for the tests that leave nothing behind which `explorer` cannot put back."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme="light")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.wrong = []
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.goto(page_file.as_uri())
    page.wait_for_selector("html[data-ready=true]")
    yield page
    context.close()


@pytest.fixture
def explorer(window: Any) -> Iterator[Any]:
    """The study's page as it was opened."""
    if window.locator("#copy").is_visible():
        window.keyboard.press("Escape")
    while (pinned := window.locator(".compare [data-pin]")).count():
        pinned.first.click()
    for axis, metric in (("across", "adapter_params"), ("upwards", "accuracy")):
        window.get_by_label(axis).select_option(metric)
    window.click("#limits-reset")
    window.fill("#find", "")
    window.evaluate("scrollTo(0, 0)")
    yield window
    assert window.wrong == []


def _elsewhere(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:", "http://127.0.0.1"))
