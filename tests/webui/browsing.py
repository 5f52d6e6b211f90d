"""What the tests of the page in a real browser share: somebody logged in, and what is looked for on the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize

from tests.webui.running import RunningPage
from tests.webui.worker_double import WorkerDouble

DESKTOP: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}


@contextmanager
def logged_in(
    browser: Browser, page: RunningPage, name: str, viewport: ViewportSize = DESKTOP, refused: tuple[int, ...] = ()
) -> Iterator[Page]:
    """Give a browser's page in which this person is logged in; nothing in it may have failed in the end.

    `refused` are the statuses with which the server answers what a test asks for in vain: a browser logs those.
    """
    context = browser.new_context(viewport=viewport)
    cookies = [{"name": c.name, "value": c.value, "url": page.address} for c in page.session(name).cookies]
    context.add_cookies(cookies)  # type: ignore[arg-type]
    tab = context.new_page()
    failures: list[str] = []
    tab.on("pageerror", lambda error: failures.append(str(error)))
    tab.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    tab.on("dialog", lambda dialog: failures.append(f"a dialog said {dialog.message}"))
    yield tab
    context.close()
    expected = ("WebSocket", "ERR_CONNECTION_", *(f"responded with a status of {status}" for status in refused))
    assert [text for text in failures if not any(part in text for part in expected)] == []


def row_of(tab: Page, worker: WorkerDouble) -> Any:
    """Return the row of a worker in the fleet's table."""
    return tab.locator(".table-body .row").filter(has=tab.get_by_role("link", name=worker.id, exact=True))


def shown_names(tab: Page) -> list[str]:
    """Return the workers in the table, in its order."""
    return tab.locator(".table-body .worker-name").all_inner_texts()


def fits(tab: Page) -> bool:
    """Tell whether nothing sticks out to the right."""
    return bool(tab.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))
