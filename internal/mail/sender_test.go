package mail

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/jobs"
)

var _ jobs.Executor = (*Sender)(nil)

var production = springtide.EnvironmentID{App: "shop", Name: springtide.Production}

// remote is an SMTP server that says what it is told to.
type remote struct {
	address string

	mutex sync.Mutex
	// rcpt answers for a recipient, data for a mail; nil: yes.
	rcpt func(address string) error
	data func() error
	auth func(user, password string) error
	// got are the mails that it took.
	got []received
}

type received struct {
	from string
	to   []string
	raw  string
	user string
}

type remoteSession struct {
	*remote
	received
}

func (s *remoteSession) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *remoteSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		s.user = user
		if s.auth == nil {
			return nil
		}
		return s.auth(user, password)
	}), nil
}
func (s *remoteSession) Reset()        { s.received = received{user: s.user} }
func (s *remoteSession) Logout() error { return nil }
func (s *remoteSession) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *remoteSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.rcpt != nil {
		if err := s.rcpt(to); err != nil {
			return err
		}
	}
	s.to = append(s.to, to)
	return nil
}

func (s *remoteSession) Data(r io.Reader) error {
	content, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.data != nil {
		if err := s.data(); err != nil {
			return err
		}
	}
	s.raw = string(content)
	s.remote.got = append(s.remote.got, s.received)
	return nil
}

func (r *remote) mails() []received {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return slices.Clone(r.got)
}

func startRemote(t *testing.T, configure func(*smtp.Server)) *remote {
	t.Helper()
	r := &remote{}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &remoteSession{remote: r}, nil }))
	server.Domain, server.AllowInsecureAuth = "remote.example", true
	if configure != nil {
		configure(server)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	r.address = listener.Addr().String()
	return r
}

func senderTo(t *testing.T, url string, change func(*Options)) *Sender {
	t.Helper()
	options := Options{
		Settings: func(springtide.EnvironmentID) (Settings, error) {
			return Settings{Server: url, From: "Shop <shop@shop.example>"}, nil
		},
		Folder:       t.TempDir(),
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}
	if change != nil {
		change(&options)
	}
	sender, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sender.Close() })
	return sender
}

func runOf(t *testing.T, mail springtide.Mail) springtide.Run {
	t.Helper()
	payload, err := json.Marshal(mail)
	if err != nil {
		t.Fatal(err)
	}
	return springtide.Run{ID: "run1", Environment: production, Kind: springtide.RunMail, Payload: payload, Attempt: 1}
}

func hello(to ...string) springtide.Mail {
	return springtide.Mail{To: to, Subject: "Hello", Text: "Hi"}
}

func reportOf(t *testing.T, outcome jobs.Outcome) (r report) {
	t.Helper()
	if err := json.Unmarshal(outcome.Result, &r); err != nil {
		t.Fatalf("%v in %+v", err, outcome)
	}
	return r
}

func says(code int, enhanced smtp.EnhancedCode, message string) error {
	return &smtp.SMTPError{Code: code, EnhancedCode: enhanced, Message: message}
}

