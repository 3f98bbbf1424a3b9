package jobs

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/springtide/springtide/test/story"
)

// webApp is a web process that asks the platform, and runs what it is told to,
// where it is; and it takes calls of the platform's.
const webApp = `import http.server, json, os, subprocess, time, urllib.error, urllib.request
import verify


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, value, headers=()):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers:
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, "ok")

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/ask":
            self.answer(200, ask(**json.loads(body)))
        elif self.path == "/sh":
            done = subprocess.run(["sh", "-c", json.loads(body)], capture_output=True, text=True)
            self.answer(200, {"status": done.returncode, "body": done.stdout + done.stderr})
        elif not verify.verify(self.headers, body):
            self.answer(401, "who are you?")
        elif self.path == "/busy":
            first = self.headers["Tide-Attempt"] == "1"
            self.answer(503 if first else 200, "busy" if first else "done", [("Retry-After", "20")] if first else [])
        elif self.path == "/never":
            self.answer(404, "no such thing")
        elif self.path == "/letter":
            data = json.loads(body)
            self.answer(200, {"subject": "Welcome " + data["name"], "text": "Hello " + data["name"], "html": "<p>Hello</p>"})
        else:
            kept = {name.title(): value for name, value in self.headers.items() if name.title().startswith("Tide-") or name.title() == "Idempotency-Key"}
            self.answer(200, {"path": self.path, "headers": kept, "body": json.loads(body or "null")})


def ask(path, method="POST", body=None, key=None, token=None):
    base = os.environ["TIDE_API"]
    url = base + path if not path.startswith("/v1") else base[: base.index("/v1")] + path
    headers = {"Authorization": "Bearer " + (token or os.environ["TIDE_TOKEN"]), "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method)) as response:
            return {"status": response.status, "body": response.read().decode()}
    except urllib.error.HTTPError as refused:
        return {"status": refused.code, "body": refused.read().decode()}


http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
`

// webFiles are the web process and what the guide says about signatures.
func webFiles(t *testing.T) []file {
	t.Helper()
	guide, err := os.ReadFile(filepath.Join(story.Root(t), "docs", "jobs.md"))
	if err != nil {
		t.Fatal(err)
	}
	verify := regexp.MustCompile("(?s)```python\n(import base64.*?)```").FindSubmatch(guide)
	if verify == nil {
		t.Fatal("the guide does not say any more how a signature is verified in Python")
	}
	return []file{{"web.py", webApp}, {"verify.py", string(verify[1])}}
}

// said is what the app was answered, or what a command printed.
type said struct {
	Status int
	Body   string
}

// post has the app's web process do something.
func (s *shop) post(path string, body any) (answer said) {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := story.HTTP(s.t, s.Platform).Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	if text, err = io.ReadAll(response.Body); err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil {
		s.t.Fatalf("POST %s: %s, %v\n%s", path, response.Status, err, text)
	}
	return answer
}

// sh runs a command in an instance of the web process.
func (s *shop) sh(command string) said { s.t.Helper(); return s.post("/sh", command) }

// question is a request that the web process makes with its own token, or with
// another's.
type question struct {
	Method string `json:"method,omitempty"`
	Path   string `json:"path"`
	Body   any    `json:"body,omitempty"`
	Key    string `json:"key,omitempty"`
	Token  string `json:"token,omitempty"`
}

func (s *shop) ask(q question) said { s.t.Helper(); return s.post("/ask", q) }
