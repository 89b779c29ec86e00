"""Looks at the report and the evidence page in headless Chromium: three widths, light and dark.

    python -m tests.browser FOLDER [--axe node_modules/axe-core/axe.min.js]

Every picture must be drawn, no request may leave the page, nothing may be wider than the window,
and axe must find nothing serious. Screenshots go to FOLDER. Needs Chromium and its driver (`apt-get
install chromium chromium-driver`), and axe-core from npm for `--axe`.
"""

import argparse
import json
import sys
from contextlib import closing
from pathlib import Path

from dispatcher.store.engine import Store
from dispatcher.store.tables import CAMPAIGN, MESSAGE
from tests.benchmarks.reports import fill
from tests.browser.driver import Browser, browser
from tests.support.after_sending import HOSTILE, run_in
from tests.support.stores import change

WIDTHS = (360, 820, 1280)
#: Pictures of the report.
PICTURES = 7

#: What each picture is: its box, and how many shapes are in it.
_PICTURES = """
return [...document.querySelectorAll('svg.chart')].map(svg => {
  const box = svg.getBoundingClientRect();
  const shapes = [...svg.querySelectorAll('.series path, .series rect')].filter(shape => {
    const style = getComputedStyle(shape), size = shape.getBBox();
    const paint = style.fill !== 'none' || style.stroke !== 'none';
    return paint && (size.width > 0 || size.height > 0);
  });
  return {label: svg.getAttribute('aria-label'), width: box.width, height: box.height,
          shapes: shapes.length};
});
"""
_OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
_AXE = """
const done = arguments[arguments.length - 1];
axe.run().then(found => done(found.violations.map(one => ({id: one.id, impact: one.impact,
  nodes: one.nodes.slice(0, 3).map(node => node.html.slice(0, 160))}))));
"""


def make_pages(folder: Path) -> list[Path]:
    """The pages of a campaign with a hostile name, and of one of its numbers."""
    url = f"sqlite:///{folder / 'browser.db'}"
    campaign_id = fill(url, 20_000, pause_s=1800)
    with closing(Store(url)) as store, store.write() as conn:
        change(conn, CAMPAIGN, CAMPAIGN.c.id == campaign_id, name=HOSTILE, text=f"Hi {HOSTILE}")
        change(conn, MESSAGE, MESSAGE.c.seq % 11 == 0, error=HOSTILE)
    with closing(Store(url)) as store:
        windows = '"mon-sun 09:00-17:45", "mon-sun 17:58-21:00"'
        run = run_in(folder, store, windows=windows, rate=600)
    report, evidence = folder / "report.html", folder / "evidence.html"
    commands = [
        ["campaign", "report", str(campaign_id), "--html", str(report), "--force"],
        ["campaign", "find", "+919800000000", "--html", str(evidence), "--force"],
    ]
    for command in commands:
        ended = run(*command)
        assert ended.code == 0, ended.err
    return [report, evidence]


def look_at(chrome: Browser, page: Path, width: int, scheme: str, axe: str | None) -> list[str]:
    """What is wrong with a page at this width and in this colour scheme."""
    name = f"{page.stem}-{width}-{scheme}"
    chrome.cdp(
        "Emulation.setDeviceMetricsOverride",
        width=width, height=900, deviceScaleFactor=1, mobile=width < 600,
    )  # fmt: skip
    chrome.cdp(
        "Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]
    )
    chrome.requests()
    chrome.open(page)
    asked = [url for url in chrome.requests() if url != page.resolve().as_uri()]
    wrong = [f"{name}: it asked for {url}" for url in asked]
    if (overflow := chrome.execute(_OVERFLOW)) > 0:
        wrong.append(f"{name}: {overflow} pixels wider than the window")
    pictures = chrome.execute(_PICTURES)
    if page.stem == "report" and len(pictures) != PICTURES:
        wrong.append(f"{name}: {len(pictures)} pictures instead of {PICTURES}")
    wrong += [
        f"{name}: the picture {one['label']!r} is empty"
        for one in pictures
        if not one["shapes"] or one["width"] < 200 or one["height"] < 80
    ]
    if axe is not None:
        chrome.execute(axe)
        found = chrome.execute(_AXE, asynchronous=True)
        wrong += [
            f"{name}: axe: {json.dumps(one)}"
            for one in found
            if one["impact"] in {"serious", "critical"}
        ]
    chrome.screenshot(page.with_name(f"{name}.png"))
    return wrong


def main() -> int:
    """Look at every page; 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--axe", type=Path)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    axe = given.axe.read_text("utf-8") if given.axe is not None else None
    wrong: list[str] = []
    looks = 0
    with browser() as chrome:
        for page in make_pages(given.folder):
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    wrong += look_at(chrome, page, width, scheme, axe)
                    looks += 1
            chrome.cdp("Emulation.setEmulatedMedia", media="print", features=[])
            chrome.open(page)
            chrome.screenshot(page.with_name(f"{page.stem}-paper.png"))
            chrome.cdp("Emulation.setEmulatedMedia", media="", features=[])
    print("\n".join(wrong) or f"{looks} looks, nothing is wrong; screenshots in {given.folder}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
