package state

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/test/story"
)

// check is what the shelf says of a database that was restored. Dividing by zero
// is an error to it, as too few rows are.
const check = `#!/bin/sh
test -z "$CACHE_URL$REDIS_URL$FILES_UPLOADS$TIDE_TOKEN" || { echo "what is in use can be reached"; exit 3; }
test "$(cat "$CREDENTIALS_DIRECTORY/DATABASE_URL")" = "$DATABASE_URL" || { echo "there is another URL"; exit 4; }
test -n "$API_KEY" || exit 5
echo "looking at $DB_URL"
./shelf "INSERT INTO rows (name) VALUES ('only in the drill')" && ./shelf "SELECT 1 / ((count(*) - 1) / 3) FROM rows"
`

// safety is what `tide status` tells of a thing that is kept safe.
func (s *shelf) safety(of string) api.Safety {
	s.t.Helper()
	var status api.Status
	if err := json.Unmarshal([]byte(s.tide("status", "--json")), &status); err != nil {
		s.t.Fatal(err)
	}
	for _, safety := range status.Backups {
		if safety.Environment == production && safety.Of == of {
			return safety
		}
	}
	s.t.Fatalf("%s is not among %+v", of, status.Backups)
	return api.Safety{}
}

func TestTheAppHasTheLastWordOnWhatADrillRestores(t *testing.T) {
	p := story.Platform(t)
	source := build(t, 1)
	if err := os.WriteFile(filepath.Join(source, "check"), []byte(check), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(source, "tide.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "db: { keep: 30d }", "db: { keep: 30d, smoke: ./check }", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, p, source)
	for range 5 {
		s.ask("POST", "/rows?name=x", "")
	}
	if safety := s.safety("db"); !safety.Proven.IsZero() || safety.Problem != "" {
		t.Errorf("before the first drill it is %+v", safety)
	}
	if told := s.tide("status"); !strings.Contains(told, "shelf/production db: not proven restorable yet") {
		t.Errorf("before the first drill it is told as\n%s", told)
	}
	s.tide("backups", "run", "db")
	s.tide("backups", "drill", "db")
	first := s.safety("db")
	if first.Proven.IsZero() || first.Problem != "" || !strings.Contains(first.Checked, `"./check" was content`) {
		t.Errorf("after a drill it is %+v", first)
	}
	if told := s.tide("status"); !strings.Contains(told, "proven restorable: "+first.Proven.UTC().Format(time.DateOnly)+", took ") {
		t.Errorf("after a drill it is told as\n%s", told)
	}
	if rows := s.rows(); rows != 5 {
		t.Errorf("the drill has changed what is in use: there are %d rows", rows)
	}

	s.tide("db", "psql", "--", "-c", "DELETE FROM rows WHERE id > 2")
	s.tide("backups", "run", "db")
	s.refused(1, "division by zero", "backups", "drill", "db")
	failed := s.safety("db")
	if !failed.Proven.Equal(first.Proven) || !strings.Contains(failed.Problem, "the app is not content") {
		t.Errorf("after a drill that failed it is %+v", failed)
	}
	if told := s.tide("status"); !strings.Contains(told, "NOT restorable on ") {
		t.Errorf("after a drill that failed it is told as\n%s", told)
	}
}

func TestABackupOfACacheIsTakenByItsName(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 1))
	s.ask("PUT", "/session?of=ada", "")
	s.tide("backups", "run", "cache")
	s.ask("PUT", "/session?of=grace", "")
	s.tide("backups", "run", "cache")
	var listed []api.BackupRecord
	if err := json.Unmarshal([]byte(s.tide("backups", "ls", "cache", "--json")), &listed); err != nil || len(listed) != 4 {
		t.Fatal(listed, err)
	}
	first := listed[3] // the others are its dump, and those of the second
	restored := strings.Fields(lastLine(s.tide("backups", "restore", "cache", "--backup", first.ID)))[0]
	s.tide("backups", "promote", "cache", restored)
	if session := s.ask("GET", "/session", ""); session != "ada" {
		t.Errorf("the session is that of %q", session)
	}
	s.refused(3, "there is no backup", "backups", "restore", "db", "--backup", first.ID)
	s.refused(2, "is not the ID of a backup", "db", "restore", "--backup", "newest")
}
