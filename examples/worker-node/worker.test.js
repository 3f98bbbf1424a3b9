import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import http from 'node:http';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const script = fileURLToPath(new URL('worker.js', import.meta.url));

// platform gives one run to the worker; answer tells what else it says.
async function platform(t, answer) {
  const asked = [];
  const server = http.createServer(async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const question = { path: request.url, token: request.headers.authorization, body: JSON.parse(text) };
    asked.push(question);
    const given = answer(question, asked.length);
    response.writeHead(given ? 200 : 503).end(JSON.stringify(given ?? {}));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  const worker = spawn(process.execPath, [script], {
    env: {
      ...process.env, TIDE_API: `http://127.0.0.1:${server.address().port}/env`, TIDE_TOKEN: 'secret',
      TIDE_INSTANCE: 'worker-1-abcde', TIDE_QUEUES: 'default,mail',
    },
  });
  t.after(() => worker.kill('SIGKILL'));
  return { asked, worker };
}

const run = { run: 'r1', fence: 7, attempt: 1, queue: 'default', payload: { text: 'a b c' } };
const nothing = (drain) => ({ runs: [], drain, beat_seconds: 10 });

test('a run is carried out, its end is told until it is heard, and the worker leaves after another release took over', async (t) => {
  const { asked, worker } = await platform(t, ({ path }, count) => {
    if (path === '/env/leases/complete') return count === 2 ? null : { accepted: [true] };
    return count === 1 ? { runs: [run], beat_seconds: 10 } : nothing(true);
  });
  const [code] = await once(worker, 'exit');
  assert.equal(code, 0);
  assert.deepEqual(asked.map(({ path }) => path), ['/env/leases', '/env/leases/complete', '/env/leases/complete', '/env/leases']);
  assert.deepEqual(asked[0].body, { runner: 'worker-1-abcde', queues: ['default', 'mail'], wait_seconds: 10, started: true });
  assert.equal(asked[0].token, 'Bearer secret');
  assert.deepEqual(asked[2].body, { runs: [{ run: 'r1', fence: 7, verdict: 'succeeded', result: { words: 3 } }] });
});

test('what fails is told with its reason', async (t) => {
  const { asked, worker } = await platform(t, ({ path }, count) => {
    if (path === '/env/leases/complete') return { accepted: [true] };
    return count === 1 ? { runs: [{ ...run, payload: {} }], beat_seconds: 10 } : nothing(true);
  });
  await once(worker, 'exit');
  assert.equal(asked[1].body.runs[0].verdict, 'failed');
  assert.match(asked[1].body.runs[0].reason, /TypeError/);
});

test('on SIGTERM it exits 0', async (t) => {
  let told;
  const waits = new Promise((resolve) => { told = resolve; });
  const { worker } = await platform(t, () => {
    told();
    return nothing(false);
  });
  await waits;
  worker.kill('SIGTERM');
  const [code] = await once(worker, 'exit');
  assert.equal(code, 0);
});
