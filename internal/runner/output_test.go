package runner

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/engine/process/order"
)

func FuzzWhatACommandSaysIsGivenWholeAsValidText(f *testing.F) {
	f.Add([]byte("one\ntwo"))
	f.Add([]byte("\xff\xfe\n\n\xe2\x82"))
	f.Add([]byte(strings.Repeat("€", order.LongestLine)))
	f.Fuzz(func(t *testing.T, data []byte) {
		var got []byte
		readLines(iotest.HalfReader(bytes.NewReader(data)), func(line []byte) {
			if len(line) == 0 || !utf8.Valid(line) || bytes.IndexByte(line[:len(line)-1], '\n') >= 0 {
				t.Fatalf("%q", line)
			}
			got = append(got, line...)
		})
		if utf8.Valid(data) && !bytes.Equal(got, data) {
			t.Fatalf("%q became %q", data, got)
		}
		if bytes.Count(got, []byte("\n")) != bytes.Count(data, []byte("\n")) {
			t.Fatalf("%q became %q", data, got)
		}
	})
}

func TestOutputGoesOnWhereThePlatformSays(t *testing.T) {
	f := newFake(t)
	run := f.enqueue("true")
	f.change(func() {
		// What was sent before the answer was lost.
		run.state, run.Fence, run.output = springtide.RunRunning, 7, []byte("one\n")
		run.until = run.until.AddDate(3000, 0, 0)
	})
	p, err := newPlatform(f.URL+"/env", testToken, "")
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	o, ended := newOutput(), make(chan struct{})
	o.add([]byte("one\n"))
	o.add([]byte("two\n"))
	close(ended)
	a := attempt{leased: run.LeasedRun}
	p.upload(context.Background(), a.hold(), o, ended)
	f.change(func() {
		if string(run.output) != "one\ntwo\n" {
			t.Errorf("%q", run.output)
		}
	})
	// Another has the run: nothing more is kept for it.
	a.leased.Fence = 6
	o.add([]byte("three\n"))
	p.upload(context.Background(), a.hold(), o, ended)
	o.add([]byte("four\n"))
	if len(o.pending()) > 0 || o.last() != "one\ntwo\nthree\nfour\n" {
		t.Errorf("%q, %q", o.pending(), o.last())
	}
}

func TestTheEndOfMuchOutputIsKept(t *testing.T) {
	o := newOutput()
	for range 3 * springtide.OutputTail / 4 {
		o.add([]byte("€\n"))
	}
	if last := o.last(); len(last) > springtide.OutputTail || len(last) < springtide.OutputTail-4 || !utf8.ValidString(last) {
		t.Errorf("%d bytes", len(last))
	}
}