func TestAMailArrivesAsItWasWritten(t *testing.T) {
	server := startRemote(t, nil)
	sender := senderTo(t, "smtp://"+server.address, nil)
	run := runOf(t, springtide.Mail{
		From: "Grüße <post@Bücher.example>", To: []string{"A Name <a@example.com>"}, CC: []string{"c@example.com"},
		BCC: []string{"hidden@example.com", "A@EXAMPLE.com"}, ReplyTo: "help@shop.example", Subject: "Schöne Grüße", Text: "Hällo\n.\nWelt", HTML: "<p>Hällo</p>",
		Headers: map[string]string{"List-Unsubscribe": "<https://shop.example/off?t=1>,  <mailto:off@shop.example>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"},
	})
	outcome := sender.Execute(t.Context(), run)
	if outcome.Verdict != jobs.Succeeded {
		t.Fatalf("%+v", outcome)
	}
	mails := server.mails()
	if len(mails) != 1 || mails[0].from != "post@xn--bcher-kva.example" || !slices.Equal(mails[0].to, []string{"a@example.com", "c@example.com", "hidden@example.com"}) {
		t.Fatalf("%+v", mails)
	}
	message, err := netmail.ReadMessage(strings.NewReader(mails[0].raw))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Message-Id": "<run1@xn--bcher-kva.example>", "To": `"A Name" <a@example.com>`, "Cc": "<c@example.com>", "Bcc": "",
		"Reply-To": "<help@shop.example>", "Subject": "=?UTF-8?q?Sch=C3=B6ne_Gr=C3=BC=C3=9Fe?=",
		"List-Unsubscribe": "<https://shop.example/off?t=1>, <mailto:off@shop.example>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
	} {
		if got := message.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if date, err := message.Header.Date(); err != nil || time.Since(date) > time.Minute {
		t.Errorf("date %v, %v", date, err)
	}
	if !strings.Contains(mails[0].raw, "multipart/alternative") || strings.Contains(mails[0].raw, "hidden") || !strings.Contains(mails[0].raw, "H=C3=A4llo\r\n.\r\nWelt") {
		t.Errorf("the message is %s", mails[0].raw)
	}
	if got := reportOf(t, outcome); len(got.Accepted) != 3 || got.MessageID != "run1@xn--bcher-kva.example" {
		t.Errorf("%s", outcome.Result)
	}
}

func TestOneHardBounceDoesNotKeepTheMailFromTheOthers(t *testing.T) {
	server := startRemote(t, nil)
	server.rcpt = func(address string) error {
		switch address {
		case "gone@example.com":
			return says(550, smtp.EnhancedCode{5, 1, 1}, "no such user")
		case "policy@example.com":
			return says(550, smtp.EnhancedCode{5, 7, 1}, "we do not relay")
		}
		return nil
	}
	sender := senderTo(t, "smtp://"+server.address, nil)
	outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com", "gone@example.com", "policy@example.com", "b@example.com")))
	got := reportOf(t, outcome)
	if outcome.Verdict != jobs.Succeeded || !slices.Equal(got.Accepted, []string{"a@example.com", "b@example.com"}) || len(got.Bounced) != 2 {
		t.Errorf("%+v: %s", outcome, outcome.Result)
	}
	// Who does not exist is not written to again; who only refused this mail is.
	suppressed, err := sender.Suppressions(production)
	if err != nil || len(suppressed) != 1 || suppressed[0].Address != "gone@example.com" || !strings.Contains(suppressed[0].Reason, "no such user") || suppressed[0].Time.IsZero() {
		t.Errorf("%+v, %v", suppressed, err)
	}
	again := runOf(t, hello("Gone@example.com"))
	again.ID = "run2"
	outcome = sender.Execute(t.Context(), again)
	if outcome.Verdict != jobs.Failed || !outcome.Final || outcome.Reason != "every recipient is on the suppression list" {
		t.Errorf("%+v", outcome)
	}
	if got := reportOf(t, outcome); !slices.Equal(got.Suppressed, []string{"Gone@example.com"}) {
		t.Errorf("%s", outcome.Result)
	}
	again = runOf(t, hello("policy@example.com"))
	again.ID = "run3"
	if outcome = sender.Execute(t.Context(), again); !outcome.Final || !strings.HasPrefix(outcome.Reason, "every recipient was refused; policy@example.com: 550") {
		t.Errorf("%+v", outcome)
	}
}

