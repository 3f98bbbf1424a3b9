// Package zero tells of apps that run only when somebody asks for them.
package zero

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

// manifest is that of an app that takes a second to start and leaves soon when
// nobody asks for it.
const manifest = `app: sleeper
processes:
  web:
    command: sleep 1; exec python3 app.py
    health: { path: /healthz }
    scale: { min: 0, max: 2, idle: 1s }
`

var sleeper = springtide.EnvironmentID{App: "sleeper", Name: springtide.Production}

// mostLate is by how much the first answer may be later than that of the app by
// itself. On a quiet machine it is 50 ms.
const mostLate = 3 * time.Second

// long is how long an app may take to go: it stays for ten times as long as it took to
// start, which is seconds on a busy machine.
const long = 5 * time.Minute

func TestAnIdleAppGoesAndComesBackWithTheFirstRequest(t *testing.T) {
	p := story.Platform(t)
	app := story.App(t, "python")
	if err := os.WriteFile(filepath.Join(app, "tide.yaml"), []byte(manifest), 0o644); err != nil {
		t.Fatal(err)
	}
	url := story.Deploy(t, p, app)
	client := story.HTTP(t, p)
	gone := func() bool {
		instances, err := p.Client.Instances(t.Context(), sleeper)
		return err == nil && len(instances) == 0
	}
	for late, tries := mostLate+1, 1; late > mostLate; tries++ {
		story.Eventually(t, "the last instance to go", long, gone)
		began := time.Now()
		if body := story.Get(t, client, url+"/healthz"); body != "ok\n" {
			t.Errorf("the first request was answered %q", body)
		}
		took := time.Since(began)
		if took < 900*time.Millisecond {
			t.Errorf("it was answered after %s: an instance was there", took)
		}
		own := ownStart(t, app)
		late = took - own
		t.Logf("the first request was answered after %s; by itself the app takes %s to its first answer", took.Round(time.Millisecond), own.Round(time.Millisecond))
		if late > mostLate && tries == 5 { // a machine that is busy just then tells nothing
			t.Fatalf("it was never less than %s later than that", mostLate)
		}
	}

	story.Eventually(t, "the last instance to go again", long, gone)
	if listed, err := p.CLI(t.Context(), "ps", "--all"); err != nil || !strings.Contains(listed, "0/0") {
		t.Errorf("tide ps --all: %v\n%s", err, listed)
	}
	var asking sync.WaitGroup
	for range 50 {
		asking.Go(func() { checkAnswer(t, client, url+"/api/tide") })
	}
	asking.Wait()

	explained, err := p.CLI(t.Context(), "explain", "--app", "sleeper")
	t.Logf("tide explain:\n%s", explained)
	if err != nil || !strings.Contains(explained, "1 to 0") || !strings.Contains(explained, "0 to 1") {
		t.Errorf("tide explain: %v\n%s", err, explained)
	}
}

// ownStart is how long the app takes to its first answer where nothing is between.
func ownStart(t *testing.T, folder string) time.Duration {
	t.Helper()
	address := story.Address(t)
	command := exec.CommandContext(t.Context(), "sh", "-c", "sleep 1; exec python3 app.py")
	command.Dir = folder
	command.Env = append(os.Environ(), "PORT="+address[strings.LastIndexByte(address, ':')+1:])
	began := time.Now()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	}()
	for time.Since(began) < time.Minute {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/healthz", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			return time.Since(began)
		}
		time.Sleep(time.Millisecond) // between one question and the next
	}
	t.Fatal("by itself the app does not start")
	return 0
}

// checkAnswer requests a page whose answer has to be whole.
func checkAnswer(t *testing.T, client *http.Client, url string) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	response, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(body), "turns_in") {
		t.Errorf("a held request was answered %s: %s, %v", response.Status, body, err)
	}
}
