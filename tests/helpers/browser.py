"""Pages in headless Chromium: what they say on the console, what they ask for, and what axe-core finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).parents[1] / "node_modules" / "axe-core" / "axe.min.js"
WIDE, PHONE, PAPER = (1400, 900), (390, 844), (720, 1000)


@dataclass
class Visit:
    """An open page, and what it has said and asked for so far; `said` holds errors and warnings alone."""

    page: Page
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def first_paint(self) -> float:
        """Milliseconds from the navigation to the first content, by the page's performance timeline."""
        script = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        return float(self.page.evaluate(script))

    def loaded(self) -> float:
        """Milliseconds from the navigation to the end of loading."""
        return float(self.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))

    def overflow(self) -> int:
        """Pixels that the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))

    def findings(self) -> list[str]:
        """Serious and critical findings of axe-core, one line each."""
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[dict[str, Any]] = self.page.evaluate("axe.run().then((result) => result.violations)")
        return [
            f"{each['id']}: {each['nodes'][0]['target']} {each['nodes'][0]['html'][:200]}"
            for each in found
            if each["impact"] in ("serious", "critical")
        ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """The machine's Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def visit(
    browser: Browser,
    file: Path,
    size: tuple[int, int] = WIDE,
    theme: Literal["light", "dark"] = "light",
) -> Visit:
    """Open a file in a window of a size, in a theme, and let it draw."""
    width, height = size
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme)
    opened = Visit(page)
    page.on(
        "console", lambda message: opened.said.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: opened.said.append(str(error)))
    page.on("request", lambda request: opened.requests.append(request.url))
    page.goto(file.resolve().as_uri())
    page.wait_for_timeout(300)
    return opened
