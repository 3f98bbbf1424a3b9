package mail

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestTheSuppressionListIsTheEnvironmentsAndOutlivesARestart(t *testing.T) {
	folder := t.TempDir()
	within := func(o *Options) { o.Folder = folder }
	sender := senderTo(t, "", within)
	staging := springtide.EnvironmentID{App: "shop", Name: "staging"}
	for _, address := range []string{"B@Example.com", "a@example.com", "b@example.com"} {
		if err := sender.Suppress(production, address, "asked for it"); err != nil {
			t.Fatal(err)
		}
	}
	if err := sender.Suppress(production, "nonsense", ""); springtide.KindOf(err) != springtide.Invalid {
		t.Error(err)
	}
	sender = senderTo(t, "", within)
	got, err := sender.Suppressions(production)
	if err != nil || len(got) != 2 || got[0].Address != "a@example.com" || got[1].Address != "b@example.com" || got[1].Reason != "asked for it" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := sender.Suppressions(staging); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := sender.Unsuppress(production, "b@EXAMPLE.com"); err != nil {
		t.Error(err)
	}
	if err := sender.Unsuppress(production, "b@example.com"); springtide.KindOf(err) != springtide.NotFound {
		t.Error(err)
	}
	if got, err := senderTo(t, "", within).Suppressions(production); err != nil || len(got) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := sender.Forget(production); err != nil {
		t.Error(err)
	}
	if got, err := senderTo(t, "", within).Suppressions(production); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheOldestLeaveAFullSuppressionList(t *testing.T) {
	sender := senderTo(t, "", nil)
	begin := time.Now().Add(-time.Hour)
	err := sender.change(production, func(entries map[string]Suppression) bool {
		for n := range mostSuppressed {
			address := fmt.Sprintf("%05d@example.com", n)
			entries[address] = Suppression{address, "", begin.Add(time.Duration(n) * time.Millisecond)}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.Suppress(production, "new@example.com", ""); err != nil {
		t.Fatal(err)
	}
	got, err := sender.Suppressions(production)
	if err != nil || len(got) != mostSuppressed || got[0].Address != "00001@example.com" || got[len(got)-1].Address != "new@example.com" {
		t.Errorf("%d from %s, %v", len(got), got[0].Address, err)
	}
}

func TestAListThatCannotBeReadHoldsTheMailBack(t *testing.T) {
	server := startRemote(t, nil)
	sender := senderTo(t, "smtp://"+server.address, nil)
	path := filepath.Join(sender.options.Folder, "suppressed", "shop", "production.json")
	os.MkdirAll(filepath.Dir(path), 0o700)
	os.WriteFile(path, []byte("{"), 0o600)
	outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com")))
	if outcome.Verdict != "failed" || outcome.Final || len(server.mails()) != 0 {
		t.Errorf("%+v", outcome)
	}
	os.Remove(path)
	if outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com"))); outcome.Verdict != "succeeded" {
		t.Errorf("%+v", outcome)
	}
}
