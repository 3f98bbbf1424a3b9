package mail

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/springtide/springtide"
)

func TestWhatWasDeliveredIsKnownAfterARestart(t *testing.T) {
	folder := t.TempDir()
	first, err := openDelivered(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []delivery{
		{Run: "a", Accepted: []string{"x@example.com"}},
		{Run: "b", Bounced: []Refusal{{"y@example.com", "550"}}},
		{Run: "a", Accepted: []string{"x@example.com", "z@example.com"}},
	} {
		if err := first.add(one); err != nil {
			t.Fatal(err)
		}
	}
	// The power goes while a line is written.
	path := filepath.Join(folder, "newer.jsonl")
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	file.WriteString(`{"run":"c","acce`)
	file.Close()
	for range 2 {
		next, err := openDelivered(folder)
		if err != nil {
			t.Fatal(err)
		}
		if got := next.of("a"); len(got.Accepted) != 2 {
			t.Errorf("a: %+v", got)
		}
		if got := next.of("b"); len(got.Bounced) != 1 {
			t.Errorf("b: %+v", got)
		}
		if got := next.of("c"); got.Run != "" {
			t.Errorf("c: %+v", got)
		}
		if err := next.add(delivery{Run: "d", Accepted: []string{"x@example.com"}}); err != nil {
			t.Fatal(err)
		}
		next.close()
	}
	last, err := openDelivered(folder)
	if err != nil || len(last.newer) != 3 {
		t.Errorf("%v, %v", last.newer, err)
	}
}

func TestTheOldestDeliveriesAreForgotten(t *testing.T) {
	folder := t.TempDir()
	d, err := openDelivered(folder)
	if err != nil {
		t.Fatal(err)
	}
	// Filled by hand: syncing each of sixteen thousand takes its time.
	fill := func(from string) {
		for n := range perGeneration {
			run := springtide.RunID(fmt.Sprint(from, n))
			d.newer[run] = delivery{Run: run}
		}
	}
	for _, name := range []string{"x", "y", "z"} {
		if err := d.add(delivery{Run: springtide.RunID(name)}); err != nil {
			t.Fatal(err)
		}
		fill(name)
	}
	if d.of("x").Run != "" || d.of("y").Run == "" || d.of("z").Run == "" {
		t.Errorf("x %v, y %v, z %v", d.of("x"), d.of("y"), d.of("z"))
	}
	again, err := openDelivered(folder)
	if err != nil || again.of("x").Run != "" || again.of("y").Run == "" || again.of("z").Run == "" {
		t.Errorf("after a restart: %v, %v", again, err)
	}
}

func TestAFullDiskDoesNotHideThatAMailWasSent(t *testing.T) {
	server := startRemote(t, nil)
	sender := senderTo(t, "smtp://"+server.address, nil)
	sender.delivered.file.Close() // nothing can be written any more
	run := runOf(t, hello("a@example.com"))
	for range 2 {
		if outcome := sender.Execute(t.Context(), run); outcome.Verdict != "succeeded" {
			t.Errorf("%+v", outcome)
		}
	}
	if mails := server.mails(); len(mails) != 1 {
		t.Errorf("it was sent %d times", len(mails))
	}
}
