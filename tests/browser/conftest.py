"""A real browser before a real server: the system's own Chromium and the example clinic.

On a machine without Chromium these tests are skipped; in CI they fail instead.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright
from werkzeug.serving import make_server

from example_host import create_app

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"phone": (390, 844), "desktop": (1280, 900)}


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("CI needs Chromium for the browser tests; install the package chromium.")
    if found is None:
        pytest.skip("No Chromium on this machine; install the package chromium to run the browser tests.")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@dataclass(frozen=True)
class Site:
    """The example clinic while it is being served."""

    address: str
    password: str
    """Of the demonstration's staff account."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The example clinic, served from a database of its own with a few cases."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXAMPLE_INSTANCE", str(folder))
        app = create_app()
    filled = app.test_cli_runner().invoke(args=["demo", "--cases", "8"])
    assert filled.exit_code == 0, filled.output
    server = make_server("127.0.0.1", 0, app, threaded=True)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    password = (folder / "demo_password").read_text().strip()
    yield Site(f"http://127.0.0.1:{server.server_port}", password)
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["script", "no-script"])
def script(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def context(browser: Browser, size: str, script: bool) -> Iterator[BrowserContext]:
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, java_script_enabled=script, accept_downloads=True
    )
    yield context
    context.close()


@pytest.fixture
def complaints(context: BrowserContext) -> list[str]:
    """What the browser's console reports as an error, such as a refused style or script."""
    found: list[str] = []

    def failed(request: Request) -> None:
        # Whoever leaves a page aborts the fetching of its icon, which begins after the page is loaded.
        if request.failure != "net::ERR_ABORTED":
            found.append(f"{request.url}: {request.failure}")

    def watch(page: Page) -> None:
        page.on("console", lambda message: found.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: found.append(str(error)))
        page.on("requestfailed", failed)

    context.on("page", watch)
    return found


@pytest.fixture
def gallery(size: str, script: bool) -> Path | None:
    """Where to leave a picture of each page, if INTAKE_SCREENSHOTS names a folder."""
    folder = os.environ.get("INTAKE_SCREENSHOTS")
    if not folder:
        return None
    path = Path(folder) / f"{size}-{'script' if script else 'no-script'}"
    path.mkdir(parents=True, exist_ok=True)
    return path
