package jobs

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/story"
)

// postOffice is an SMTP server that refuses those who have moved.
type postOffice struct {
	mu       sync.Mutex
	received []letter
}

type letter struct {
	from, to, text string
}

func (o *postOffice) NewSession(*smtp.Conn) (smtp.Session, error) { return &counter{office: o}, nil }

// letters gives what was received, in order of the recipients.
func (o *postOffice) letters() []letter {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.SortedFunc(slices.Values(o.received), func(a, b letter) int { return strings.Compare(a.to, b.to) })
}

type counter struct {
	office *postOffice
	letter
}

func (c *counter) Mail(from string, _ *smtp.MailOptions) error { c.from = from; return nil }

func (c *counter) Rcpt(to string, _ *smtp.RcptOptions) error {
	if strings.HasPrefix(to, "moved") {
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "no such mailbox"}
	}
	c.to = to
	return nil
}

func (c *counter) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	c.text = string(text)
	c.office.mu.Lock()
	defer c.office.mu.Unlock()
	c.office.received = append(c.office.received, c.letter)
	return err
}

func (c *counter) Reset()        {}
func (c *counter) Logout() error { return nil }

func openPostOffice(t *testing.T) (office *postOffice, url string) {
	t.Helper()
	office = &postOffice{}
	server := smtp.NewServer(office)
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = server.Serve(listener) }() // it ends when it is closed
	t.Cleanup(func() { server.Close() })
	return office, "smtp://" + listener.Addr().String()
}

const ownMail = `python3 - <<'END'
import os, smtplib, urllib.parse
url = urllib.parse.urlsplit(os.environ["SMTP_URL"])
with smtplib.SMTP(url.hostname, url.port) as server:
    server.login(urllib.parse.unquote(url.username), urllib.parse.unquote(url.password))
    server.sendmail("app@example.com", ["ann@example.com"], "Subject: By myself\r\n\r\nHello from the app\r\n")
END`

func TestMailsAreCaughtUntilThereIsAServerThatTheyAreSentThrough(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t, "--allow-calls", "127.0.0.1/32"), strings.Replace(calling, "every: 2s", "cron: '@yearly'", 1), webFiles(t)...)

	s.await(s.enqueue("--kind", "mail", "--payload", `{"to":["ann@example.com"],"template":"/letter","data":{"name":"Ann"}}`), springtide.RunSucceeded)
	if done := s.sh(ownMail); done.Status != 0 {
		t.Errorf("what the app sends itself: %+v", done)
	}
	var caught []api.CaughtMail
	story.Eventually(t, "two mails that were caught", patience, func() bool {
		var err error
		caught, err = s.Client.Mails(t.Context(), production)
		return err == nil && len(caught) == 2
	})
	for i, says := range [][]string{{"Subject: By myself", "Hello from the app"}, {"Subject: Welcome Ann", "Hello Ann", "<p>Hello</p>", "shop@example.com"}} {
		text := s.tide("mail", "show", caught[i].Name)
		for _, part := range says {
			if !strings.Contains(text, part) {
				t.Errorf("tide mail show does not say %q:\n%s", part, text)
			}
		}
	}
	if text := s.tide("mail", "ls"); !strings.Contains(text, "ann@example.com") || !strings.Contains(text, "By myself") {
		t.Errorf("tide mail ls:\n%s", text)
	}

	office, address := openPostOffice(t)
	s.tide("config", "set", "SMTP_URL="+address)
	story.Eventually(t, "a release that knows the server", patience, func() bool {
		releases, err := s.Client.Releases(t.Context(), production)
		return err == nil && releases[0].Number == 2 && releases[0].State == springtide.ReleaseActive
	})
	sendNewsletter(t, s)
	letters := office.letters()
	if len(letters) != 2 || letters[0].to != "ann@example.com" || letters[1].to != "bob@example.com" || letters[0].from != "shop@example.com" {
		t.Errorf("the post office has %+v", letters)
	}
	if text := s.tide("mail", "suppressions"); !strings.Contains(text, "moved@example.com") {
		t.Errorf("tide mail suppressions: %s", text)
	}
}

// sendNewsletter sends a batch of mails from inside the app, and waits until
// that is told as done.
func sendNewsletter(t *testing.T, s *shop) {
	t.Helper()
	var letters []springtide.Job
	for _, to := range []string{"ann", "bob", "moved"} {
		payload := fmt.Sprintf(`{"to":["%s@example.com"],"subject":"News","text":"Hello %s"}`, to, to)
		letters = append(letters, springtide.Job{Kind: springtide.RunMail, Payload: []byte(payload)})
	}
	done := springtide.Job{Kind: springtide.RunHTTP, Payload: []byte(`{"url":"/tasks/sent","body":{"news":12}}`)}
	var answer struct{ ID string }
	decode(t, s.ask(question{Path: "/batches", Body: map[string]any{"id": "news-12", "jobs": letters, "done": done}}), 201, &answer)
	var status jobs.BatchStatus
	story.Eventually(t, "all to be sent", patience, func() bool {
		decode(t, s.ask(question{Method: "GET", Path: "/batches/news-12"}), 200, &status)
		return status.Done != ""
	})
	if status.Size != 3 || status.Over != 3 || status.Dead != 1 {
		t.Errorf("the batch is %+v", status)
	}
	checkEcho(t, s.await(status.Done, springtide.RunSucceeded), "/tasks/sent", `{"news":12}`)
}
