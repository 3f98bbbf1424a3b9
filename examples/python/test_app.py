import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import unittest
import urllib.error
import urllib.request

import app


class TheTide(unittest.TestCase):
    def test_falls_from_high_water_and_rises_from_low_water(self):
        self.assertEqual(app.tide(0)["direction"], "falling")
        self.assertAlmostEqual(app.tide(0)["height"], 1)
        self.assertEqual(app.tide(app.PERIOD * 0.75)["direction"], "rising")
        self.assertAlmostEqual(app.tide(app.PERIOD / 2)["height"], -1)
        self.assertEqual(app.tide(app.PERIOD * 0.75)["turns_in"], round(app.PERIOD / 4))


class TheServer(unittest.TestCase):
    def setUp(self):
        self.server = app.Server(("127.0.0.1", 0))
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = "http://127.0.0.1:%d" % self.server.server_address[1]

    def test_is_healthy_and_names_its_instance(self):
        with urllib.request.urlopen(self.url + "/healthz") as answer:
            self.assertEqual(answer.read(), b"ok\n")
            self.assertEqual(answer.headers["X-Instance"], os.environ.get("TIDE_INSTANCE", "local"))

    def test_shows_the_tide_as_a_page_and_as_json(self):
        with urllib.request.urlopen(self.url) as answer:
            self.assertRegex(answer.read().decode(), "The tide is (rising|falling)")
        with urllib.request.urlopen(self.url + "/api/tide") as answer:
            self.assertIn("turns_in", json.load(answer))

    def test_says_when_there_is_nothing(self):
        with self.assertRaises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(self.url + "/nothing")
        self.assertEqual(caught.exception.code, 404)
        caught.exception.close()


class TheProcess(unittest.TestCase):
    def test_exits_0_on_sigterm_though_a_connection_is_kept_open(self):
        folder = os.path.dirname(os.path.abspath(__file__))
        child = subprocess.Popen(
            [sys.executable, "app.py"], cwd=folder, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "HOST": "127.0.0.1", "PORT": "0"})
        self.addCleanup(child.stdout.close)
        self.addCleanup(child.kill)
        port = int(re.search(r"port (\d+)", child.stdout.readline())[1])
        kept = http.client.HTTPConnection("127.0.0.1", port)
        self.addCleanup(kept.close)
        kept.request("GET", "/healthz")
        self.assertEqual(kept.getresponse().read(), b"ok\n")
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        self.assertEqual(child.wait(timeout=8), 0)
        self.assertLess(time.monotonic() - began, 5)


if __name__ == "__main__":
    unittest.main()
