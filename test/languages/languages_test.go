// Package languages tells of apps that are not written in Go.
package languages

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

// app is an example, and what there is to see of it.
type app struct {
	example, program string
	name             springtide.AppName
	page, shows      string
	logs             string
	silent           bool // it has no handler for SIGTERM
}

func TestTheExamplesAreServedAndEndCleanly(t *testing.T) {
	p := story.Platform(t)
	for _, a := range []app{
		{"node", "node", "guestbook", "/", "Guest book", "listening on", false},
		{"python", "python3", "python", "/", "Tide clock", "listening on port", false},
		{"static", "python3", "leaflet", "/neap.html", "<html", "GET /neap.html", true},
	} {
		t.Run(a.example, func(t *testing.T) {
			if _, err := exec.LookPath(a.program); err != nil {
				t.Skip(err)
			}
			a.isServed(t, p)
			a.isReplaced(t, p)
			a.ends(t, p)
		})
	}
}

func (a app) isServed(t *testing.T, p *platform.Platform) {
	url := story.Deploy(t, p, story.App(t, a.example))
	if body := story.Get(t, story.HTTP(t, p), url+a.page); !strings.Contains(body, a.shows) {
		t.Errorf("%s shows %s", a.page, body)
	}
	story.Eventually(t, "its output in the logs", 30*time.Second, func() bool { return strings.Contains(a.log(t, p), a.logs) })
}

// isReplaced deploys it again while somebody reads.
func (a app) isReplaced(t *testing.T, p *platform.Platform) {
	client := story.HTTP(t, p)
	folder := story.App(t, a.example)
	if err := os.WriteFile(filepath.Join(folder, "second.txt"), []byte("second\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	url := "https://" + string(a.name) + ".localhost"
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				a.read(t, client, url+a.page)
			}
		}
	}()
	story.Deploy(t, p, folder)
	close(end)
	<-ended
}

func (a app) read(t *testing.T, client *http.Client, url string) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return
	}
	response, err := client.Do(request)
	if err != nil {
		t.Errorf("during the deploy: %v", err)
		return
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("during the deploy: %s", response.Status)
	}
}

// ends stops it, and checks that it left by itself.
func (a app) ends(t *testing.T, p *platform.Platform) {
	if _, err := p.CLI(t.Context(), "stop", "--app", string(a.name)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Ready(t.Context(), springtide.EnvironmentID{App: a.name, Name: springtide.Production}, 0); err != nil {
		t.Fatal(err)
	}
	log := a.log(t, p) // in which the platform says whom it killed in the end
	if strings.Contains(log, "did not end within") || strings.Contains(log, "SIGKILL") || !a.silent && strings.Contains(log, "SIGTERM") {
		t.Errorf("it did not end by itself:\n%s", log)
	}
}

func (a app) log(t *testing.T, p *platform.Platform) string {
	log, err := p.CLI(t.Context(), "logs", "--tail", "0", "--app", string(a.name))
	if err != nil {
		t.Error(err)
	}
	return log
}
