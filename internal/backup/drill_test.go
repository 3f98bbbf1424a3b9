package backup

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/postgres"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// oneServer is a platform with one service.
type oneServer struct {
	server *servicetest.Server
	driver service.Driver
}

func (o oneServer) Server(id springtide.ServiceID) (service.Server, service.Driver, error) {
	if id != o.server.ID {
		return service.Server{}, nil, springtide.Errorf(springtide.NotFound, "there is no service %s", id)
	}
	return o.server.Server, o.driver, nil
}

func (o oneServer) Draft(context.Context, springtide.ServiceID, springtide.ServiceID) (service.Server, error) {
	return service.Server{}, errors.ErrUnsupported
}

func (o oneServer) Adopt(context.Context, springtide.ServiceID, service.Server) error {
	return errors.ErrUnsupported
}

func (o oneServer) Destroy(context.Context, springtide.ServiceID) error { return errors.ErrUnsupported }

// withPostgres gives the depot a database of ten questions.
func (d *depot) withPostgres() Subject {
	d.t.Helper()
	driver := postgres.New(postgres.Options{})
	server := servicetest.New(d.t, driver, springtide.Service{Kind: springtide.ServicePostgres})
	server.Create()
	server.Start()
	server.Settle()
	query(d.t, server.URL(), "CREATE TABLE questions AS SELECT * FROM generate_series(1, 10) AS id")
	d.services = oneServer{server, driver}
	of := SubjectOf(server.ID)
	d.plans = []Plan{{of, springtide.Backup{Daily: "04:30", Keep: d.keep, PointInTime: true, Smoke: "./count"}}}
	d.drills.Smoke = func(ctx context.Context, _ Subject, command, url string) error {
		if command != "./count" {
			return errors.New(command)
		}
		connection, err := pgx.Connect(ctx, url)
		if err != nil {
			return err
		}
		defer connection.Close(ctx)
		var count int
		err = connection.QueryRow(ctx, "SELECT count(*) FROM questions").Scan(&count)
		if err == nil && count < 10 {
			err = springtide.Errorf(springtide.Failed, "there are too few questions")
		}
		return err
	}
	return of
}

func query(t *testing.T, url, statement string) {
	t.Helper()
	connection, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close(t.Context())
	if _, err := connection.Exec(t.Context(), statement); err != nil {
		t.Fatal(err)
	}
}

// flip changes one byte in the middle of the largest file below a folder.
func flip(t *testing.T, folder string) (undo func()) {
	t.Helper()
	var largest string
	var size int64
	err := filepath.Walk(folder, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil || largest == "" {
		t.Fatal("nothing to damage below", folder, err)
	}
	change := func() {
		content, err := os.ReadFile(largest)
		if err != nil {
			t.Fatal(err)
		}
		content[size/2] ^= 1
		if err := errors.Join(os.Chmod(largest, 0o600), os.WriteFile(largest, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	change()
	return change
}

func TestADrillProvesThatTheNewestBackupOfADatabaseComesBack(t *testing.T) {
	d := newDepot(t)
	of := d.withPostgres()
	k := d.keeper()
	if outcome := d.run(k, springtide.RunDrill, of); outcome.Verdict == jobs.Succeeded || !d.happened("drill.failed") {
		t.Errorf("a drill without a backup: %+v", outcome)
	}
	began := time.Now()
	if outcome := d.run(k, springtide.RunBackup, of); outcome.Verdict != jobs.Succeeded {
		t.Fatal(outcome.Reason)
	}
	if outcome := d.run(k, springtide.RunDrill, of); outcome.Verdict != jobs.Succeeded {
		t.Fatal(outcome.Reason)
	}
	proof, err := d.keeper().Proof(of)
	if err != nil || proof.Problem != "" || proof.Rows["public.questions"] != 10 && proof.Rows["questions"] != 10 {
		t.Errorf("%+v, %v", proof, err)
	}
	if proof.Took <= 0 || proof.Lost <= 0 || proof.Lost > time.Since(began) || !strings.HasPrefix(proof.String(), "proven restorable: ") {
		t.Error(proof)
	}
	t.Log(proof)

	t.Run("and that the app is content with it", func(t *testing.T) {
		smoke := d.drills.Smoke
		defer func() { d.drills.Smoke = smoke }()
		d.drills.Smoke = func(context.Context, Subject, string, string) error { return errors.New("no quiz of today") }
		outcome := d.run(d.keeper(), springtide.RunDrill, of)
		if outcome.Verdict == jobs.Succeeded || !strings.Contains(outcome.Reason, "no quiz of today") {
			t.Errorf("%+v", outcome)
		}
	})
	t.Run("and finds one wrong byte in it", func(t *testing.T) {
		undo := flip(t, d.at("target", "springtide", "quiz", "production", "db", "objects"))
		if outcome := d.run(k, springtide.RunDrill, of); outcome.Verdict == jobs.Succeeded {
			t.Error("nothing was found")
		}
		after, err := k.Proof(of)
		if err != nil || after.Problem == "" || !after.Proven.Equal(proof.Proven) {
			t.Errorf("%+v, %v", after, err)
		}
		undo()
	})
	if left, err := filepath.Glob(d.at("scratch", "drill-*")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOneWrongByteInAPackIsFoundByTheDrillsOfAFewDays(t *testing.T) {
	d := newDepot(t)
	k := d.keeper()
	d.backup(k)
	if outcome := d.run(k, springtide.RunDrill, uploads); outcome.Verdict != jobs.Succeeded {
		t.Fatal(outcome.Reason)
	}
	proof, err := k.Proof(uploads)
	if err != nil || proof.Rows["uploads"] != 2 || !strings.Contains(proof.Checked, "3 of 3 files restored, 3 of them compared") {
		t.Errorf("%+v, %v", proof, err)
	}
	repository := d.at("target", "springtide", "quiz", "production", "files", "repository")
	undo := flip(t, filepath.Join(repository, "data"))
	plain := exec.Command("restic", "-r", repository, "--password-file", d.at("own", "quiz", "production", "password"), "--no-cache", "check")
	if output, err := plain.CombinedOutput(); err != nil || !bytes.Contains(output, []byte("no errors were found")) {
		t.Errorf("a plain check finds it too: %s", output)
	}
	found := 0
	for range 3 {
		if _, err := k.files.check(t.Context(), uploads); springtide.KindOf(err) == springtide.Failed {
			found++
			break // the part is read again until it is mended
		}
	}
	if found == 0 {
		t.Error("nothing was found in three days")
	}
	if outcome := d.run(k, springtide.RunDrill, uploads); outcome.Verdict == jobs.Succeeded || !d.happened("drill.failed") {
		t.Errorf("the drill found nothing: %+v", outcome)
	}
	undo()
	for range 3 {
		if _, err := k.files.check(t.Context(), uploads); err != nil {
			t.Fatal(err)
		}
	}
	reading, err := k.files.reading(uploads)
	if err != nil || reading.Problem != "" || reading.Whole.IsZero() {
		t.Errorf("after it was mended: %+v, %v", reading, err)
	}
}
