"""The report in a real browser without a network: quiet, accessible, legible, as drawn."""

import io
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from experiments import claims, registry, report
from experiments.report import VERDICTS
from tests.pipeline.report_page import DRAWN, write

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")

FLAGS = (
    *("--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LOOKS = [
    pytest.param("light", WIDE, id="light-1280"),
    pytest.param("dark", NARROW, id="dark-360"),
    pytest.param("light", NARROW, id="light-360", marks=pytest.mark.slow),
    pytest.param("dark", WIDE, id="dark-1280", marks=pytest.mark.slow),
]
ALONE = "body { margin: 0 } svg { display: block; width: 504px; height: auto }"
STRAY = "[...document.querySelectorAll('math, h2, p, figure')].filter(e => !e.closest('.scroll')"
STRAY += " && e.getBoundingClientRect().right > innerWidth).map(e => e.textContent)"


@pytest.fixture(scope="module")
def chromium():
    """A headless browser with a profile of its own, that may be root's."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    flags = [*FLAGS, "--no-sandbox"] if os.getuid() == 0 else FLAGS
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


def _few(out):
    """Some of all verdicts, two of every kind: axe takes 15 s for the colours of all."""
    found = claims.evaluate(out)
    found += [replace(v, verdict="refuted", reason="So it is.") for v in found[:2]]
    found[-2:] = [replace(v, id=f"{v.id}-not") for v in found[-2:]]
    return [v for kind in VERDICTS for v in [v for v in found if v.verdict == kind][:2]]


@pytest.fixture(scope="module")
def path(chromium, tmp_path_factory):
    return write(tmp_path_factory.mktemp("report") / "out", judge=_few)


@pytest.fixture
def opened(chromium, path):
    """Open a page offline in some look; to the end nothing is said, nor asked for but the page."""
    contexts, said, wanted = [], [], []

    def load(scheme, size, file=path):
        context = chromium.new_context(color_scheme=scheme, viewport=size, offline=True)
        contexts.append(context)
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto(file.as_uri())
        wanted.append(file.as_uri())
        return page

    yield load
    for context in contexts:
        context.close()
    assert said == wanted


@pytest.mark.parametrize(("scheme", "size"), LOOKS)
def test_no_accessibility_rule_is_violated_and_nothing_is_said(opened, scheme, size):
    found = axe.Axe().run(opened(scheme, size))
    assert found.violations_count == 0, found.generate_report()
    checked = {rule["id"] for rule in found.response["passes"]}
    assert {"color-contrast", "heading-order", "svg-img-alt", "landmark-unique"} <= checked
    assert ("scrollable-region-focusable" in checked) is (size is NARROW)


@pytest.mark.slow
def test_the_page_of_the_paper_tables_is_accessible_and_quiet(opened, tmp_path):
    file = write(tmp_path / "out", "paper", tuple(registry.EXPERIMENTS))
    found = axe.Axe().run(opened("light", NARROW, file))
    assert found.violations_count == 0, found.generate_report()


def test_axe_sees_what_is_wrong(opened, tmp_path):
    """Else the checks above could not fail."""
    file = tmp_path / "bad.html"
    file.write_text("<!doctype html><h1>One</h1><h3>Two</h3><img><p style='color:#eee'>Three")
    found = {
        rule["id"] for rule in axe.Axe().run(opened("light", WIDE, file)).response["violations"]
    }
    assert {"color-contrast", "heading-order", "html-has-lang", "image-alt"} <= found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_tables_but_not_the_page(opened, scheme):
    page = opened(scheme, NARROW)
    assert page.evaluate("document.documentElement.scrollWidth") == NARROW["width"]
    assert page.evaluate(STRAY) == []
    region = page.locator(".scroll").first
    assert region.evaluate("e => e.scrollWidth > e.clientWidth")
    region.focus()
    page.keyboard.press("ArrowRight")
    _until(page, "document.querySelector('.scroll').scrollLeft > 0")


def test_the_first_key_reaches_the_way_to_the_verdicts_and_focus_is_seen(opened):
    page = opened("light", WIDE)
    page.keyboard.press("Tab")
    link = page.locator(".skip")
    assert link.evaluate("e => e === document.activeElement")
    assert link.bounding_box()["x"] >= 0
    assert link.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    _until(page, "Math.abs(document.querySelector('#verdicts').getBoundingClientRect().top) < 60")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "scroll"


def test_dark_is_dark_and_pictures_stand_on_white(opened):
    colour = "e => getComputedStyle(e).backgroundColor"
    for scheme, bright in (("light", True), ("dark", False)):
        page = opened(scheme, WIDE)
        back = page.locator("body").evaluate(colour)
        assert (min(map(int, back.strip("rgb()").split(","))) > 128) is bright
        assert page.locator("figure").first.evaluate(colour) == "rgb(255, 255, 255)"


def test_formulas_are_laid_out(opened):
    """Numerator over denominator, and the limits of a sum below it."""
    page = opened("light", WIDE)
    over, under = (
        page.locator(f"mfrac > :nth-child({n})").first.bounding_box()["y"] for n in (1, 2)
    )
    assert over < under
    sign, limit = (
        page.locator(f"munder > :nth-child({n})").first.bounding_box()["y"] for n in (1, 2)
    )
    assert sign < limit


def test_print_has_no_navigation_and_cuts_no_table(opened):
    page = opened("dark", {"width": 794, "height": 1123})
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    cut = "es => es.filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert page.locator(".scroll").evaluate_all(cut) == 0
    assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") in (
        *("rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"),
    )


def test_pictures_in_the_page_look_as_they_were_drawn(opened, chromium, path):
    """Rounded, shared and renamed, against the file itself: hardly a pixel is another."""
    page, plain = opened("light", WIDE), chromium.new_page(viewport=WIDE)
    shapes = page.locator(".shapes").evaluate("e => e.outerHTML")
    pictures = page.locator("figure svg").evaluate_all("es => es.map(e => e.outerHTML)")
    files = [file for name in DRAWN for file in report.figures(path.parent, name)]
    assert len(files) == len(pictures) >= 4
    page.evaluate("document.body.style.padding = 0")
    for file, picture in zip(files, pictures, strict=True):
        frame = "<figure style='padding: 0; border: 0; width: 504px'>"
        page.evaluate(
            "html => document.body.innerHTML = html", f"{frame}{picture}</figure>{shapes}"
        )
        plain.set_content(f"<style>{ALONE}</style>{file.read_text('utf-8').partition('?>')[2]}")
        seen, drawn = (_pixels(p.locator("svg").first.screenshot()) for p in (page, plain))
        assert drawn.std() > 5, f"{file.name} is blank"
        apart = np.abs(seen - drawn)
        assert np.mean(apart) < 0.5, file.name
        assert np.max(apart) <= 96, file.name  # of 255: edges of letters, at most
    plain.close()


def _until(page, condition):
    """Wait for what scrolls; Playwright's own waiting evaluates text, which the page forbids."""
    for _ in range(250):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"after 5 s not {condition}")


def _pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)
