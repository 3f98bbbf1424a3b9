// Package badinput tells of mistakes: each gets one clear error, and nothing is
// left half done.
package badinput

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/socket"
	"github.com/springtide/springtide/test/story"
)

// server is an app that answers; what is wrong with others is a change of it.
const server = `import http.server, os, sys
host, port = "", int(os.environ["PORT"])
print("serving", flush=True)
http.server.ThreadingHTTPServer((host, port), http.server.SimpleHTTPRequestHandler).serve_forever()
`

// whole is a manifest without a mistake.
const whole = `app: shop
processes:
  web:
    command: exec python3 server.py
    health: { start: 1m }
`

// impatient is how long what never becomes healthy is waited for: a busy machine takes
// seconds to have it listen, and before it does nothing can be said of that.
const impatient = "start: 10s"

var shop = springtide.EnvironmentID{App: "shop", Name: springtide.Production}

// mistake is a change of the app, and what is said of it.
type mistake struct {
	what     string
	manifest string   // instead of whole
	code     string   // instead of server
	exit     int      // the exit code
	says     []string // on stderr
}

func mistakes() []mistake {
	short := strings.Replace(whole, "start: 1m", impatient, 1)
	return []mistake{
		{"an unknown key", strings.Replace(whole, "command", "comand", 1), "", 2, []string{"tide.yaml:4", "comand", "command"}},
		{"no YAML", "app: [shop\n", "", 2, []string{"tide.yaml:"}},
		{"an empty manifest", "", "", 2, []string{"tide.yaml", "empty", "tide init"}},
		{"a value of the wrong kind", whole + "    scale: { max: many }\n", "", 2, []string{"tide.yaml:6", "many"}},
		{"no process", "app: shop\n", "", 2, []string{"tide.yaml", "process"}},
		{"a build that fails", whole + "build: { command: 'echo no compiler >&2; exit 2' }\n", "", 1, []string{"build", "exit status 2", "no compiler"}},
		{"a build that hangs", whole + "build: { command: 'sleep 60', timeout: 1s }\n", "", 1, []string{"build", "1s", "timeout"}},
		{"no such command", strings.Replace(whole, "exec python3", "exec pyhton3", 1), "", 1, []string{"pyhton3", "not found"}},
		{"it never listens", strings.Replace(whole, "1m", "1s", 1), "import time\ntime.sleep(60)\n", 1, []string{"listen"}},
		{"the wrong port", short, strings.Replace(server, `int(os.environ["PORT"])`, "3456", 1), 1, []string{"3456", "PORT"}},
		{"it exits at once", "", "import sys\nsys.exit('no database')\n", 1, []string{"exit status 1", "no database"}},
		{"the health check fails", strings.Replace(short, impatient, impatient+", path: /nowhere", 1), "", 1, []string{"/nowhere", "404"}},
	}
}

func TestAMistakeIsToldClearlyAndChangesNothing(t *testing.T) {
	p := story.Platform(t)
	folder := filepath.Join(t.TempDir(), "shop")
	write(t, folder, mistake{})
	url := story.Deploy(t, p, folder)
	before := running(t, p)
	list := mistakes()
	if os.Getuid() == 0 { // elsewhere the network is shared, and it is no mistake
		short := strings.Replace(whole, "start: 1m", impatient, 1)
		list = append(list, mistake{"loopback only", short, strings.Replace(server, `host, port = ""`, `host, port = "127.0.0.1"`, 1), 1, []string{"127.0.0.1", "0.0.0.0"}})
	}
	for _, m := range list {
		t.Run(m.what, func(t *testing.T) {
			write(t, folder, m)
			told := refused(t, p, m.exit, "deploy", folder, "--quiet")
			for _, says := range m.says {
				if !strings.Contains(told, says) {
					t.Errorf("it is not said %q", says)
				}
			}
			if after := running(t, p); after != before {
				t.Errorf("what runs became\n%s\nfrom\n%s", after, before)
			}
		})
	}
	story.Get(t, story.HTTP(t, p), url)
	if err := os.Remove(filepath.Join(folder, "tide.yaml")); err != nil {
		t.Fatal(err)
	}
	refused(t, p, 3, "deploy", folder)
	refused(t, p, 3, "deploy", folder+"/nowhere")
}

