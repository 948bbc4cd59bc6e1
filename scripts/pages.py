#!/usr/bin/env python3
"""Looks at the pages that rldp writes in headless Chromium, and fails on what a reader would stumble over.

usage: pages.py RLDP [--shots DIR] [--keep DIR] [PAGE.html ...]

RLDP is the binary. Without PAGE, tiny runs of the demo's model are made first: a fixed and a SAC run, one of a single step, one
that gets worse, one without privacy, pages of several, and a comparison. --shots also writes what was looked at as PNG, and PDF.

Each page is seen at 1,280 and 390 pixels, light and dark, and as it is printed. Faults are:
  overflow   something reaches beyond the page, or is cut off, outside a box that scrolls and says so; in print, any box that scrolls
  axes       a figure that does not say what its axes are, or is empty
  requests   anything that is fetched beside the page itself
  console    an error of the page's script
  contrast   text with less than 4.5 : 1 to what is behind it
  closed     details that stay closed in print

Before that, a page with each of these faults is shown, so that a test that sees nothing fails. Needs Chromium; nothing else beside
Python's own library: it talks to the browser through a pipe.
"""

import argparse
import base64
import json
import os
import pathlib
import select
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (1280, 390)
HEIGHT = 900
# A4 without its margins of 12 mm, at 96 pixels an inch.
PRINTED = 703

# What is wrong with the page as it is shown now, as lines "kind: where".
LOOK = r"""
(printing) => {
  const faults = [], width = document.documentElement.clientWidth;
  const name = e => e.tagName.toLowerCase() + (e.className && e.className.baseVal === undefined ? '.' + e.className : '')
    + ' "' + (e.textContent || '').trim().replace(/\s+/g, ' ').slice(0, 40) + '"';
  const shown = e => e.checkVisibility({ contentVisibilityAuto: true, opacityProperty: true, visibilityProperty: true });
  const scrolls = e => ['auto', 'scroll'].includes(getComputedStyle(e).overflowX);
  const boxed = e => { for (let p = e.parentElement; p; p = p.parentElement) if (scrolls(p)) return p; return null; };
  for (const e of document.body.querySelectorAll('*')) {
    if (!shown(e)) continue;
    const box = e.getBoundingClientRect(), inSvg = e.ownerSVGElement;
    if (!box.width && !box.height) continue;
    const outer = inSvg ? inSvg.getBoundingClientRect() : { left: 0, right: width };
    if (!(inSvg ? false : boxed(e)) && e.tagName !== 'title' && (box.right > outer.right + 1 || box.left < outer.left - 1))
      faults.push(`overflow: ${name(e)} from ${box.left.toFixed(0)} to ${box.right.toFixed(0)} of ${outer.right.toFixed(0)}`);
    const wider = !inSvg && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0;
    const overflow = getComputedStyle(e).overflowX;
    if (wider && ['hidden', 'clip'].includes(overflow)) faults.push(`overflow: ${name(e)} is cut off`);
    if (wider && scrolls(e)) {
      const hint = e.previousElementSibling;
      if (printing) faults.push(`overflow: ${name(e)} scrolls on paper`);
      else if (!(hint && hint.matches('.hint') && shown(hint))) faults.push(`overflow: ${name(e)} scrolls and does not say so`);
    }
  }
  if (document.documentElement.scrollWidth > width + 1) faults.push('overflow: the page scrolls sideways');

  for (const svg of document.querySelectorAll('svg.figure')) {
    const texts = [...svg.querySelectorAll('text')].map(text => text.textContent.trim());
    const title = svg.getAttribute('aria-label');
    for (const axis of ['x', 'y']) {
      const label = svg.getAttribute('data-' + axis);
      if (!label) faults.push(`axes: "${title}" does not name its ${axis} axis`);
      else if (!texts.includes(label)) faults.push(`axes: "${title}" does not show "${label}"`);
    }
    // Points of a curve, cells of a map, boxes: something beside axes and grid.
    const marks = svg.querySelectorAll('circle, polyline[stroke-width="2"], rect[fill-opacity]').length;
    if (!marks) faults.push(`axes: "${title}" is empty`);
  }

  const parse = text => {
    const n = text.match(/[\d.]+/g).map(Number);
    return text.startsWith('color(srgb') ? [n[0] * 255, n[1] * 255, n[2] * 255, n[3] ?? 1] : [n[0], n[1], n[2], n[3] ?? 1];
  };
  const over = (top, under) => [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = e => {
    const layers = [];
    for (let p = e; p; p = p.parentElement) {
      const colour = parse(getComputedStyle(p).backgroundColor);
      if (colour[3] > 0) layers.push(colour);
      if (colour[3] === 1) break;
    }
    const dark = !printing && matchMedia('(prefers-color-scheme: dark)').matches;
    return layers.reverse().reduce((under, top) => over(top, under), dark ? [18, 18, 18, 1] : [255, 255, 255, 1]);
  };
  const light = colour => {
    const [r, g, b] = colour.map(c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const e = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(e) || ['SCRIPT', 'STYLE', 'title'].includes(e.tagName) || !shown(e)) continue;
    seen.add(e);
    const style = getComputedStyle(e), ground = behind(e);
    const colour = parse(e.ownerSVGElement ? style.fill : style.color);
    let opacity = 1;
    for (let p = e; p; p = p.parentElement) opacity *= getComputedStyle(p).opacity;
    colour[3] *= opacity;
    const [a, b] = [light(over(colour, ground)), light(ground)].sort((a, b) => b - a), ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faults.push(`contrast: ${name(e)} has ${ratio.toFixed(2)} : 1`);
  }

  if (printing) for (const e of document.querySelectorAll('details'))
    for (const inner of e.children) if (inner.tagName !== 'SUMMARY' && !shown(inner)) faults.push(`closed: ${name(e)}`);
  return faults;
}
"""

