"""A person at a page of this machine: two episodes side by side, four buttons and keys."""

from __future__ import annotations

import base64
import hmac
import json
import queue
import secrets
import threading
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from ._oracles import HumanOracle
from ._trajectory import Trajectory

LONGEST_ANSWER = 1_024  # bytes
SIGNATURES = {b"\x89PNG": "image/png", b"GIF8": "image/gif", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True)
class _Question:
    number: int
    views: tuple[dict[str, str], dict[str, str]]


class BrowserOracle:
    """A person in a browser on this machine. Keys or buttons: 1, 2, = (equal), s (skip).

    The page is served on the loopback address only, to whoever has the key in its address; it shows one question at a time, and an
    answer counts for the question that it was given to. A call waits until there is one.

    Args:
        render: from a trajectory to what is shown: a text; an SVG text (beginning with `<svg`), which may move; or the bytes of a PNG,
            GIF or JPEG picture. `cart_pole_film` is one for CartPole.
        port: 0 takes a free one.
        opens: open the page in the default browser at the first question.
        show: is told the page's address at the first question.
        timeout: seconds to wait for an answer, then TimeoutError; None waits for ever. The question stays open in the agent.

    Attributes:
        url: the page, with its key.

    Close it with `close()`, or use it in a `with` block.

    >>> from urllib.request import Request, urlopen
    >>> def a_person():
    ...     with urlopen(oracle.url.replace("/?", "/question?")) as reply:
    ...         asked = json.load(reply)
    ...     answer = json.dumps({"number": asked["number"], "answer": "2"}).encode()
    ...     urlopen(Request(oracle.url.replace("/?", "/answer?"), answer)).close()
    >>> oracle = BrowserOracle(lambda t: f"{len(t)} steps", opens=False, show=lambda text: threading.Thread(target=a_person).start())
    >>> import numpy as np
    >>> oracle(Trajectory(np.arange(3), np.zeros(2, int)), Trajectory(np.arange(5), np.zeros(4, int)))
    0.0
    >>> oracle.close()
    """

    def __init__(self, render: Callable[[Trajectory], str | bytes], *, port: int = 0, opens: bool = True, timeout: float | None = None,
                 show: Callable[[str], Any] = print) -> None:
        if not callable(render):
            raise TypeError(f"render is {render!r}: a function from a trajectory to a text or a picture is needed")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout is {timeout}: seconds above 0 are needed, or None")
        self.render, self.opens, self.timeout, self.show = render, opens, timeout, show
        self.key = secrets.token_urlsafe(16)
        self.answered = 0
        self._question: _Question | None = None
        self._asked = 0
        self._lock = threading.Lock()
        self._answers: queue.Queue[float | None] = queue.Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread: threading.Thread | None = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/?key={self.key}"

    def __call__(self, first: Trajectory, second: Trajectory) -> float | None:
        if self._thread is None:
            raise ValueError("this oracle is closed: make another one")
        views = _view(self.render(first)), _view(self.render(second))
        with self._lock:
            self._asked += 1
            self._question = _Question(self._asked, views)
        if self._asked == 1:
            self.show(f"Questions are put on {self.url}")
            if self.opens:
                webbrowser.open(self.url)
        try:
            return self._answers.get(timeout=self.timeout)
        except queue.Empty:
            late = f"nobody answered within {self.timeout:g} seconds; the question stays open: run on to put it again"
            raise TimeoutError(late) from None
        finally:
            with self._lock:
                self._question = None
                while not self._answers.empty():  # one given in the instant after the wait ended
                    self._answers.get_nowait()

    def close(self) -> None:
        """Stop serving the page."""
        if self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    # ------------------------------------------------------------ what the page asks for

    def _state(self) -> dict[str, Any]:
        with self._lock:
            shown = {} if self._question is None else {"number": self._question.number, "views": self._question.views}
            return {"answered": self.answered} | shown

    def _take(self, number: object, answer: object) -> bool:
        """Whether the answer was to the question that is open."""
        with self._lock:
            is_open = self._question is not None and number == self._question.number
            if not is_open or not isinstance(answer, str) or answer not in HumanOracle.ANSWERS:
                return False
            self._question = None
            self.answered += 1
            self._answers.put(HumanOracle.ANSWERS[answer])
            return True


def _view(shown: object) -> dict[str, str]:
    """What the page puts into its place: a text as text, a picture as the source of an image, in which no script runs.

    Raises:
        TypeError: neither.
    """
    if isinstance(shown, bytes):
        kind = next((kind for start, kind in SIGNATURES.items() if shown.startswith(start)), None)
        if kind is None:
            raise TypeError("render gave bytes that begin as no PNG, GIF or JPEG picture does")
        return {"image": f"data:{kind};base64,{base64.b64encode(shown).decode()}"}
    if not isinstance(shown, str):
        raise TypeError(f"render gave {type(shown).__name__}: a text, or the bytes of a picture, is needed")
    if shown.lstrip().startswith("<svg"):
        return {"image": "data:image/svg+xml;base64," + base64.b64encode(shown.encode()).decode()}
    return {"text": shown}


