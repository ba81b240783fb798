"""The HTML report: self-contained, complete, and without an error in a browser."""

import json
import re
import shutil
import subprocess

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


CHROMIUM = shutil.which("chromium")


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)")
def test_every_result_of_every_category_opens_in_a_browser_without_an_error(report, tmp_path):
    page = tmp_path / "report.html"
    before, after = report.read_text().rsplit("</body>", 1)
    walk = (ROOT / "tests" / "report_walk.js").read_text()
    page.write_text(f"{before}<script>{walk}</script></body>{after}")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--enable-logging=stderr",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=60000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
    )
    errors = [line for line in done.stderr.splitlines() if "CONSOLE" in line and ("Error" in line or "error" in line)]
    assert not errors, errors
    walked = json.loads(re.findall(r'<script id="walked"[^>]*>(.*?)</script>', done.stdout, re.DOTALL)[-1])
    assert {seen["category"] for seen in walked} == set(CATEGORIES)
    for seen in walked:
        assert seen["pages"] == 1 or (len(seen["widths"]) == 1 and seen["widths"][0] > 300), seen
