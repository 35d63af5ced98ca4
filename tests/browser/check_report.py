"""Looks at a report in a real browser, Debian's chromium without a window.

> python tests/browser/check_report.py browser

Makes a corpus, trains two small models with two seeds each, evaluates them and
makes the report, all in the folder; what is there already is not made again
(two CPU minutes the first time). Then says what was found, and exits with 1 if
anything is wrong. The screenshots are for people: desktop, phone, and both
without colours; print is what a printer without colours gets.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from small_models import SEPARATION, small_arguments

# A name that would break a page that does not escape it.
MODELS = {"convtasnet": "ConvTasNet, small", "dprnn": 'DPRNN & "co"'}
OPTIONS = {
    **{"number_of_epochs": 6, "batch_size": 4, "training_segment": 1},
    **{"lr": 0.002, "lr_patience": 0},
}
SIZES = {"desktop": (1280, 900), "phone": (360, 740)}
SECTIONS = ("results", "curves", "breakdown", "examples", "runs", "made")
A4_WIDTH = 718  # px at 96 dots an inch, without 1 cm at each side
DURATION = 4  # s, of every player
PATIENCE = 300  # s for any step, on a busy machine
INSTALL = "apt-get install chromium"

# What the page knows about its own parts. Data URIs are decoded for real.
FACTS = """
async () => {
  const players = [...document.querySelectorAll('audio')];
  for (const player of players) {
    player.preload = 'auto';
    player.load();
  }
  const ready = (player) => new Promise((resolve) => {
    player.addEventListener('canplaythrough', resolve, {once: true});
    player.addEventListener('error', resolve, {once: true});
    if (player.readyState >= 4) resolve();
  });
  await Promise.all(players.map(ready));
  const play = async (player) => {
    player.muted = true;
    await player.play().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, 400));
    player.pause();
  };
  await Promise.all(players.map(play));
  const box = (element) => {
    const {width, height} = element.getBoundingClientRect();
    return {width, height};
  };
  return {
    overflow: document.documentElement.scrollWidth - window.innerWidth,
    sections: [...document.querySelectorAll('main > section')].map(
      (section) => ({id: section.id, ...box(section)})),
    players: players.map((player) => ({
      label: player.getAttribute('aria-label'),
      duration: player.duration, ready: player.readyState,
      played: player.currentTime,
      error: player.error && player.error.message})),
    pictures: [...document.images].map((image) => ({
      alt: image.alt, complete: image.complete,
      natural: image.naturalWidth, ...box(image)})),
    drawings: [...document.querySelectorAll('.figures img')].map(
      (drawing) => ({label: drawing.alt, ...box(drawing)})),
    small: [...document.querySelectorAll('p, td, th, li, figcaption, summary')]
      .filter((e) => parseFloat(getComputedStyle(e).fontSize) < 14).length,
  };
}
"""


def make_report(folder):
    """Make a report of real runs; what is in the folder is not made again."""
    corpus = folder / "PolSESS_browser"
    sizes = ("--train", 48, "--valid", 8, "--test", 24)
    _run(ROOT / "tools/make_corpus.py", corpus, *sizes)
    runs = []
    for model, name in MODELS.items():
        for seed in (42, 123):
            run = folder / "results" / name / str(seed)
            given = {"data_folder": corpus, "output_folder": run, "seed": seed}
            arguments = small_arguments(model, **given, **OPTIONS)
            _run(SEPARATION / "train.py", *arguments)
            _run(
                *(SEPARATION / "evaluate.py", run, "--device", "cpu"),
                *("--save_audio", 2, "--metrics", "si_sdr", "pesq", "stoi"),
            )
            runs.append(run)
    page = folder / "report.html"
    _run(ROOT / "tools/report.py", *runs, "--output", page)
    return page


def _run(*command):
    """Run a script of the repository; stop if it fails."""
    # Two threads would wait for each other.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *map(str, command)]
    print(f"> {' '.join(command[1:3])} ...", flush=True)
    process = subprocess.run(
        command, env=environment, capture_output=True, text=True
    )
    if process.returncode:
        sys.exit(process.stderr or process.stdout)


def problems_of(facts):
    """List what is wrong with the facts of a page.

    Arguments
    ---------
    facts : dict
        What the script FACTS returned.

    Returns
    -------
    list of str
        A sentence each.
    """
    problems = []
    if facts["overflow"] > 0:
        problems.append(f"the page is {facts['overflow']} px too wide")
    if facts["small"]:
        problems.append(f"{facts['small']} texts smaller than 14 px")
    there = {s["id"] for s in facts["sections"] if s["height"] > 0}
    problems += [f"no section {s}" for s in SECTIONS if s not in there]
    for kind in ("players", "pictures", "drawings"):
        if not facts[kind]:
            problems.append(f"no {kind}")
    problems += [
        f"player {p['label']}: {p['error']}, {p['duration']} s, of which "
        f"{p['played']} s were played"
        for p in facts["players"]
        if p["error"]
        or p["ready"] < 4
        or not p["played"]
        or not p["label"]
        or abs((p["duration"] or 0) - DURATION) > 0.1
    ]
    problems += [
        f"picture {p['alt']!r} is not shown"
        for p in facts["pictures"]
        if not (p["complete"] and p["natural"] and p["width"] and p["alt"])
    ]
    problems += [
        f"drawing {d['label']!r} is not shown"
        for d in facts["drawings"]
        if d["width"] < 200 or d["height"] < 50 or not d["label"]
    ]
    return problems


def look(browser, name, address, folder):
    """Look at the page in a window's size.

    Arguments
    ---------
    browser : playwright.sync_api.Browser
        That looks.
    name : str
        Of SIZES.
    address : str
        Of the page.
    folder : Path
        For screenshots.

    Returns
    -------
    list of str
        What is wrong.
    """
    width, height = SIZES[name]
    page = browser.new_page(viewport={"width": width, "height": height})
    problems, requests = [], []
    page.on("console", lambda m: problems.append(f"console: {m.text}"))
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("requestfailed", lambda r: problems.append(f"failed: {r.url[:80]}"))
    page.on("request", lambda request: requests.append(request.url))
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address, wait_until="load")
    facts = page.evaluate(FACTS)
    problems += problems_of(facts)
    problems += [
        f"fetched {url[:80]}"
        for url in requests
        if url != address and not url.startswith("data:")
    ]
    take_screenshots(page, folder, name)
    devtools = page.context.new_cdp_session(page)
    devtools.send(
        "Emulation.setEmulatedVisionDeficiency", {"type": "achromatopsia"}
    )
    take_screenshots(page, folder, f"{name}-grey")
    if name == "desktop":
        page.emulate_media(media="print")
        page.set_viewport_size({"width": A4_WIDTH, "height": height})
        take_screenshots(page, folder, "print")
    page.close()
    print(
        f"{name}, {width} x {height}: {len(facts['players'])} players, "
        f"{len(facts['pictures'])} pictures, {len(facts['drawings'])} "
        f"drawings, {len(requests)} requests"
    )
    return [f"{name}: {problem}" for problem in problems]


def take_screenshots(page, folder, name):
    """Take a picture of the page's head and of each section."""
    page.screenshot(path=folder / f"{name}-head.png")
    for section in page.query_selector_all("main > section"):
        anchor = section.get_attribute("id")
        section.screenshot(path=folder / f"{name}-{anchor}.png")


def main():
    """Make a report in the folder that the command line names; check it."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="made if missing")
    folder = parser.parse_args().folder.resolve()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        sys.exit(f"Error: there is no chromium; as root: {INSTALL}")
    address = make_report(folder).as_uri()
    screenshots = folder / "screenshots"
    screenshots.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            # root, as in containers, has no sandbox
            args=["--no-sandbox"],
        )
        problems = [
            problem
            for name in SIZES
            for problem in look(browser, name, address, screenshots)
        ]
        browser.close()
    for problem in problems:
        print(f"Error: {problem}", file=sys.stderr)
    print(f"Screenshots are in {screenshots}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