func TestAnotherAttemptLeavesOutWhoHasTheMail(t *testing.T) {
	server := startRemote(t, nil)
	busy := true
	server.rcpt = func(address string) error {
		switch {
		case address == "gone@example.com":
			return says(550, smtp.EnhancedCode{5, 7, 1}, "not from you")
		case address == "grey@example.org" && busy:
			return says(450, smtp.EnhancedCode{4, 2, 0}, "greylisted")
		}
		return nil
	}
	folder := t.TempDir()
	sender := senderTo(t, "smtp://"+server.address, func(o *Options) { o.Folder = folder })
	run := runOf(t, hello("a@example.com", "gone@example.com", "grey@example.org"))
	outcome := sender.Execute(t.Context(), run)
	if outcome.Verdict != jobs.Failed || outcome.Final || outcome.RetryAfter != 0 || !strings.Contains(outcome.Reason, "grey@example.org: 450") {
		t.Errorf("%+v", outcome)
	}
	if got := reportOf(t, outcome); len(got.Accepted) != 1 || len(got.Deferred) != 1 {
		t.Errorf("%s", outcome.Result)
	}
	sender.Close()
	server.mutex.Lock()
	busy = false
	server.mutex.Unlock()
	outcome = senderTo(t, "smtp://"+server.address, func(o *Options) { o.Folder = folder }).Execute(t.Context(), run)
	got := reportOf(t, outcome)
	if outcome.Verdict != jobs.Succeeded || !slices.Equal(got.Accepted, []string{"a@example.com", "grey@example.org"}) || len(got.Bounced) != 1 || got.Deferred != nil {
		t.Errorf("%+v: %s", outcome, outcome.Result)
	}
	mails := server.mails()
	if len(mails) != 2 || !slices.Equal(mails[0].to, []string{"a@example.com"}) || !slices.Equal(mails[1].to, []string{"grey@example.org"}) {
		t.Errorf("%+v", mails)
	}
	first, _ := netmail.ReadMessage(strings.NewReader(mails[0].raw))
	second, _ := netmail.ReadMessage(strings.NewReader(mails[1].raw))
	if first.Header.Get("Message-Id") != second.Header.Get("Message-Id") {
		t.Error("two attempts have two Message-IDs")
	}
}

func TestAReplayTriesThoseAgainWhomTheServerOnlyDisliked(t *testing.T) {
	server := startRemote(t, nil)
	mended := false
	server.rcpt = func(address string) error {
		switch {
		case address == "gone@example.com":
			return says(550, smtp.EnhancedCode{5, 1, 1}, "no such user")
		case !mended:
			return says(550, smtp.EnhancedCode{5, 7, 1}, "we do not relay")
		}
		return nil
	}
	sender := senderTo(t, "smtp://"+server.address, nil)
	run := runOf(t, hello("a@example.com", "gone@example.com"))
	if outcome := sender.Execute(t.Context(), run); !outcome.Final {
		t.Errorf("%+v", outcome)
	}
	server.mutex.Lock()
	mended = true
	server.mutex.Unlock()
	outcome := sender.Execute(t.Context(), run)
	if got := reportOf(t, outcome); outcome.Verdict != jobs.Succeeded || !slices.Equal(got.Accepted, []string{"a@example.com"}) || len(got.Bounced) != 1 || got.Suppressed != nil {
		t.Errorf("%+v: %s", outcome, outcome.Result)
	}
}

func TestADomainThatIsBusyIsLeftAlone(t *testing.T) {
	server := startRemote(t, nil)
	offered := make(map[string]int)
	server.rcpt = func(address string) error {
		offered[address]++
		if strings.HasSuffix(address, "@busy.example") {
			return says(421, smtp.EnhancedCode{4, 7, 0}, "too many from you")
		}
		return nil
	}
	sender := senderTo(t, "smtp://"+server.address, nil)
	run := runOf(t, hello("a@well.example", "b@busy.example"))
	outcome := sender.Execute(t.Context(), run)
	if outcome.Verdict != jobs.Failed || outcome.RetryAfter != putOff || len(server.mails()) != 0 {
		t.Errorf("%+v", outcome)
	}
	outcome = sender.Execute(t.Context(), run)
	if got := reportOf(t, outcome); outcome.Verdict != jobs.Returned || outcome.RetryAfter < putOff-time.Minute || !slices.Equal(got.Accepted, []string{"a@well.example"}) {
		t.Errorf("%+v: %s", outcome, outcome.Result)
	}
	if offered["b@busy.example"] != 1 {
		t.Errorf("it was asked %d times", offered["b@busy.example"])
	}
}

