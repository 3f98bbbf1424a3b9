package postgres

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTheVerifierIsTheOneThatPostgreSQLWouldMake(t *testing.T) {
	// From RFC 7677, section 3.
	const known = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
	if !verifies(known, "pencil") {
		t.Error("the right password is not recognised")
	}
	if verifies(known, "pencils") || verifies("", "") || verifies("md5abc", "pencil") {
		t.Error("a wrong password is recognised")
	}
}

func FuzzVerifier(f *testing.F) {
	f.Add("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$a=:b=")
	f.Add("SCRAM-SHA-256$99999999999:x$:")
	f.Fuzz(func(t *testing.T, kept string) {
		if verifies(kept, "pencil") && !strings.HasPrefix(kept, scramName+"$") {
			t.Errorf("%q is taken", kept)
		}
	})
}

func FuzzPositions(f *testing.F) {
	f.Add("pg_basebackup: write-ahead log start point: 0/2000028 on timeline 1\npg_basebackup: write-ahead log end point: 0/2000138\n")
	f.Add("write-ahead log end point: 0/\nwrite-ahead log start point: /0")
	f.Fuzz(func(t *testing.T, said string) {
		begin, end, err := parsePositions(said)
		if err == nil && (!strings.Contains(said, begin) || !strings.Contains(said, end) || strings.Count(begin, "/") != 1) {
			t.Errorf("%q and %q", begin, end)
		}
	})
}

func FuzzLabel(f *testing.F) {
	f.Add("START WAL LOCATION: 0/2000028\nSTART TIME: 2026-11-22 08:10:46 UTC\nLABEL: pg_basebackup base backup\n")
	f.Add("START TIME: 2026-13-42 99:10:46 UTC\n")
	f.Fuzz(func(t *testing.T, label string) {
		begin, err := parseBegin(label)
		if err == nil && !strings.Contains(label, begin.Add(-time.Second).Format(time.DateTime)) {
			t.Errorf("%s of %q", begin, label)
		}
	})
}

func FuzzPID(f *testing.F) {
	f.Add("1234\n/data\n")
	f.Add("-1")
	f.Fuzz(func(t *testing.T, content string) {
		if pid := parsePID(content); pid < 0 || pid == 1 {
			t.Errorf("process %d", pid)
		}
	})
}

func FuzzChange(f *testing.F) {
	for _, name := range []string{"000000010000000000000001", "00000002.history", "../../etc/passwd", ".0000"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if isChange(name) && (len(name) < 16 || strings.ContainsAny(name, "/ \n")) {
			t.Errorf("%q is taken", name)
		}
	})
}

func TestWhyAProgramFailedIsToldAlsoIfItSaysMoreAfterIt(t *testing.T) {
	for said, want := range map[string]string{
		"":                              "initdb: it ended",
		"creating folder\nno more room": "initdb: it ended: no more room",
		"FATAL:  could not map memory\nchild process exited with exit code 1\ninitdb: removing data directory \"x\"":       "initdb: it ended: FATAL:  could not map memory",
		"child process was terminated by signal 9: Killed\ninitdb: removing data directory \"x\"":                          "initdb: it ended: child process was terminated by signal 9: Killed",
		"initdb: error: the first\ninitdb: error: could not create directory \"x\"\ninitdb: removing data directory \"x\"": "initdb: it ended: initdb: error: could not create directory \"x\"",
	} {
		if got := failure("initdb", errors.New("it ended"), &tail{[]byte(said)}).Error(); got != want {
			t.Errorf("of %q it is told %q, want %q", said, got, want)
		}
	}
}
