package state

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/test/story"
)

func TestTheSecondBeforeAMistakeComesBack(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 1))
	for range 5 {
		s.ask("POST", "/rows?name=x", "")
	}
	s.ask("PUT", "/pictures/cat", "meow")
	for _, of := range []string{"db", "cache", "files"} {
		s.tide("backups", "run", of)
	}
	for range 5 {
		s.ask("POST", "/rows?name=after", "")
	}
	time.Sleep(1100 * time.Millisecond) // the moment is said in whole seconds
	before := time.Now().UTC().Format(time.RFC3339)
	time.Sleep(1100 * time.Millisecond)
	s.tide("db", "psql", "--", "-c", "DELETE FROM rows")
	s.ask("PUT", "/pictures/cat", "woof")

	restored := s.tide("db", "restore", "--to", before)
	if !strings.Contains(restored, "public.rows  0       10") {
		t.Errorf("what differs is told as\n%s", restored)
	}
	name := strings.Fields(restored[strings.LastIndex(strings.TrimSpace(restored), "\n")+1:])[0]
	if rows := s.rows(); rows != 0 {
		t.Errorf("before it is promoted there are %d rows in use", rows)
	}
	s.tide("backups", "promote", "db", name)
	if rows := s.rows(); rows != 10 {
		t.Errorf("there are %d rows", rows)
	}
	s.tide("backups", "promote", "db", name)
	if rows := s.rows(); rows != 0 {
		t.Errorf("after it was taken back there are %d rows", rows)
	}
	s.tide("backups", "promote", "db", name)
	s.tide("backups", "discard", "db", name)
	files := strings.Fields(lastLine(s.tide("backups", "restore", "files")))[0]
	s.tide("backups", "promote", "files", files)
	if picture := s.ask("GET", "/pictures/cat", ""); picture != "meow" {
		t.Errorf("the picture is %q", picture)
	}

	for _, of := range []string{"cache", "files"} {
		s.tide("backups", "drill", of)
	}
	s.tide("backups", "run", "db") // what was promoted is another server
	s.tide("backups", "drill", "db")
	if told := s.tide("backups"); strings.Count(told, "lost at most") != 3 {
		t.Errorf("what is proven is told as\n%s", told)
	}
	s.tide("backups", "verify", "db")
	s.refused(3, "keeps no dbb safe", "backups", "run", "dbb")
	s.refused(2, "in the future", "db", "restore", "--to", "2099-01-01")
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndex(text, "\n")+1:]
}

func TestAWholePlatformComesBackOntoAnEmptyFolder(t *testing.T) {
	back := lost(t, build(t, 1), "db", "cache", "files")
	story.Eventually(t, "the cache", limit, func() bool { return back.service("cache").State == "ready" })
	if rows, session, picture := back.rows(), back.ask("GET", "/session", ""), back.ask("GET", "/pictures/cat", ""); rows != 7 || session != "ada" || picture != "meow" {
		t.Errorf("there are %d rows, the session is %q, the picture %q", rows, session, picture)
	}
}

func TestWhatNobodyKeptSafeBeginsEmptyAndReplicasAreMadeAnew(t *testing.T) {
	source := build(t, 1)
	write(t, source, 1, ", replica: true")
	back := lost(t, source, "db")
	if rows := back.rows(); rows != 7 {
		t.Errorf("there are %d rows", rows)
	}
	story.Eventually(t, "the replica and the cache", limit, func() bool {
		return back.service("db").State == "ready" && len(back.service("db").Servers) == 2 && back.service("cache").State == "ready"
	})
	if answer, err := back.try(t.Context(), "GET", "/session", ""); err == nil {
		t.Errorf("the session is %q, of which there was no backup", answer)
	}
	back.ask("PUT", "/session?of=grace", "")
	back.ask("PUT", "/pictures/dog", "woof")
}

// lost keeps some of an app safe, loses the machine, and gives the app as it is
// on another.
func lost(t *testing.T, source string, safe ...string) *shelf {
	t.Helper()
	target := "file://" + story.Folder(t)
	p := story.Platform(t, "--backup-target", target)
	s := open(t, p, source)
	for range 7 {
		s.ask("POST", "/rows?name=x", "")
	}
	s.ask("PUT", "/session?of=ada", "")
	s.ask("PUT", "/pictures/cat", "meow")
	for _, of := range safe {
		s.tide("backups", "run", of)
	}
	recovery := s.tide("recovery-key")
	story.Eventually(t, "the platform's own state to be kept safe", limit, func() bool {
		found, err := filepath.Glob(filepath.Join(strings.TrimPrefix(target, "file://"), "springtide/_/_/state/manifests/*"))
		return err == nil && len(found) > 0
	})
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}

	empty := filepath.Join(story.Folder(t), "data")
	restore := func(key string) (string, error) {
		command := p.Command(t.Context(), "restore", "--from", target, "--data", empty)
		command.Stdin = strings.NewReader(key)
		output, err := command.CombinedOutput()
		return string(output), err
	}
	if output, err := restore("AGE-SECRET-KEY-1QQQ"); err == nil {
		t.Errorf("a wrong key restores:\n%s", output)
	}
	if output, err := restore(recovery); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if err := os.RemoveAll(p.Data); err != nil { // the machine is lost
		t.Fatal(err)
	}
	again, err := platform.Start(t.Context(), platform.Options{
		Tide: story.Binary(t), Data: empty, Arguments: []string{"--backup-target", target}, Output: os.Stderr,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := again.Stop(); err != nil {
			t.Error(err)
		}
	})
	environment, err := again.Client.Environment(t.Context(), production)
	if err != nil {
		t.Fatal(err)
	}
	back := &shelf{Platform: again, t: t, source: s.source, url: environment.URLs[0], client: story.HTTP(t, again)}
	story.Eventually(t, "the app to be back", limit, func() bool {
		_, err := back.try(t.Context(), "GET", "/rows", "")
		return err == nil
	})
	return back
}
