"""A worker that stays up: it takes runs over HTTP, one at a time. Python's standard library only."""

import json
import os
import signal
import threading
import time
import urllib.request

RUNNER = os.environ.get("TIDE_INSTANCE", "local")
QUEUES = [queue for queue in os.environ.get("TIDE_QUEUES", "").split(",") if queue]
leaving = threading.Event()


def work(payload):
    """What there is to do."""
    return {"words": len(payload["text"].split())}


def post(path, body):
    headers = {"Authorization": "Bearer " + os.environ["TIDE_TOKEN"], "Content-Type": "application/json"}
    request = urllib.request.Request(os.environ["TIDE_API"] + "/" + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def hold(run, beat, done):
    """Renews the lease until done. Without it nothing of the run may go on, nor can a thread be ended."""
    answered = time.monotonic()
    while not done.wait(beat):
        sent = time.monotonic()
        try:
            standing = post("leases/heartbeat", {"runner": RUNNER, "runs": [run]})["runs"][0]
            answered = sent
        except OSError:
            standing = {"held": time.monotonic() - answered < 2 * beat}
        if not done.is_set() and (not standing["held"] or standing.get("cancel")):
            os._exit(1)  # the platform starts another


def carry_out(leased, beat):
    run = {"run": leased["run"], "fence": leased["fence"]}
    done = threading.Event()
    threading.Thread(target=hold, args=(run, beat, done), daemon=True).start()
    try:
        end = {**run, "verdict": "succeeded", "result": work(leased.get("payload"))}
    except Exception as error:
        end = {**run, "verdict": "failed", "reason": repr(error)}
    done.set()
    for _ in range(30):  # seconds: then the lease is over
        try:
            return post("leases/complete", {"runs": [end]})
        except OSError as error:
            print("complete:", error, flush=True)
            time.sleep(1)


def main():
    signal.signal(signal.SIGTERM, lambda *_: leaving.set())
    while not leaving.is_set():
        try:  # It is not cut short by the end: the answer may hold a run.
            leased = post("leases", {"runner": RUNNER, "queues": QUEUES, "wait_seconds": 10, "started": True})
        except OSError as error:
            print("lease:", error, flush=True)
            leaving.wait(1)
            continue
        for run in leased["runs"]:
            carry_out(run, leased["beat_seconds"])
        if leased.get("drain"):  # another release has taken over
            return


if __name__ == "__main__":
    main()
