// A guest book: plain Node, no packages.
import http from 'node:http';
import { pathToFileURL } from 'node:url';

const MOST_ENTRIES = 200;
const MOST_BYTES = 16 * 1024;

const escapes = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const escape = (text) => text.replace(/[&<>"']/g, (c) => escapes[c]);

const page = (entries, env) => `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Guest book</title>
<style>
body { font: 17px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 2rem auto; padding: 0 1rem; color: #12263a; background: #f4f8fb }
li, form { background: #fff; border: 1px solid #d9e4ec; border-radius: 12px; padding: .7rem 1rem; margin: .6rem 0; list-style: none }
ul { padding: 0 } input { font: inherit; padding: .4rem; width: 70% } button { font: inherit } footer { color: #5b7083; font-size: .8rem }
</style>
<h1>Guest book</h1>
<form method="post" action="/"><input name="text" maxlength="280" required placeholder="Leave a line"> <button>Sign</button></form>
<ul>${entries.map((entry) => `<li>${escape(entry)}</li>`).join('')}</ul>
<footer>Node ${process.versions.node} · release ${escape(env.TIDE_RELEASE ?? 'none')} · instance ${escape(env.TIDE_INSTANCE ?? 'local')}</footer>
</html>
`;

// createServer gives the server; entries are held in memory, so they go with the instance.
export function createServer(env = process.env) {
  const entries = [];

  const send = (response, status, type, body) => {
    response.writeHead(status, {
      'Content-Type': type,
      'Content-Length': Buffer.byteLength(body),
      'X-Release': env.TIDE_RELEASE ?? 'none',
      'X-Instance': env.TIDE_INSTANCE ?? 'local',
    });
    response.end(body);
  };

  const sign = async (request, response) => {
    let body = '';
    for await (const chunk of request) {
      body += chunk;
      if (body.length > MOST_BYTES) {
        return send(response, 413, 'text/plain', 'too long\n');
      }
    }
    const text = (new URLSearchParams(body).get('text') ?? '').trim().slice(0, 280);
    if (text) {
      entries.unshift(text);
      entries.splice(MOST_ENTRIES);
    }
    response.writeHead(303, { Location: '/' }).end();
  };

  return http.createServer((request, response) => {
    const path = new URL(request.url, 'http://localhost').pathname;
    const reading = request.method === 'GET' || request.method === 'HEAD';
    if (reading && path === '/healthz') {
      send(response, 200, 'text/plain', 'ok\n');
    } else if (reading && path === '/') {
      send(response, 200, 'text/html; charset=utf-8', page(entries, env));
    } else if (request.method === 'POST' && path === '/') {
      sign(request, response).catch(() => response.destroy());
    } else {
      send(response, 404, 'text/plain', 'not found\n');
    }
  });
}

// leave lets what is in flight finish, then exits 0.
function leave(server) {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => process.exit(1), 9000).unref();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const server = createServer();
  server.keepAliveTimeout = 120_000; // longer than who sits in front keeps a connection idle
  server.listen(Number(process.env.PORT ?? 3000), process.env.HOST, () => {
    const { address, port } = server.address();
    console.log(`listening on ${address} port ${port}`);
  });
  for (const signal of ['SIGTERM', 'SIGINT']) {
    process.on(signal, () => leave(server));
  }
}