func TestTheBackOffOfABusyServerGrows(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: putOff, 3: putOff, 4: 4 * time.Minute, 8: time.Hour, 60: time.Hour} {
		if got := patience(failures); got != want {
			t.Errorf("after %d failures: %s, want %s", failures, got, want)
		}
	}
}

func TestWhatTheServerSaysOfTheMailDecides(t *testing.T) {
	server := startRemote(t, nil)
	sender := senderTo(t, "smtp://"+server.address, nil)
	for code, final := range map[int]bool{451: false, 421: false, 552: true, 554: true} {
		server.mutex.Lock()
		server.data = func() error { return says(code, smtp.EnhancedCode{code / 100, 0, 0}, "no") }
		server.mutex.Unlock()
		outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com")))
		if code == 421 { // and the server as a whole is left alone
			if next := sender.Execute(t.Context(), runOf(t, hello("z@example.org"))); next.Verdict != jobs.Returned {
				t.Errorf("after 421: %+v", next)
			}
			sender = senderTo(t, "smtp://"+server.address, nil)
		}
		if outcome.Verdict != jobs.Failed || outcome.Final != final || !strings.Contains(outcome.Reason, "does not take the mail") || (outcome.RetryAfter > 0) != (code == 421) {
			t.Errorf("%d: %+v", code, outcome)
		}
	}
}

func TestAServerThatIsAwayIsTriedAgain(t *testing.T) {
	sender := senderTo(t, "smtp://127.0.0.1:1", nil) // a port that was closed just now may be anybody's
	outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com")))
	if outcome.Verdict != jobs.Failed || outcome.Final || !strings.Contains(outcome.Reason, "refused") {
		t.Errorf("%+v", outcome)
	}
}

func TestAServerOnAPrivateAddressIsNotUsedUnlessAllowed(t *testing.T) {
	server := startRemote(t, nil)
	sender := senderTo(t, "smtp://"+server.address, func(o *Options) { o.AllowPrivate = nil })
	outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com")))
	if outcome.Verdict != jobs.Failed || !strings.Contains(outcome.Reason, "is not a public address") {
		t.Errorf("%+v", outcome)
	}
}

func TestAWrongSMTPURLDoesNotTellItsPassword(t *testing.T) {
	for _, url := range []string{"http://u:secret@h", "smtp://u:sec%ret@h", "smtp:///x", "smtp://u:secret@:587"} {
		outcome := senderTo(t, url, nil).Execute(t.Context(), runOf(t, hello("a@example.com")))
		if outcome.Verdict != jobs.Failed || outcome.Final || strings.Contains(outcome.Reason, "sec") || !strings.Contains(outcome.Reason, "SMTP_URL") {
			t.Errorf("%s: %+v", url, outcome)
		}
	}
}

func TestASilentServerIsAFailureAndAnInterruptionIsNone(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	connected := make(chan net.Conn, 2)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			connected <- conn
		}
	}()
	sender := senderTo(t, "smtp://"+listener.Addr().String(), nil)
	run := runOf(t, hello("a@example.com"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-connected
		cancel()
	}()
	if outcome := sender.Execute(ctx, run); outcome.Verdict != jobs.Returned {
		t.Errorf("%+v", outcome)
	}
	run.Timeout = 2 * time.Second // in which it is reached, or not even that
	if outcome := sender.Execute(t.Context(), run); outcome.Verdict != jobs.Failed || outcome.Final {
		t.Errorf("%+v", outcome)
	}
}