# Each kind of fault once.
PLANTED = """<!doctype html><html lang="en"><head><meta charset="utf-8"/><title>planted</title><style>
.wide { overflow-x: auto; } .pale { color: #999; background: #fff; } details::details-content { display: none; }</style></head><body>
<div style="width: 1500px">wide</div><div class="wide"><div style="width: 2000px">no hint</div></div><p class="pale">pale</p>
<svg class="figure" aria-label="bare" viewBox="0 0 9 9" width="90" height="90"></svg><details><summary>more</summary><p>inside</p></details>
<img src="http://127.0.0.1:9/x.png" alt=""/><script>throw new Error('planted')</script></body></html>"""
KINDS = {"overflow", "axes", "requests", "console", "contrast", "closed"}


class Browser:
    """Headless Chromium, spoken to through a pipe."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory(prefix="pages-")
        to_read, self.to = os.pipe()
        self.answers, to_write = os.pipe()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
                 f"--user-data-dir={self.folder.name}", "about:blank"]
        # The protocol wants descriptors 3 and 4.
        line = f'exec 3<&{to_read} 4>&{to_write}; exec "$@"'
        self.process = subprocess.Popen(["bash", "-c", line, "bash", program, *flags], pass_fds=(to_read, to_write),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(to_write)
        self.rest, self.count, self.events = b"", 0, []
        target = self.call("Target.createTarget", {"url": "about:blank"}, session=None)["targetId"]
        self.session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True}, session=None)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def message(self, patience=60):
        end = time.monotonic() + patience
        while b"\0" not in self.rest:
            if not select.select([self.answers], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            more = os.read(self.answers, 1 << 16)
            if not more:
                raise ConnectionError("the browser ended")
            self.rest += more
        line, self.rest = self.rest.split(b"\0", 1)
        return json.loads(line)

    def call(self, method, parameters=None, session=""):
        self.count += 1
        sent = {"id": self.count, "method": method, "params": parameters or {}}
        if session is not None:
            sent["sessionId"] = self.session
        os.write(self.to, json.dumps(sent).encode() + b"\0")
        while True:
            found = self.message()
            if found.get("id") == self.count:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']['message']}")
                return found["result"]
            self.events.append(found)

    def evaluate(self, expression):
        found = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True, "awaitPromise": True})
        if "exceptionDetails" in found:
            raise RuntimeError(found["exceptionDetails"]["exception"].get("description", "no reason"))
        return found["result"].get("value")

    def size(self, width, height=HEIGHT):
        self.call("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def media(self, kind, scheme):
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", {"media": kind, "features": features})
        # Two frames later it is drawn so.
        self.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def open(self, address):
        self.events.clear()
        self.call("Page.navigate", {"url": address})
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())

    def faults_of_loading(self, address):
        faults = []
        for event in self.events:
            method, found = event.get("method"), event.get("params", {})
            if method == "Network.requestWillBeSent":
                url = found["request"]["url"]
                if url != address and not url.startswith("data:"):
                    faults.append(f"requests: {url}")
            elif method == "Runtime.exceptionThrown":
                faults.append("console: " + found["exceptionDetails"]["exception"].get("description", "an exception").split("\n")[0])
            elif method == "Runtime.consoleAPICalled" and found["type"] in ("error", "assert"):
                faults.append("console: " + str([one.get("value") for one in found["args"]]))
            elif method == "Log.entryAdded" and found["entry"]["level"] == "error":
                faults.append("console: " + found["entry"]["text"])
        return faults

    def shot(self, path, whole=True):
        found = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self):
        try:
            self.call("Browser.close", session=None)
        except (ConnectionError, TimeoutError):
            pass
        self.process.wait(timeout=20)
        os.close(self.to)
        os.close(self.answers)
        self.folder.cleanup()


def look(browser, address, shots=None):
    """Faults of a page, each with how it was shown."""
    faults = {}

    def note(found, how):
        for fault in found:
            faults.setdefault(fault, how)

    browser.size(WIDTHS[0])
    browser.media("screen", "light")
    browser.open(address)
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            browser.size(width)
            browser.media("screen", scheme)
            how = f"{width}-{scheme}"
            note(browser.evaluate(f"({LOOK})(false)"), how)
            if shots:
                tall = browser.evaluate("document.documentElement.scrollHeight")
                browser.size(width, tall)
                browser.shot(shots.with_name(f"{shots.name}-{how}.png"))
    browser.size(PRINTED)
    browser.media("print", "light")
    note(browser.evaluate(f"({LOOK})(true)"), "printed")
    if shots:
        paper = {"preferCSSPageSize": True, "paperWidth": 8.27, "paperHeight": 11.69}
        shots.with_suffix(".pdf").write_bytes(base64.b64decode(browser.call("Page.printToPDF", paper)["data"]))
    note(browser.faults_of_loading(address), "loading")
    return [f"{how}: {fault}" for fault, how in faults.items()]


def make_pages(rldp, folder):
    """Tiny runs, and what is written about them."""
    model = folder / "model"
    model.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (model / name).write_bytes((ROOT / "assets/demo/model" / name).read_bytes())
    notes = ("chest pain", "a cough", "headache", "fever and chills", "back pain", "a rash", "dizziness")
    line = "{0},\"Patient {0} seen for {1}. Stable; follow-up in {2} weeks.\"\n"
    for name, first, count in (("train.csv", 0, 120), ("eval.csv", 500, 8)):
        lines = [line.format(i, notes[i * i % len(notes)], 1 + i % 5) for i in range(first, first + count)]
        (folder / name).write_text("patient,text\n" + "".join(lines))

    def run(*words):
        done = subprocess.run([rldp, *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            raise SystemExit(f"rldp {' '.join(words)} exited with {done.returncode}:\n{done.stderr}")

    usual = "train --model model --train train.csv --eval eval.csv --unit-column patient --batch-size 24 --max-length 48 --quiet".split()
    private = [*usual, "--epsilon", "6", "--delta", "1e-4"]
    several = ["--steps", "8", "--eval-every", "2", "--interval", "2"]
    run(*private, *several, "--controller", "fixed", "--out", "fixed")
    run(*private, *several, "--controller", "sac", "--out", "sac", "--target-modules", "all-linear")
    run(*private, "--steps", "1", "--controller", "fixed", "--out", "one-step")
    run(*private, *several, "--learning-rate", "1000", "--out", "worse")
    run(*usual, *several, "--unsafe-non-private", "--out", "ceiling")
    run("report", "fixed", "sac", "one-step", "ceiling", "--out", "several.html")
    grid = (ROOT / "grids/small.toml").read_text().replace("demo/", "")
    grid = grid.replace("max_records_per_unit = 2\n", "").replace("steps = 12", "steps = 4").replace("eval_every = 4", "eval_every = 2")
    (folder / "grid.toml").write_text(grid.replace("seed = [1, 2]", "seed = [1, 2, 3]\nlearning_rate = [0.01, 0.02]"))
    run("compare", "grid.toml", "--out", "compared")
    pages = [folder / name / "report.html" for name in ("fixed", "sac", "one-step", "worse", "ceiling", "compared")]
    return [*pages, folder / "several.html"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rldp", type=pathlib.Path)
    parser.add_argument("pages", nargs="*", type=pathlib.Path)
    parser.add_argument("--shots", type=pathlib.Path)
    parser.add_argument("--keep", type=pathlib.Path)
    given = parser.parse_intermixed_args()
    names = [os.environ["RLDP_CHROMIUM"]] if "RLDP_CHROMIUM" in os.environ else BROWSERS
    program = next((path for path in map(shutil.which, names) if path), None)
    if program is None:
        raise SystemExit("no Chromium was found; install one, or name it by RLDP_CHROMIUM")
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or pathlib.Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        planted = pathlib.Path(scratch) / "planted.html"
        planted.write_text(PLANTED)
        pages = [page.resolve() for page in given.pages] or make_pages(given.rldp.resolve(), folder)
        browser = Browser(program)
        try:
            found = look(browser, planted.as_uri())
            missed = KINDS - {fault.split(": ")[1] for fault in found}
            if missed:
                raise SystemExit(f"of the planted faults, the test does not see: {', '.join(sorted(missed))}")
            faults = []
            for page in pages:
                name = page.parent.name if page.name == "report.html" else page.stem
                if given.shots:
                    given.shots.mkdir(parents=True, exist_ok=True)
                shots = given.shots and given.shots / name
                faults += [f"{name}, {fault}" for fault in look(browser, page.as_uri(), shots)]
        finally:
            browser.close()
    for fault in faults[:40]:
        print(fault, file=sys.stderr)
    print(f"{len(pages)} pages, each in 5 forms; {len(faults)} faults; all {len(KINDS)} kinds of planted faults were seen")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
