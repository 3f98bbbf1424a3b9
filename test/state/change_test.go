package state

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/test/story"
)

func TestALoginIsChangedUnderLoadWithoutAQueryThatFails(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 2))
	stop := s.load()
	s.tide("db", "rotate")
	s.tide("redis", "rotate")
	acknowledged, failures := stop()
	if len(failures) > 0 {
		t.Errorf("%d requests failed: %s", len(failures), failures[0])
	}
	if rows := s.rows(); rows != acknowledged || rows == 0 {
		t.Errorf("there are %d rows, and %d were acknowledged", rows, acknowledged)
	}
}

func TestNothingAcknowledgedIsLostWhenTheDatabaseIsKilled(t *testing.T) {
	p := story.Platform(t)
	source := build(t, 1)
	write(t, source, 1, ", replica: true, synchronous: true")
	s := open(t, p, source)
	story.Eventually(t, "the replica", limit, func() bool { return s.service("db").State == "ready" })
	stop := s.load()
	killed := s.primary("db")
	if killed == 0 { // which would be all of us
		t.Fatal("there is no primary")
	}
	if err := syscall.Kill(killed, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	story.Eventually(t, "the database to be back", limit, func() bool {
		_, err := s.try(t.Context(), "POST", "/rows?name=back", "")
		return err == nil
	})
	t.Logf("rows can be added again after %s", time.Since(began).Round(10*time.Millisecond))
	// On a slow machine its replica has taken its place by itself, and another one is being made.
	story.Eventually(t, "a replica", limit, func() bool { return s.service("db").State == "ready" })
	s.tide("db", "promote")
	acknowledged, failures := stop()
	t.Logf("%d rows were acknowledged, %d requests failed", acknowledged, len(failures))
	if rows := s.rows(); rows < acknowledged+1 {
		t.Errorf("there are %d rows, fewer than the %d that were acknowledged", rows, acknowledged+1)
	}
}

func TestStagingGetsACopyThatWasScrubbed(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 1))
	s.ask("POST", "/rows?name=ada", "")
	command := s.command("secrets", "set", "API_KEY", "--env", "staging")
	command.Stdin = strings.NewReader("another")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	url := story.Deploy(t, p, s.source, "--env", "staging")
	s.tide("db", "fork", "--to", "staging", "--scrub", `./shelf "UPDATE rows SET name = 'somebody'"`)
	staging := &shelf{Platform: p, t: t, source: s.source, url: url, client: s.client}
	if rows := staging.rows(); rows != 1 {
		t.Errorf("staging has %d rows", rows)
	}
	names := func(environment string) string {
		return s.tide("db", "psql", "--env", environment, "--", "-tAc", "SELECT name FROM rows")
	}
	if name := strings.TrimSpace(names("staging")); name != "somebody" {
		t.Errorf("in staging the row is of %q", name)
	}
	if name := strings.TrimSpace(names("production")); name != "ada" {
		t.Errorf("in production the row is of %q", name)
	}
}
