// Package jobs tells of work that is handed over, of what carries it out, and
// of all that dies meanwhile.
package jobs

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/story"
)

// TestMain has four stories told at a time, however few processors there are:
// most of what they do is to wait for leases to end.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	m.Run()
}

// patience is how long something may take that should come soon, on a machine
// that has much else to do. A run that was lost is tried again within 48 s.
const patience = 2 * time.Minute

var production = springtide.EnvironmentID{App: "shop", Name: springtide.Production}

// shop is an app on a platform, as its owner sees it from a terminal.
type shop struct {
	*platform.Platform
	t testing.TB
	// source is the app's folder, desk one that its runs and the test share.
	source, desk string
	url          string
}

// open deploys an app that consists of a manifest and further files. In them
// DESK stands for the folder that runs and test share.
func open(t testing.TB, p *platform.Platform, manifest string, files ...file) *shop {
	t.Helper()
	s := &shop{Platform: p, t: t, source: filepath.Join(t.TempDir(), "shop"), desk: story.Folder(t)}
	if err := os.Chmod(s.desk, 0o777); err != nil { // runs have a user of their own
		t.Fatal(err)
	}
	s.write(append(files, file{"tide.yaml", manifest})...)
	s.url = story.Deploy(t, p, s.source)
	return s
}

// file is one of the app's.
type file struct{ name, text string }

func (s *shop) write(files ...file) {
	s.t.Helper()
	for _, f := range files {
		path := filepath.Join(s.source, f.name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(strings.ReplaceAll(f.text, "DESK", s.desk)), 0o644)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// command is one that is given in the app's folder.
func (s *shop) command(arguments ...string) *exec.Cmd {
	command := s.Command(s.t.Context(), arguments...)
	command.Dir = s.source
	return command
}

// tide runs a command that has to succeed, and gives what it prints.
func (s *shop) tide(arguments ...string) string {
	s.t.Helper()
	return story.Output(s.t, s.command(arguments...))
}

// refused runs a command that has to fail with an exit code, and gives what it
// says.
func (s *shop) refused(code int, arguments ...string) string {
	s.t.Helper()
	return story.Refused(s.t, s.command(arguments...), code)
}

// enqueue hands a job over as `tide jobs enqueue` does.
func (s *shop) enqueue(arguments ...string) springtide.RunID {
	s.t.Helper()
	return springtide.RunID(strings.TrimSpace(s.tide(append([]string{"jobs", "enqueue"}, arguments...)...)))
}

// show gives all that is known of a run.
func (s *shop) show(run springtide.RunID) springtide.Run {
	s.t.Helper()
	var shown springtide.Run
	if err := json.Unmarshal([]byte(s.tide("jobs", "show", string(run), "--json")), &shown); err != nil {
		s.t.Fatal(err)
	}
	return shown
}

// await waits until a run is in a state, and gives it then.
func (s *shop) await(run springtide.RunID, state springtide.RunState) (now springtide.Run) {
	s.t.Helper()
	s.awaitRun(run, string(state), func(r springtide.Run) bool {
		now = r
		return r.State == state
	})
	return now
}

// awaitRun waits until a run is as it should be.
func (s *shop) awaitRun(run springtide.RunID, what string, is func(springtide.Run) bool) {
	s.t.Helper()
	var last springtide.Run
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		now, err := s.Client.Job(s.t.Context(), production, run)
		if err == nil && is(now) {
			return
		}
		if err == nil {
			last = now
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for run %s to be %s: it is %s, attempt %d, %s\n%s", patience, run, what, last.State, last.Attempt, last.Reason, last.Output)
		}
	}
}

// runs lists those that match, the newest first.
func (s *shop) runs(query jobs.Query) []springtide.Run {
	s.t.Helper()
	query.Environment, query.Most = production, 1000
	all, err := s.Client.Jobs(s.t.Context(), query)
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// put lays a file on the desk, for a run to find.
func (s *shop) put(name string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.desk, name), nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// find waits for a file that a run lays on the desk, and gives its text.
func (s *shop) find(name string) string {
	s.t.Helper()
	var text []byte
	story.Eventually(s.t, name+" on the desk", patience, func() (there bool) {
		var err error
		text, err = os.ReadFile(filepath.Join(s.desk, name))
		return err == nil && strings.HasSuffix(string(text), "\n")
	})
	return strings.TrimSpace(string(text))
}

// workers gives the instances of a process.
func (s *shop) workers(process springtide.ProcessName) (found []springtide.Instance) {
	s.t.Helper()
	all, err := s.Client.Instances(s.t.Context(), production)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, instance := range all {
		if instance.Group.Process == process {
			found = append(found, instance)
		}
	}
	return found
}
