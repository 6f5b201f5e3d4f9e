"""The report in a browser: quiet, alone, small, quick, by keyboard, on a phone and on paper, and for everyone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hybrid_al.bench.page import write_page
from hybrid_al.bench.tables import Table
from hybrid_al.bench.verdict import verdict
from hybrid_al.report.page import Pictures, RunView, write_report
from tests.helpers.browser import AXE, CHROMIUM, PAPER, PHONE, chromium, visit
from tests.helpers.fake_run import fake_run, thumbnail
from tests.unit.bench.test_bench_page import USUAL

if TYPE_CHECKING:
    from playwright.sync_api import Browser

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no {CHROMIUM}")]
with_axe = pytest.mark.skipif(not AXE.exists(), reason="no axe-core: make axe")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of 5 rounds x 5 seeds x 100 picks with names that try to break out, and a comparison."""
    root = tmp_path_factory.mktemp("pages")
    classes = (EVIL, "effusion", "no 'finding'", "{{ 7 * 7 }}", "&amp;")
    common = {
        "pool": 900,
        "budgets": (100,) * 5,
        "classes": classes,
        "ids": {i: f"{i}{EVIL}" for i in range(0, 900, 3)},
    }
    runs = [RunView.read(fake_run(root / f"s{seed}", seed=seed, **common)) for seed in range(5)]  # type: ignore[arg-type]
    other = [RunView.read(fake_run(root / f"r{s}", seed=s, strategy="random", **common)) for s in range(2)]  # type: ignore[arg-type]
    pictures = [Pictures(lambda i, _: thumbnail(i), dict.fromkeys(range(900), classes[1]))] * 5
    return {
        "report": write_report(runs, root / "report", pictures=pictures, standing="next: hybrid-al run x"),
        "comparison": write_report([*runs[:2], *other], root / "comparison", verdict=verdict),
        "bench": bench_page(root),
    }


def bench_page(root: Path) -> Path:
    """The page of a bench of two variants with a table."""
    table = Table("AUBC", "in points", ("arm", "call"), (("entropy", "tie"), (EVIL, "better")))
    variants = {"a": USUAL, EVIL: USUAL}
    return write_page(root / "bench.html", "a bench", variants, [table], metric="test/auroc")


def test_it_is_quiet_alone_small_and_quick(browser: Browser, pages: dict[str, Path]) -> None:
    assert pages["report"].stat().st_size < 8_000_000
    for file in pages.values():
        opened = visit(browser, file)
        assert opened.said == []
        assert [url for url in opened.requests if not url.startswith("data:")] == [file.as_uri()]
        assert opened.first_paint() < 2000
        opened.page.close()


def test_picks_are_filtered_and_opened_by_keyboard(browser: Browser, pages: dict[str, Path]) -> None:
    page = visit(browser, pages["report"]).page
    assert "2500 of 2500 picks" in page.locator("#gallery-count").inner_text()
    page.select_option("#pick-round", "3")
    page.select_option("#pick-seed", "2")
    assert page.locator("#gallery-count").inner_text().startswith("100 of 2500 picks")
    page.locator("#gallery button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.locator("#pick-dialog[open] #pick-facts").inner_text().replace("\n", " ").startswith("Round 3 Rank 1 ")
    page.keyboard.press("ArrowRight")
    assert "Rank\n2" in page.locator("#pick-facts").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#pick-dialog[open]").count() == 0
    page.select_option("#pick-class", EVIL)
    assert set(page.locator("#gallery .chip").all_inner_texts()) == {EVIL}
    page.close()


def test_menus_legends_themes_and_the_map_work(browser: Browser, pages: dict[str, Path]) -> None:
    opened = visit(browser, pages["report"])
    page = opened.page
    ink = "getComputedStyle(document.body).color"
    light = page.evaluate(ink)
    page.click("#theme")
    page.click("#theme")
    assert page.evaluate(ink) != light
    before = page.locator("[data-spec=curve-spec] svg").inner_html()
    page.select_option("#curve-menu", index=1)
    assert page.locator("[data-spec=curve-spec] svg").inner_html() != before
    paths = page.locator("[data-spec=operating-spec] path").count()
    page.locator(".legend button", has_text="specificity").click()
    assert page.locator("[data-spec=operating-spec] path").count() < paths
    page.select_option("#map-color", "uncertainty")
    assert page.locator("#map-legend span").count() == 3
    assert opened.said == []
    page.close()


@pytest.mark.parametrize("name", ["report", "comparison", "bench"])
def test_nothing_is_cut_off_on_a_phone_and_on_paper(browser: Browser, pages: dict[str, Path], name: str) -> None:
    phone = visit(browser, pages[name], PHONE)
    assert phone.overflow() == 0
    phone.page.close()
    paper = visit(browser, pages[name], PAPER)
    paper.page.emulate_media(media="print")
    assert paper.overflow() == 0
    wide = "[...document.querySelectorAll('table')].filter((t) => t.scrollWidth > document.body.clientWidth + 1).length"
    assert paper.page.evaluate(wide) == 0
    paper.page.close()


@with_axe
@pytest.mark.parametrize("name", ["report", "comparison", "bench"])
def test_axe_finds_nothing_serious_in_either_theme(browser: Browser, pages: dict[str, Path], name: str) -> None:
    for theme in ("light", "dark"):
        opened = visit(browser, pages[name], theme=theme)
        opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert opened.findings() == []
        opened.page.close()
