"""Looks at a search's dashboard in a real browser, as check_report.py does.

> python tests/browser/check_dashboard.py browser

Writes made-up trials into the folder, serves them with `sweep.py dashboard`,
and opens a stage's pages. Then says what was found, and exits with 1 if
anything is wrong. The screenshots are for people.
"""

import math
import shutil
import subprocess
import sys
from pathlib import Path

from check_report import INSTALL, ROOT
from playwright.sync_api import sync_playwright
from small_trials import write_stage

# Page of the first stage -> a text that it shows
PAGES = {
    "": "Intermediate values",
    "/analytics": "Hyperparameter Relationships",
    "/trials?numbers=0": "dprnn-stage1-",
}


def write_trials(folder):
    """Write twelve trials of DPRNN's first stage, with curves."""
    shutil.rmtree(folder, ignore_errors=True)
    write_stage(folder / "dprnn-stage1", [n / 8 for n in range(12)])
    for number, trial in enumerate(sorted(folder.glob("*/trials/*"))):
        rows = ["epoch,valid_si_sdr,seconds"]
        for epoch in range(1, 31):
            value = number / 8 - 6 * math.exp(-epoch / 5)
            rows.append(f"{epoch},{value:.3f},60")
        (trial / "curve.csv").write_text("\n".join(rows) + "\n")


def look(browser, address, folder):
    """Open the pages; return what is wrong."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    problems = []
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on(
        "response",
        lambda r: (
            problems.append(f"{r.status}: {r.url}") if r.status >= 400 else None
        ),
    )
    page.on(
        "request",
        lambda r: (
            problems.append(f"fetched {r.url[:80]}")
            if not r.url.startswith((address, "data:", "blob:"))
            else None
        ),
    )
    for number, (path, text) in enumerate(PAGES.items()):
        page.goto(f"{address}/dashboard/studies/0{path}")
        page.get_by_text(text).first.wait_for(timeout=60_000)
        page.wait_for_timeout(3000)  # for the plots
        shot = folder / f"dashboard-{number}.png"
        page.screenshot(path=shot, full_page=True)
    # What the page itself can ask for is refused.
    status = page.evaluate(
        "fetch('/api/studies/0', {method: 'DELETE'}).then((r) => r.status)"
    )
    problems = [p for p in problems if not p.startswith("403")]
    return problems + ([] if status == 403 else [f"deleted a study: {status}"])


def main(folder):
    """Serve trials in a folder, and look at them."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit(f"Error: there is no chromium; as root: {INSTALL}")
    write_trials(folder / "sweeps")
    screenshots = folder / "screenshots"
    screenshots.mkdir(exist_ok=True)
    command = [sys.executable, ROOT / "tools/sweep.py", "dashboard", "dprnn"]
    command += ["--output", folder / "sweeps", "--port", "8917"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().partition("/dashboard")[0]
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=program, args=["--no-sandbox"]
            )
            problems = look(browser, address, screenshots)
            browser.close()
    finally:
        server.terminate()
        server.wait()
    for problem in problems:
        print(f"Error: {problem}", file=sys.stderr)
    print(f"Dashboard: {len(PAGES)} pages; screenshots are in {screenshots}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