def _handler(oracle: BrowserOracle) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30

        def do_GET(self) -> None:
            path = self._allowed()
            if path == "/":
                self._reply(200, PAGE.encode(), "text/html; charset=utf-8")
            elif path == "/question":
                self._reply(200, json.dumps(oracle._state()).encode(), "application/json")
            elif path is not None:
                self._reply(404, b"not here", "text/plain")

        def do_POST(self) -> None:
            if (path := self._allowed()) is None:
                return
            if path != "/answer":
                self._reply(404, b"not here", "text/plain")
                return
            length = self.headers.get("Content-Length", "")
            if not length.isdecimal() or int(length) > LONGEST_ANSWER:
                self._reply(413, b"an answer is shorter than that", "text/plain")
                return
            try:
                given = json.loads(self.rfile.read(int(length)))
                taken = oracle._take(given["number"], given["answer"])
            except (ValueError, TypeError, KeyError, RecursionError):
                self._reply(400, b"not an answer", "text/plain")
                return
            self._reply(200 if taken else 409, b"{}", "application/json")

        def _allowed(self) -> str | None:
            """The path asked for; None, and a refusal, without the key or under another host's name."""
            asked = urlsplit(self.path)
            key = parse_qs(asked.query).get("key", [""])[0]
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            if host not in ("127.0.0.1", "localhost") or not hmac.compare_digest(key.encode(), oracle.key.encode()):
                self._reply(403, b"open the address that was printed, with its key", "text/plain")
                return None
            return asked.path

        def _reply(self, code: int, body: bytes, kind: str) -> None:
            self.send_response(code)
            for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store"),
                                ("Referrer-Policy", "no-referrer"), ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"),
                                ("Content-Security-Policy", POLICY)):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the terminal belongs to the run."""

    return Handler


POLICY = ("default-src 'none'; img-src data:; connect-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
          "base-uri 'none'; form-action 'none'")

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Which is better?</title>
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
#pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid #8888; border-radius: .5rem; padding: 1rem; overflow: auto; }
img { width: 100%; height: auto; } pre { margin: 0; font: .85rem/1.4 ui-monospace, monospace; }
p { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; }
button { font: inherit; padding: .5rem 1rem; } kbd { opacity: .7; }
</style></head><body>
<h1>Which is better?</h1>
<div id="pair"><figure aria-label="first"></figure><figure aria-label="second"></figure></div>
<p id="answers"><button data-answer="1">The first <kbd>1</kbd></button><button data-answer="2">The second <kbd>2</kbd></button>
<button data-answer="=">Equal <kbd>=</kbd></button><button data-answer="s">Skip <kbd>s</kbd></button></p>
<p id="state" role="status" aria-live="polite"></p>
<script>
const key = new URLSearchParams(location.search).get("key");
const places = [...document.querySelectorAll("figure")], state = document.getElementById("state");
let open = null;
function show(view, place) {
  const element = document.createElement(view.image ? "img" : "pre");
  if (view.image) { element.src = view.image; element.alt = place.getAttribute("aria-label") + " episode"; }
  else element.textContent = view.text;
  place.replaceChildren(element);
}
function enable(on) { document.querySelectorAll("button").forEach(b => b.disabled = !on); }
async function look() {
  try {
    const found = await (await fetch("/question?key=" + encodeURIComponent(key))).json();
    if (found.number === undefined) {
      open = null; enable(false); state.textContent = found.answered + " answered. Waiting for the next question.";
    } else if (found.number !== open) {
      open = found.number; found.views.forEach((v, i) => show(v, places[i])); enable(true);
      state.textContent = "Question " + open + ". " + found.answered + " answered.";
    }
  } catch {
    open = null; enable(false); state.textContent = "The run is over, or its connection is gone. It has kept the answers so far.";
  }
  setTimeout(look, 300);
}
async function answer(given) {
  if (open === null) return;
  const number = open; open = null; enable(false);
  const body = JSON.stringify({ number, answer: given });
  await fetch("/answer?key=" + encodeURIComponent(key), { method: "POST", body }).catch(() => {});
}
document.querySelectorAll("button").forEach(b => b.onclick = () => answer(b.dataset.answer));
addEventListener("keydown", e => { if (!e.ctrlKey && !e.metaKey && !e.altKey && ["1", "2", "=", "s"].includes(e.key)) answer(e.key); });
enable(false); look();
</script></body></html>
"""

__all__ = ["BrowserOracle"]