func TestADomainIsSentNoMoreThanItsRate(t *testing.T) {
	server := startRemote(t, nil)
	sender := senderTo(t, "smtp://"+server.address, func(o *Options) {
		o.Rate = func(domain string) float64 { return map[string]float64{"slow.example": 0.01}[domain] }
	})
	outcome := sender.Execute(t.Context(), runOf(t, hello("a@slow.example", "b@slow.example", "c@quick.example")))
	got := reportOf(t, outcome)
	if outcome.Verdict != jobs.Returned || outcome.RetryAfter < 90*time.Second || !slices.Equal(got.Accepted, []string{"a@slow.example", "c@quick.example"}) {
		t.Errorf("%+v: %s", outcome, outcome.Result)
	}
}

func TestTheAppRendersATemplate(t *testing.T) {
	server := startRemote(t, nil)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/mails/busy":
			w.Header().Set("Retry-After", "5")
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/mails/none":
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path == "/mails/odd":
			io.WriteString(w, "<html>")
		case r.URL.Path == "/mails/evil":
			io.WriteString(w, `{"subject":"a\r\nBcc: b@example.com","text":"x"}`)
		case r.URL.Path == "/mails/long":
			io.WriteString(w, `{"text":"`+strings.Repeat("x", templateLimit)+`"}`)
		case r.Method == http.MethodPost && string(body) == `{"name":"Ann"}`:
			io.WriteString(w, `{"subject":"Hi Ann","text":"Welcome","html":"<p>Welcome`+strings.Repeat(" ", 100<<10)+`</p>"}`)
		}
	}))
	defer app.Close()
	caller := call.New(call.Options{App: func(springtide.EnvironmentID) (string, *http.Client, error) { return app.URL, app.Client(), nil }})
	sender := senderTo(t, "smtp://"+server.address, func(o *Options) { o.App = caller })
	execute := func(path string) jobs.Outcome {
		return sender.Execute(t.Context(), runOf(t, springtide.Mail{To: []string{"ann@example.com"}, Template: path, Data: json.RawMessage(`{"name":"Ann"}`)}))
	}
	for path, want := range map[string]jobs.Outcome{
		"/mails/busy": {RetryAfter: 5 * time.Second, Reason: "the template was not rendered: POST /mails/busy was answered with 503"},
		"/mails/none": {Final: true, Reason: "the template was not rendered: POST /mails/none was answered with 404"},
		"/mails/odd":  {Final: true, Reason: "did not answer with JSON"},
		"/mails/evil": {Final: true, Reason: "the subject has line breaks"},
		"/mails/long": {Final: true, Reason: "made more than 1 MiB"},
	} {
		if got := execute(path); got.Verdict != jobs.Failed || got.Final != want.Final || got.RetryAfter != want.RetryAfter || !strings.Contains(got.Reason, want.Reason) {
			t.Errorf("%s: %+v", path, got)
		}
	}
	if outcome := execute("/mails/welcome"); outcome.Verdict != jobs.Succeeded {
		t.Fatalf("%+v", outcome)
	}
	if mails := server.mails(); len(mails) != 1 || !strings.Contains(mails[0].raw, "Subject: Hi Ann\r\n") || !strings.Contains(mails[0].raw, "<p>Welcome") {
		t.Errorf("%+v", mails)
	}
}

func TestAMailNeedsASender(t *testing.T) {
	sender := senderTo(t, "", func(o *Options) {
		o.Settings = func(springtide.EnvironmentID) (Settings, error) { return Settings{}, nil }
	})
	if outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com"))); !outcome.Final || !strings.HasPrefix(outcome.Reason, "the mail is from nobody") {
		t.Errorf("%+v", outcome)
	}
	sender = senderTo(t, "", func(o *Options) {
		o.Settings = func(springtide.EnvironmentID) (Settings, error) { return Settings{}, errors.New("the store is away") }
	})
	if outcome := sender.Execute(t.Context(), runOf(t, hello("a@example.com"))); outcome.Final || !strings.Contains(outcome.Reason, "the store is away") {
		t.Errorf("%+v", outcome)
	}
}
