import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { createServer } from './server.js';

async function serve(t) {
  const server = createServer({ TIDE_RELEASE: '3', TIDE_INSTANCE: 'web-3-abcde' }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.closeAllConnections());
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

test('it is healthy and names its instance', async (t) => {
  const answer = await fetch(`${await serve(t)}/healthz`);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('x-instance'), 'web-3-abcde');
  assert.equal(await answer.text(), 'ok\n');
});

test('a line that was left is shown, and cannot break the page', async (t) => {
  const url = await serve(t);
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ text: '<b>hello</b>' }) });
  const body = await answer.text();
  assert.equal(answer.status, 200);
  assert.match(body, /&lt;b&gt;hello/);
});

test('what is too long is refused', async (t) => {
  const answer = await fetch(await serve(t), { method: 'POST', body: 'text=' + 'x'.repeat(20_000) });
  assert.equal(answer.status, 413);
});

test('on SIGTERM it exits 0', async () => {
  const script = fileURLToPath(new URL('server.js', import.meta.url));
  const child = spawn(process.execPath, [script], { env: { ...process.env, HOST: '127.0.0.1', PORT: '0' } });
  await once(child.stdout, 'data');
  child.kill('SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 0);
});
