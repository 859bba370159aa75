"""Pages in a real browser: how wide they are, what they are coloured, and how large their letters are.

A page is laid out in frames of given widths, as windows of a headless Chromium are never narrower than 500
pixels; what is found is read off the page that holds the frames. Nothing but the loopback is asked.
"""

import json
import re
import shutil
import subprocess
import threading
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

__all__ = ["look_at"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOLDER = """<!DOCTYPE html><title>frames</title><body><pre id="found"></pre><script>
const found = [], asked = ASKED;
function letters(page) {
  const sizes = [...page.querySelectorAll("main > .figures svg")].flatMap((svg) => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const size = (text) => scale * parseFloat(getComputedStyle(text).fontSize);
    return [...svg.querySelectorAll("text")].map(size);
  });
  return sizes.length ? Math.min(...sizes) : null;
}
for (const [path, width] of asked) {
  const frame = document.createElement("iframe");
  Object.assign(frame, { src: path, width, height: 900 });
  frame.style.border = 0;
  frame.onload = () => setTimeout(() => {
    const page = frame.contentDocument, folded = letters(page);
    const first = page.documentElement.scrollWidth;
    for (const fold of page.querySelectorAll("details")) fold.open = true;
    found.push({
      path, width, before: first, scroll: page.documentElement.scrollWidth, letters: folded,
      paper: getComputedStyle(page.body).backgroundColor, ink: getComputedStyle(page.body).color,
      plots: page.querySelectorAll(".main-svg").length,
      buttons: page.querySelectorAll(".modebar-btn").length, text: page.body.innerText.slice(0, 600),
    });
    document.getElementById("found").textContent = JSON.stringify(found);
  }, 1500);
  document.body.append(frame);
}
</script>"""


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, and the page that holds the frames."""

    holder = ""

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path != "/frames":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.holder.encode())


def look_at(folder, pages, tmp_path, *, widths=(390, 1280), dark=False):
    """What a browser makes of pages of a folder: by page and width, a dictionary.

    The test is skipped where there is no browser.
    """
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        pytest.skip("no chromium on the PATH: what a page looks like is not looked at")
    asked = [[page, width] for page in pages for width in widths]
    handler = type("Handler", (Quiet,), {"holder": HOLDER.replace("ASKED", json.dumps(asked))})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000",
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--virtual-time-budget=15000", "--dump-dom",
        f"http://127.0.0.1:{server.server_address[1]}/frames",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    finally:
        server.shutdown()
        server.server_close()
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found and found[1], done.stderr[-2000:]
    looks = {(look["path"], look["width"]): look for look in json.loads(unescape(found[1]))}
    assert len(looks) == len(asked), (looks.keys(), done.stderr[-2000:])
    return looks
