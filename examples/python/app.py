"""A tide clock: Python's standard library only, run by Debian's python3."""

import contextlib
import html
import http.server
import json
import math
import os
import signal
import sys
import threading
import time
from urllib.parse import urlsplit

# The Moon comes back to the same place in the sky after 24 h 50 min.
PERIOD = (24 * 60 + 50) * 60 / 2

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tide clock</title>
<style>
body {{ font: 17px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; color: #12263a; background: #f4f8fb }}
meter {{ width: 100%; height: 2.5rem }} footer {{ color: #5b7083; font-size: .8rem }}
</style>
<h1>The tide is {direction}</h1>
<p><meter min="-1" max="1" value="{height:.2f}"></meter></p>
<p>Next turn in {minutes} minutes. <a href="/api/tide">As JSON</a></p>
<footer>Python {python} · release {release} · instance {instance}</footer>
</html>
"""


def tide(now):
    """Height from -1 to 1, its direction, and the seconds until it turns."""
    phase = (now % PERIOD) / PERIOD
    rising = phase >= 0.5
    return {
        "height": math.cos(2 * math.pi * phase),
        "direction": "rising" if rising else "falling",
        "turns_in": round(((1.0 if rising else 0.5) - phase) * PERIOD),
    }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or an answer waits for the client's acknowledgement
    wbufsize = -1  # head and body leave together

    def do_GET(self):
        with self.server.answering():
            self.route()

    do_HEAD = do_GET

    def route(self):
        path = urlsplit(self.path).path
        if path == "/healthz":
            self.answer(200, "text/plain", "ok\n")
        elif path == "/api/tide":
            self.answer(200, "application/json", json.dumps(tide(time.time())) + "\n")
        elif path == "/":
            now = tide(time.time())
            self.answer(200, "text/html; charset=utf-8", PAGE.format(
                direction=now["direction"], height=now["height"], minutes=now["turns_in"] // 60,
                python=sys.version.split()[0], release=html.escape(self.release), instance=html.escape(self.instance)))
        else:
            self.answer(404, "text/plain", "not found\n")

    @property
    def release(self):
        return os.environ.get("TIDE_RELEASE", "none")

    @property
    def instance(self):
        return os.environ.get("TIDE_INSTANCE", "local")

    def answer(self, status, kind, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Release", self.release)
        self.send_header("X-Instance", self.instance)
        if self.server.leaving.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, template, *args):
        print(self.address_string(), template % args, flush=True)


class Server(http.server.ThreadingHTTPServer):
    """Counts what it is answering, so that it can leave when there is nothing."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address):
        super().__init__(address, Handler)
        self.leaving = threading.Event()
        self._changed = threading.Condition()
        self._answering = 0

    @contextlib.contextmanager
    def answering(self):
        with self._changed:
            self._answering += 1
        try:
            yield
        finally:
            with self._changed:
                self._answering -= 1
                self._changed.notify_all()

    def leave(self, grace):
        """Finishes what is being answered, then makes serve_forever return."""
        self.leaving.set()
        with self._changed:
            self._changed.wait_for(lambda: self._answering == 0, timeout=grace)
        self.shutdown()


def main():
    server = Server((os.environ.get("HOST", ""), int(os.environ.get("PORT", "3000"))))

    def leave(*_):
        threading.Thread(target=server.leave, args=(9,), daemon=True).start()

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    print("listening on port", server.server_address[1], flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
