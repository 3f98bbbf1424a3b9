import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import unittest

FOLDER = os.path.dirname(os.path.abspath(__file__))
RUN = {"run": "r1", "fence": 7, "attempt": 1, "queue": "default", "payload": {"text": "a b c"}}


class Platform(http.server.ThreadingHTTPServer):
    """Asks the test what to answer; None is an error."""

    daemon_threads = True

    def __init__(self, answer):
        self.answer, self.asked = answer, []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, self.headers["Authorization"], body))
        answer = self.server.answer(self.path, len(self.server.asked))
        self.send_response(200 if answer else 503)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


class TheWorker(unittest.TestCase):
    def start(self, answer, program="worker.main()"):
        platform = Platform(answer)
        threading.Thread(target=platform.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(platform.server_close)
        self.addCleanup(platform.shutdown)
        child = subprocess.Popen(
            [sys.executable, "-c", "import worker; " + program], cwd=FOLDER, stdout=subprocess.DEVNULL,
            env={**os.environ, "TIDE_API": "http://127.0.0.1:%d/env" % platform.server_address[1], "TIDE_TOKEN": "secret",
                 "TIDE_INSTANCE": "worker-1-abcde", "TIDE_QUEUES": "default,mail"})
        self.addCleanup(child.kill)
        return platform, child

    def test_carries_a_run_out_and_leaves_when_another_release_took_over(self):
        def answer(path, count):
            if path == "/env/leases/complete":
                return None if count == 2 else {"accepted": [True]}
            return {"runs": [RUN] if count == 1 else [], "drain": count > 1, "beat_seconds": 10}

        platform, child = self.start(answer)
        self.assertEqual(child.wait(timeout=20), 0)
        self.assertEqual([path for path, _, _ in platform.asked],
                         ["/env/leases", "/env/leases/complete", "/env/leases/complete", "/env/leases"])
        self.assertEqual(platform.asked[0][1:], ("Bearer secret", {
            "runner": "worker-1-abcde", "queues": ["default", "mail"], "wait_seconds": 10, "started": True}))
        self.assertEqual(platform.asked[2][2], {"runs": [
            {"run": "r1", "fence": 7, "verdict": "succeeded", "result": {"words": 3}}]})

    def test_ends_at_once_when_a_run_is_not_held_any_more(self):
        def answer(path, count):
            if path == "/env/leases/heartbeat":
                return {"runs": [{"held": count < 4}]}
            return {"runs": [RUN], "beat_seconds": 0.05}

        platform, child = self.start(answer, "import time; worker.work = lambda _: time.sleep(60); worker.main()")
        self.assertEqual(child.wait(timeout=20), 1)
        self.assertEqual([path for path, _, _ in platform.asked], ["/env/leases"] + ["/env/leases/heartbeat"] * 3)

    def test_exits_0_on_sigterm(self):
        waits = threading.Event()

        def answer(path, count):
            waits.set()
            return {"runs": [], "beat_seconds": 10}

        _, child = self.start(answer)
        self.assertTrue(waits.wait(20))
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(timeout=20), 0)


if __name__ == "__main__":
    unittest.main()
