// Package apps tells of apps that many people run, from the distribution's
// packages: brought up, updated, damaged and restored.
package apps

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

// instances is how many there are of each app, at least.
const instances = 2

// site is an app on a platform, as its owner and a visitor see it.
type site struct {
	*platform.Platform
	t      testing.TB
	id     springtide.EnvironmentID
	source string
	url    string
	client *http.Client
}

// answer is what came back of a request.
type answer struct {
	status   int
	body     string
	instance string
	location string
}

// open deploys an example once its secrets are set.
func open(t testing.TB, example string, app springtide.AppName, secrets map[string]string) *site {
	t.Helper()
	p := story.Platform(t)
	s := &site{
		Platform: p, t: t, source: story.App(t, example), client: story.HTTP(t, p),
		id: springtide.EnvironmentID{App: app, Name: springtide.Production},
	}
	s.client.Jar, _ = cookiejar.New(nil) // it never fails
	for name, value := range secrets {
		command := s.command("secrets", "set", name)
		command.Stdin = strings.NewReader(value)
		if output, err := command.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
	}
	s.url = s.deploy()
	return s
}

// deploy makes a release of the folder, and waits until it has all the instances.
func (s *site) deploy() (url string) {
	s.t.Helper()
	url = story.Deploy(s.t, s.Platform, s.source)
	s.ready()
	return url
}

// ready waits until there are as many instances as there should be, of the newest
// release alone.
func (s *site) ready() {
	s.t.Helper()
	story.Eventually(s.t, "the instances", 3*time.Minute, func() bool {
		all, err := s.Client.Instances(s.t.Context(), s.id)
		all = slices.DeleteFunc(all, func(i springtide.Instance) bool { return i.Group.Process != springtide.Web })
		return err == nil && len(all) == instances && !slices.ContainsFunc(all, func(i springtide.Instance) bool {
			return i.State != springtide.InstanceReady
		})
	})
}

// edit replaces a text in a file of the app.
func (s *site) edit(file, from, to string) {
	s.t.Helper()
	path := filepath.Join(s.source, file)
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if !strings.Contains(string(text), from) {
		s.t.Fatalf("%s has no %q", path, from)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// write makes a file of the app.
func (s *site) write(file, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.source, file), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) command(arguments ...string) *exec.Cmd {
	command := s.Command(s.t.Context(), arguments...)
	command.Dir = s.source
	return command
}

// tide runs a command that has to succeed, and gives what it prints.
func (s *site) tide(arguments ...string) string {
	s.t.Helper()
	return story.Output(s.t, s.command(arguments...))
}

// send makes a request. A body that is nil is none.
func (s *site) send(method, path string, header http.Header, body []byte) (answer, error) {
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	maps.Copy(request.Header, header)
	response, err := s.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return answer{response.StatusCode, string(text), response.Header.Get("X-Instance"), response.Header.Get("Location")}, err
}

// try makes a request that should be answered with a status.
func (s *site) try(status int, method, path string, header http.Header, body []byte) (answer, error) {
	a, err := s.send(method, path, header, body)
	if err == nil && a.status != status {
		err = fmt.Errorf("%s %s: %d, want %d, of %s: %.500s", method, path, a.status, status, a.instance, a.body)
	}
	return a, err
}

// get requests a page that has to be there.
func (s *site) get(path string) string {
	s.t.Helper()
	a, err := s.try(http.StatusOK, http.MethodGet, path, nil, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return a.body
}

// has requests a page that should have something in it.
func (s *site) has(path, within string) error {
	a, err := s.try(http.StatusOK, http.MethodGet, path, nil, nil)
	if err == nil && !strings.Contains(a.body, within) {
		err = fmt.Errorf("%s of %s is without %.100q", path, a.instance, within)
	}
	return err
}

// everywhere requests a page until each instance has answered, and always with
// something in it. One that was slow of late is tried again after some 15 s only, and
// may be slow then, too.
func (s *site) everywhere(path, within string) {
	s.t.Helper()
	answered := map[string]bool{}
	story.Eventually(s.t, "an answer of each instance to "+path, 3*time.Minute, func() bool {
		a, err := s.try(http.StatusOK, http.MethodGet, path, nil, nil)
		if err != nil {
			s.t.Fatal(err)
		}
		if !strings.Contains(a.body, within) {
			s.t.Fatalf("%s of %s is without %.100q: %.500s", path, a.instance, within, a.body)
		}
		answered[a.instance] = true
		return len(answered) == instances
	})
}

// visit has somebody do each thing again and again, until it is told to stop; then
// it gives how much was done, and what failed.
func (s *site) visit(things ...func() error) (stop func() (done int, failures []error)) {
	end := make(chan struct{})
	var mu sync.Mutex
	var visitors sync.WaitGroup
	done, failures := 0, []error(nil)
	for _, thing := range things {
		visitors.Go(func() {
			for pace := time.NewTicker(100 * time.Millisecond); ; <-pace.C {
				select {
				case <-end:
					return
				default:
				}
				err := thing()
				mu.Lock()
				if done++; err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
		})
	}
	stop = sync.OnceValues(func() (int, []error) {
		close(end)
		visitors.Wait()
		return done, failures
	})
	s.t.Cleanup(func() { stop() })
	return stop
}

// update deploys what was changed, while visitors do things, none of which may
// fail.
func (s *site) update(things ...func() error) {
	s.t.Helper()
	stop := s.visit(things...)
	s.deploy()
	done, failures := stop()
	s.t.Logf("%d requests during the update, %d failed", done, len(failures))
	if len(failures) > 0 || done == 0 {
		s.t.Errorf("of %d requests during the update %d failed: %v", done, len(failures), failures)
	}
}

// now gives a moment that is after all that was done, and before all that will
// be. It is told in whole seconds.
func now() string {
	moment := time.Now().Truncate(time.Second).Add(time.Second)
	time.Sleep(time.Until(moment.Add(50 * time.Millisecond)))
	return moment.UTC().Format(time.RFC3339)
}

// restore brings back the database and the files as of a moment.
func (s *site) restore(moment string) {
	s.t.Helper()
	for _, of := range []string{"db", "files"} {
		began := time.Now()
		told := strings.TrimSpace(s.tide("backups", "restore", of, "--to", moment))
		s.tide("backups", "promote", of, strings.Fields(told[strings.LastIndex(told, "\n")+1:])[0])
		s.t.Logf("%s was brought back in %s", of, time.Since(began).Round(100*time.Millisecond))
	}
	s.ready()
}

// picture is a PNG of so many pixels.
func picture(t testing.TB, width, height int) []byte {
	t.Helper()
	drawn := image.NewRGBA(image.Rect(0, 0, width, height))
	for x := range width {
		for y := range height {
			drawn.Set(x, y, color.RGBA{uint8(x), uint8(y), uint8(x * y), 255})
		}
	}
	var file bytes.Buffer
	if err := png.Encode(&file, drawn); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}
