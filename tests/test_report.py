"""The HTML report: self-contained, complete, and without an error in a browser."""

import json
import re

import browser
import pytest
from conftest import ROOT

CATEGORIES = ("0 Overview", "1 Crystals", "2 Patterns", "3 Training", "4 Evaluation", "5 Detection", "6 Cost")


@pytest.fixture(scope="module")
def report(production):
    path = production.folder / "report.html"
    production.snakemake("--cores", "1", "--report", str(path))
    return path


def test_the_report_has_every_category_and_loads_nothing_from_elsewhere(report):
    text = report.read_text()
    for category in CATEGORIES:
        assert category in text
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']https?://", text)


def test_every_figure_of_the_workflow_has_a_caption_of_its_own():
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    marked = rules.count("report(\n")
    captions = re.findall(r'caption="\.\./report/(\w+\.rst)"', rules)
    assert len(captions) == marked > 10
    for name in captions:
        assert len((ROOT / "workflow" / "report" / name).read_text().split()) > 15, f"{name} explains little"


@browser.needed
def test_every_result_of_every_category_opens_in_a_browser_without_an_error(report, tmp_path):
    page = tmp_path / "report.html"
    before, after = report.read_text().rsplit("</body>", 1)
    walk = (ROOT / "tests" / "report_walk.js").read_text()
    page.write_text(f"{before}<script>{walk}</script></body>{after}")
    made = browser.dom(page.as_uri(), tmp_path / "profile", 60_000)
    walked = json.loads(re.findall(r'<script id="walked"[^>]*>(.*?)</script>', made, re.DOTALL)[-1])
    assert {seen["category"] for seen in walked} == set(CATEGORIES)
    for seen in walked:
        assert seen["pages"] == 1 or (len(seen["widths"]) == 1 and seen["widths"][0] > 300), seen
