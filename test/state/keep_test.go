package state

import (
	"bytes"
	"encoding/base64"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide/test/story"
)

func TestInstancesOwnNothing(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 4))
	if _, err := p.Ready(t.Context(), production, 4); err != nil {
		t.Fatal(err)
	}
	s.ask("PUT", "/session?of=ada", "")
	s.ask("PUT", "/pictures/cat", "meow")
	for range 10 {
		s.ask("POST", "/rows?name=x", "")
	}
	seen := func(when string) {
		t.Helper()
		for range 12 { // whichever instance answers
			if session, picture, rows := s.ask("GET", "/session", ""), s.ask("GET", "/pictures/cat", ""), s.rows(); session != "ada" || picture != "meow" || rows != 10 {
				t.Fatalf("%s: the session is %q, the picture %q, and there are %d rows", when, session, picture, rows)
			}
		}
	}
	seen("at first")
	s.tide("restart")
	seen("with other instances")
	s.killControl()
	seen("while the control plane is away")
	story.Eventually(t, "the control plane to have its services again", limit, func() bool {
		details, err := p.Client.Services(t.Context(), production)
		return err == nil && len(details) == 2 && details[0].State == "ready" && details[1].State == "ready"
	})
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	story.NothingLeft(t, p.Data)
	if err := p.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "the app to be back with its services", limit, func() bool {
		_, noRows := s.try(t.Context(), "GET", "/rows", "")
		_, noSession := s.try(t.Context(), "GET", "/session", "")
		return noRows == nil && noSession == nil
	})
	seen("after the platform was stopped and started")
	t.Run("and their secrets are nowhere else", func(t *testing.T) { nowhere(t, s) })
}

// nowhere looks for a secret, and for the database's password, in every file of
// the platform and in the arguments of every process.
func nowhere(t *testing.T, s *shelf) {
	if logs := s.tide("logs"); strings.Count(logs, "[secret]") < 2 || strings.Contains(logs, key) {
		t.Errorf("the logs do not hide what the app said:\n%s", logs)
	}
	forms := [][]byte{[]byte(key), []byte(url.QueryEscape(key)), []byte(base64.StdEncoding.EncodeToString([]byte(key)))}
	look := func(path string) {
		data, err := os.ReadFile(path)
		if err != nil {
			return // it has ended, or is a socket
		}
		for _, form := range forms {
			if bytes.Contains(data, form) {
				t.Errorf("the secret is in %s", path)
			}
		}
	}
	err := filepath.WalkDir(s.Data, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			look(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	arguments, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range arguments {
		look(path)
	}
}

func TestAMigrationThatFailsChangesNothing(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 1))
	s.ask("POST", "/rows?name=x", "")
	text, err := os.ReadFile(filepath.Join(s.source, "tide.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	broken := strings.Replace(string(text), "CREATE TABLE IF NOT EXISTS rows", "CREATE TABLE rows", 1)
	if err := os.WriteFile(filepath.Join(s.source, "tide.yaml"), []byte(broken), 0o644); err != nil {
		t.Fatal(err)
	}
	s.refused(1, "already exists", "deploy")
	if rows := s.rows(); rows != 1 {
		t.Errorf("there are %d rows", rows)
	}
}

func TestWhatAnAppAsksForAndCannotHaveIsSaidBeforeItIsBuilt(t *testing.T) {
	p := story.Platform(t)
	s := &shelf{Platform: p, t: t, source: build(t, 1), client: story.HTTP(t, p)}
	s.refused(2, "has no secret API_KEY", "deploy")
	s.setKey()
	for from, to := range map[string]string{"postgres: newest": "postgres: 9", "cache: redis": "cache: { kind: redis, url: \"secret:ELSEWHERE\" }"} {
		write(t, s.source, 1, "")
		text, err := os.ReadFile(filepath.Join(s.source, "tide.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.Replace(strings.Replace(string(text), from, to, 1), " cache: {},", "", 1)
		if err := os.WriteFile(filepath.Join(s.source, "tide.yaml"), []byte(changed), 0o644); err != nil {
			t.Fatal(err)
		}
		says := "postgres 9 is not installed"
		if from != "postgres: newest" {
			says = "has no secret ELSEWHERE"
		}
		s.refused(2, says, "deploy")
	}
}

func TestAServiceThatNobodyNamesKeepsItsDataUntilItIsDestroyed(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 1))
	s.ask("POST", "/rows?name=x", "")
	s.refused(4, "is in use", "services", "destroy", "shelf/production/db")
	s.tide("destroy", "--yes")
	if all := s.tide("services", "--all"); !strings.Contains(all, "no release names it") {
		t.Errorf("the services are told as\n%s", all)
	}
	open(t, p, s.source)
	if rows := s.rows(); rows != 1 {
		t.Errorf("after the app came back there are %d rows", rows)
	}
	s.tide("destroy", "--yes")
	s.refused(2, "does not name a service in full", "services", "destroy", "db")
	s.tide("services", "destroy", "shelf/production/db")
	if _, err := os.Stat(filepath.Join(p.Data, "services", "shelf", "production", "db", "service.json")); !os.IsNotExist(err) {
		t.Errorf("its folder: %v", err)
	}
}
