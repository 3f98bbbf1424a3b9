package mail

import (
	"context"
	"fmt"
	"io"
	"net"
	netsmtp "net/smtp"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func readAll(t *testing.T, catcher *Catcher, name string) string {
	t.Helper()
	file, err := catcher.Read(production, name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestWithoutAServerTheCatcherKeepsTheMail(t *testing.T) {
	catcher := NewCatcher(CatcherOptions{Folder: t.TempDir()})
	sender := senderTo(t, "", func(o *Options) { o.Catcher = catcher })
	if err := sender.Suppress(production, "gone@example.com", "bounced"); err != nil {
		t.Fatal(err)
	}
	mail := hello("a@example.com", "gone@example.com")
	mail.Subject, mail.BCC = "Schöne Grüße", []string{"hidden@example.com"}
	outcome := sender.Execute(t.Context(), runOf(t, mail))
	if got := reportOf(t, outcome); outcome.Verdict != jobs.Succeeded || len(got.Accepted) != 2 || len(got.Suppressed) != 1 {
		t.Errorf("%+v: %s", outcome, outcome.Result)
	}
	list, err := catcher.List(production)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	got := list[0]
	if got.From != "shop@shop.example" || !slices.Equal(got.To, []string{"a@example.com", "hidden@example.com"}) || got.Subject != "Schöne Grüße" || time.Since(got.Time) > time.Minute {
		t.Errorf("%+v", got)
	}
	content := readAll(t, catcher, got.Name)
	if int64(len(content)) != got.Size || !strings.Contains(content, "Message-ID: <run1@shop.example>") || !strings.HasSuffix(content, "\r\n\r\nHi") {
		t.Errorf("%d bytes: %s", got.Size, content)
	}
	if other, err := catcher.List(springtide.EnvironmentID{App: "other", Name: "production"}); err != nil || len(other) != 0 {
		t.Errorf("%+v, %v", other, err)
	}
	for _, name := range []string{"", "..", "../production/" + got.Name, ".x", "/etc/passwd", "none.eml"} {
		if _, err := catcher.Read(production, name); springtide.KindOf(err) != springtide.NotFound {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := catcher.Forget(production); err != nil {
		t.Error(err)
	}
	if list, err := catcher.List(production); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func serveCatcher(t *testing.T) (*Catcher, string) {
	t.Helper()
	catcher := NewCatcher(CatcherOptions{Folder: t.TempDir(), Verify: func(id springtide.EnvironmentID, token string) bool {
		return id == production && token == "token"
	}})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { over <- catcher.Serve(ctx, listener) }()
	t.Cleanup(func() {
		cancel()
		if err := <-over; err != nil {
			t.Error(err)
		}
	})
	return catcher, listener.Addr().String()
}

func TestAnAppsOwnMailCodeSendsToTheCatcher(t *testing.T) {
	catcher, address := serveCatcher(t)
	host, _, _ := net.SplitHostPort(address)
	message := "From: x@shop.example\r\nSubject: Own\r\n\r\nHello\r\n"
	send := func(auth netsmtp.Auth) error {
		return netsmtp.SendMail(address, auth, "x@shop.example", []string{"a@example.com", "b@example.com"}, []byte(message))
	}
	if err := send(netsmtp.PlainAuth("", UserName(production), "token", host)); err != nil {
		t.Fatal(err)
	}
	for what, auth := range map[string]netsmtp.Auth{
		"nobody":              nil,
		"a wrong token":       netsmtp.PlainAuth("", UserName(production), "wrong", host),
		"another environment": netsmtp.PlainAuth("", "other.production", "token", host),
		"a path":              netsmtp.PlainAuth("", "../x.production", "token", host),
	} {
		if err := send(auth); err == nil {
			t.Errorf("%s may send", what)
		}
	}
	list, err := catcher.List(production)
	if err != nil || len(list) != 1 || list[0].Subject != "Own" || !slices.Equal(list[0].To, []string{"a@example.com", "b@example.com"}) {
		t.Fatalf("%+v, %v", list, err)
	}
	if content := readAll(t, catcher, list[0].Name); !strings.HasSuffix(content, message) {
		t.Errorf("%s", content)
	}
}

func TestTheExecutorCanSendThroughTheCatchersServer(t *testing.T) {
	catcher, address := serveCatcher(t)
	sender := senderTo(t, "smtp://"+UserName(production)+":token@"+address, nil)
	if outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com"))); outcome.Verdict != jobs.Succeeded {
		t.Errorf("%+v", outcome)
	}
	if list, err := catcher.List(production); err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestTheCatcherKeepsTheNewest(t *testing.T) {
	catcher := NewCatcher(CatcherOptions{Folder: t.TempDir()})
	folder := catcher.folder(production)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	fill := func(n int, size int64) {
		path := filepath.Join(folder, time.Unix(int64(n), 0).UTC().Format(nameLayout)+fmt.Sprintf("-%06d.eml", n))
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
	for n := range mostCaught + 20 {
		fill(n, 10)
	}
	abandoned := filepath.Join(folder, ".123")
	os.WriteFile(abandoned, nil, 0o600)
	os.Chtimes(abandoned, time.Time{}, time.Now().Add(-2*time.Hour))
	name, err := catcher.Keep(production, "a@b.example", []string{"c@d.example"}, strings.NewReader("Subject: x\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := catcher.List(production)
	if err != nil || len(list) != mostCaught || list[0].Name != name || list[0].Subject != "x" || list[1].Subject != "(its head cannot be read)" || list[1].To == nil {
		t.Errorf("%d, %v", len(list), err)
	}
	if _, err := os.Stat(abandoned); !os.IsNotExist(err) {
		t.Error("what was never finished is still there")
	}
	catcher.Forget(production)
	os.MkdirAll(folder, 0o700)
	for n := range 5 {
		fill(n, mostCaughtBytes/4)
	}
	if _, err := catcher.Keep(production, "a@b.example", []string{"c@d.example"}, strings.NewReader("\r\n")); err != nil {
		t.Fatal(err)
	}
	if list, err := catcher.List(production); err != nil || len(list) != 4 {
		t.Errorf("%d, %v", len(list), err)
	}
}