// write makes the app's folder, with a mistake.
func write(t *testing.T, folder string, m mistake) {
	t.Helper()
	if m.manifest == "" && m.what != "an empty manifest" {
		m.manifest = whole
	}
	if m.code == "" {
		m.code = server
	}
	for name, text := range map[string]string{"tide.yaml": m.manifest, "server.py": m.code} {
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// refused runs a command that has to fail with one error and a hint, and gives
// what it says.
func refused(t *testing.T, p *platform.Platform, code int, arguments ...string) string {
	t.Helper()
	command := p.Command(t.Context(), arguments...)
	var told strings.Builder
	command.Stderr = &told
	err := command.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != code {
		t.Errorf("tide %s: %v, want exit code %d", arguments[0], err, code)
	}
	t.Logf("tide %s:\n%s", arguments[0], told.String())
	if strings.Count(told.String(), "error: ") != 1 {
		t.Error("there is not one error")
	}
	return told.String()
}

// running gives what runs of the shop: the instances and the active release.
func running(t *testing.T, p *platform.Platform) string {
	t.Helper()
	instances, err := p.Ready(t.Context(), shop, 1)
	if err != nil {
		t.Fatal(err)
	}
	releases, err := p.Client.Releases(t.Context(), shop)
	if err != nil {
		t.Fatal(err)
	}
	text := string(instances[0].ID)
	for _, release := range releases {
		if release.State == springtide.ReleaseActive {
			text += " v" + string(rune('0'+release.Number))
		}
	}
	return text
}

// crasher has the app exit as soon as there is a file: not before its deploy is over,
// however long that takes.
func crasher(file string) string {
	return fmt.Sprintf(`import threading, time
def crash():
    while not os.path.exists(%q):
        time.sleep(0.05)
    os._exit(9)
threading.Thread(target=crash).start()
`, file)
}

func TestACrashLoopIsShownAsSuch(t *testing.T) {
	p := story.Platform(t)
	folder, crash := filepath.Join(t.TempDir(), "shop"), filepath.Join(story.Folder(t), "crash")
	write(t, folder, mistake{code: strings.Replace(server, "http.server.T", crasher(crash)+"http.server.T", 1)})
	story.Deploy(t, p, folder)
	if err := os.WriteFile(crash, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "a crash loop in tide ps", 2*time.Minute, func() bool {
		listed, err := p.CLI(t.Context(), "ps", "--app", "shop")
		return err == nil && strings.Contains(listed, "crash loop") && strings.Contains(listed, "exit status 9")
	})
}

func TestADataFolderThatIsNotOnesOwnIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to become somebody else")
	}
	root := story.Folder(t)
	for _, command := range []string{"serve", "up"} {
		serve := exec.Command(story.Binary(t), command, "--https", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data", filepath.Join(root, "data"))
		serve.Dir = filepath.Join(story.Root(t), "examples", "python")
		serve.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		output, err := serve.CombinedOutput()
		if err == nil || !strings.Contains(string(output), "permission denied") || !strings.Contains(string(output), "hint: choose another with --data") {
			t.Errorf("tide %s: %v\n%s", command, err, output)
		}
	}
}

func TestAFullDiskRefusesADeployAndServesOn(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small disk")
	}
	disk := filepath.Join(story.Folder(t), "disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=200m,mode=755"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	p, err := platform.Start(t.Context(), platform.Options{Tide: story.Binary(t), Data: filepath.Join(disk, "data"), Output: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("the platform ended with %v", err)
		}
	})
	folder := filepath.Join(t.TempDir(), "shop")
	write(t, folder, mistake{})
	url := story.Deploy(t, p, folder)
	before := running(t, p)
	fill := filepath.Join(disk, "fill")
	file, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	block := make([]byte, 1<<16)
	for err == nil {
		_, err = file.Write(block)
	}
	file.Close()
	if err := os.WriteFile(filepath.Join(folder, "large"), make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	told := refused(t, p, 6, "deploy", folder, "--quiet")
	if !strings.Contains(told, "disk") && !strings.Contains(told, "space") {
		t.Errorf("a full disk is not named: %s", told)
	}
	story.Get(t, story.HTTP(t, p), url)
	if after := running(t, p); after != before {
		t.Errorf("%s became %s", before, after)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	story.Deploy(t, p, folder) // and all is well again
}

func TestAnOldClientIsToldToBecomeNewer(t *testing.T) {
	p := story.Platform(t)
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return socket.Dial(ctx, filepath.Join(p.Data, "run", "api.sock"))
	}}
	for version, says := range map[string]string{"0": "upgrade the `tide` command you are using", "99": "upgrade the `tide` that serves"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://tide/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set(api.VersionHeader, version)
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != springtide.Invalid.Status() || !strings.Contains(string(body), says) {
			t.Errorf("version %s: %s, %v\n%s", version, response.Status, err, body)
		}
	}
}
