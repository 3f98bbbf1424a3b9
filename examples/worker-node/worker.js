// A worker that stays up: it takes runs over HTTP, one at a time. Plain Node, no packages.
const { TIDE_API, TIDE_TOKEN, TIDE_INSTANCE = 'local', TIDE_QUEUES = '' } = process.env;

// work is what there is to do. When signal aborts the run is not this worker's
// any more, and nothing of it may go on. It must not block: no beat would go out.
async function work(payload, signal) {
  return { words: payload.text.split(/\s+/).filter(Boolean).length };
}

let leaving = false;
process.on('SIGTERM', () => { leaving = true; });

const pause = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });

async function post(path, body) {
  const answer = await fetch(`${TIDE_API}/${path}`, {
    method: 'POST', body: JSON.stringify(body), signal: AbortSignal.timeout(20_000),
    headers: { Authorization: `Bearer ${TIDE_TOKEN}`, 'Content-Type': 'application/json' },
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function carryOut({ run, fence, payload }, beat) {
  const lost = new AbortController();
  let answered = Date.now();
  const beats = setInterval(async () => {
    const sent = Date.now();
    try {
      const { runs: [standing] } = await post('leases/heartbeat', { runner: TIDE_INSTANCE, runs: [{ run, fence }] });
      answered = sent;
      if (!standing.held || standing.cancel) lost.abort(new Error('the run is cancelled, or another has it'));
    } catch (error) {
      if (Date.now() - answered >= 2 * beat) lost.abort(error);
    }
  }, beat);
  const end = await work(payload, lost.signal).then(
    (result) => ({ run, fence, verdict: 'succeeded', result }),
    (error) => ({ run, fence, verdict: 'failed', reason: String(error) }),
  );
  clearInterval(beats);
  for (let second = 0; second < 30; second++) { // then the lease is over
    try { return await post('leases/complete', { runs: [end] }); } catch (error) { console.error(error.message); }
    await pause(1000);
  }
}

const queues = TIDE_QUEUES.split(',').filter(Boolean);
for (let drain = false; !leaving && !drain;) {
  try { // It is not cut short by the end: the answer may hold a run.
    const leased = await post('leases', { runner: TIDE_INSTANCE, queues, wait_seconds: 10, started: true });
    for (const run of leased.runs) await carryOut(run, leased.beat_seconds * 1000);
    drain = leased.drain ?? false; // another release has taken over
  } catch (error) {
    console.error(error.message);
    await pause(1000);
  }
}
