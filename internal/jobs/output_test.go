package jobs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// write appends output to an attempt.
func write(t *testing.T, s *jobs.Service, hold jobs.Hold, offset int64, text string) (int64, error) {
	t.Helper()
	return s.AppendOutput(t.Context(), jobs.Identity{Environment: quiz}, hold, offset, strings.NewReader(text))
}

func wantNext(t *testing.T, want int64) func(next int64, err error) {
	return func(next int64, err error) {
		t.Helper()
		if err != nil || next != want {
			t.Errorf("it goes on at %d, %v; want %d", next, err, want)
		}
	}
}

// read gives all output of a run.
func read(t *testing.T, s *jobs.Service, run springtide.RunID, follow bool) string {
	t.Helper()
	output, err := s.Output(t.Context(), quiz, run, follow)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer output.Close()
	text, err := io.ReadAll(output)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

func TestOutputThatIsSentTwiceIsKeptOnce(t *testing.T) {
	s := start(t, newBook())
	hold := leaseMany(t, s, 1)[0]
	wantNext(t, 6)(write(t, s, hold, 0, "hello "))
	wantNext(t, 6)(write(t, s, hold, 0, "hello "))
	wantNext(t, 11)(write(t, s, hold, 3, "lo world"))
	wantNext(t, 5)(write(t, s, hold, 2, "llo"))
	if got := read(t, s, hold.Run, false); got != "hello world" {
		t.Errorf("the output is %q", got)
	}
}

func TestOutputBeyondTheEndIsSentBackOnceThenLeavesAGap(t *testing.T) {
	s := start(t, newBook())
	hold := leaseMany(t, s, 1)[0]
	wantNext(t, 6)(write(t, s, hold, 0, "hello "))
	next, err := write(t, s, hold, 1000, "world")
	wantKind(t, err, springtide.Conflict, "byte 6")
	wrong, ok := errors.AsType[*jobs.OffsetError](err)
	if next != 6 || !ok || wrong.Next != 6 {
		t.Error(next, err)
	}
	wantNext(t, 9)(write(t, s, hold, 6, "all"))
	_, err = write(t, s, hold, 1000, "world")
	wantKind(t, err, springtide.Conflict, "byte 9")
	wantNext(t, 1005)(write(t, s, hold, 1000, "world"))
	if got := read(t, s, hold.Run, false); got != "hello all\n[some output is missing here: it could not be kept]\nworld" {
		t.Errorf("the output is %q", got)
	}
}

func TestOutputBeyondItsLimitIsDroppedWithALineThatSaysSo(t *testing.T) {
	s := start(t, newBook())
	hold := leaseMany(t, s, 1)[0]
	line := strings.Repeat("x", 1<<20)
	offset := int64(0)
	for range 20 {
		next, err := write(t, s, hold, offset, line)
		if err != nil || next != offset+1<<20 {
			t.Fatal(next, err)
		}
		offset = next
	}
	got := read(t, s, hold.Run, false)
	text, said := strings.CutSuffix(got, "\n[the output is cut here: 16 MiB of an attempt's are kept]\n")
	if !said || len(text) != 16<<20 {
		t.Errorf("%d bytes were kept, the end is %q", len(text), got[len(got)-100:])
	}
}

func TestOnlyTheNewestAttemptMayWrite(t *testing.T) {
	s := start(t, newBook())
	old := leaseMany(t, s, 1)[0]
	wantNext(t, 3)(write(t, s, old, 0, "one"))
	if _, err := complete(t, s, jobs.Completion{Hold: old, Verdict: jobs.Returned}); err != nil {
		t.Fatal(err)
	}
	leased := lease(t, s, 1).Runs[0]
	wantNext(t, 3)(write(t, s, jobs.Hold{Run: leased.Run, Fence: leased.Fence}, 0, "two"))
	_, err := write(t, s, old, 3, "late")
	wantKind(t, err, springtide.Conflict)
	got := read(t, s, old.Run, false)
	if head, text, _ := strings.Cut(got, "\n"); !strings.HasPrefix(head, "[attempt 1 wrote 3 bytes, until ") || text != "two" {
		t.Errorf("the output is %q", got)
	}
}

func TestWhoFollowsOutputHasItUntilTheAttemptIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		s := start(t, b)
		enqueue(t, s, springtide.Job{})
		followed := make(chan string)
		go func() { followed <- read(t, s, "run1", true) }()
		time.Sleep(5 * time.Second)
		leased := lease(t, s, 1).Runs[0]
		hold := jobs.Hold{Run: leased.Run, Fence: leased.Fence}
		for i := range int64(10) {
			time.Sleep(time.Second)
			wantNext(t, i+1)(write(t, s, hold, i, "x"))
		}
		if _, err := complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Succeeded, Output: "the end of it"}); err != nil {
			t.Error(err)
		}
		began := time.Now()
		if got := <-followed; got != strings.Repeat("x", 10) || time.Since(began) > time.Millisecond {
			t.Errorf("the output is %q, after %v", got, time.Since(began))
		}
	})
}

func TestWhoFollowsCanLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, newBook())
		enqueue(t, s, springtide.Job{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		output, err := s.Output(ctx, quiz, "run1", true)
		if err != nil {
			t.Fatal(err)
		}
		defer output.Close()
		if _, err := io.ReadAll(output); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestWhereTheFileIsNotTheEndOfTheOutputIsGivenFromTheLedger(t *testing.T) {
	s := start(t, newBook())
	hold := leaseMany(t, s, 1)[0]
	if _, err := complete(t, s, jobs.Completion{Hold: hold, Verdict: jobs.Succeeded, Output: "the end of it"}); err != nil {
		t.Fatal(err)
	}
	for _, follow := range []bool{false, true} {
		if got := read(t, s, hold.Run, follow); got != "the end of it" {
			t.Errorf("the output is %q", got)
		}
	}
}

func TestOfAnEnvironmentTheOldestOutputGoesFirst(t *testing.T) {
	folder := t.TempDir()
	s := start(t, newBook(), func(o *jobs.Options) { o.Folder = folder })
	hold := leaseMany(t, s, 1)[0]
	place := filepath.Join(folder, "quiz", "production")
	if err := os.MkdirAll(place, 0o700); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"older.1", "old.1", "young.1"} {
		path := filepath.Join(place, name)
		at := time.Now().Add(time.Duration(i-10) * time.Hour)
		err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 400<<20), os.Chtimes(path, at, at)) // they take no space
		if err != nil {
			t.Fatal(err)
		}
	}
	wantNext(t, 1)(write(t, s, hold, 0, "x"))
	for name, want := range map[string]bool{"older.1": false, "old.1": true, "young.1": true, string(hold.Run) + ".1": true} {
		if _, err := os.Stat(filepath.Join(place, name)); (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.ForgetEnvironment(t.Context(), quiz); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(place); !os.IsNotExist(err) {
		t.Error("the output of a forgotten environment is still there")
	}
}

func TestTheOutputOfForgottenRunsIsDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		folder := t.TempDir()
		b := newBook()
		s := start(t, b, func(o *jobs.Options) { o.Folder = folder })
		holds := leaseMany(t, s, 2)
		for _, hold := range holds {
			wantNext(t, 1)(write(t, s, hold, 0, "x"))
			path := filepath.Join(folder, "quiz", "production", string(hold.Run)+".1")
			if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
				t.Fatal(err)
			}
		}
		b.set(func() { delete(b.runs, holds[0].Run) })
		time.Sleep(2*time.Hour + time.Minute)
		synctest.Wait()
		entries, err := os.ReadDir(filepath.Join(folder, "quiz", "production"))
		if err != nil || len(entries) != 1 || entries[0].Name() != string(holds[1].Run)+".1" {
			t.Error(entries, err)
		}
	})
}

func TestAFullDiskCostsOutputAndNothingElse(t *testing.T) {
	folder := t.TempDir()
	if err := syscall.Mount("none", folder, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("a small disk cannot be mounted: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := start(t, newBook(), func(o *jobs.Options) { o.Folder = folder })
	hold := leaseMany(t, s, 1)[0]
	filler := filepath.Join(folder, "filler")
	wantNext(t, 5)(write(t, s, hold, 0, "begin"))
	_ = os.WriteFile(filler, bytes.Repeat([]byte("x"), 128<<10), 0o600) // as much of it as there is room for
	wantNext(t, 50_005)(write(t, s, hold, 5, strings.Repeat("y", 50_000)))
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	wantNext(t, 50_008)(write(t, s, hold, 50_005, "end"))
	got := read(t, s, hold.Run, false)
	if !strings.HasPrefix(got, "begin") || !strings.HasSuffix(got, "\n[some output is missing here: it could not be kept]\nend") {
		t.Errorf("the output is %q", got)
	}
}

func TestOutputThatCannotBeKeptAtAllIsDropped(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(folder, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := start(t, newBook(), func(o *jobs.Options) { o.Folder = folder })
	hold := leaseMany(t, s, 1)[0]
	wantNext(t, 5)(write(t, s, hold, 0, "begin"))
	if err := os.Remove(folder); err != nil {
		t.Fatal(err)
	}
	_, err := write(t, s, hold, 5, "end")
	wantKind(t, err, springtide.Conflict, "byte 0")
	wantNext(t, 8)(write(t, s, hold, 5, "end")) // he does not have it any more
	if got := read(t, s, hold.Run, false); !strings.HasSuffix(got, "kept]\nend") {
		t.Errorf("the output is %q", got)
	}
}
