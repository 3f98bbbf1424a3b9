package mail

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/call"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// standardTimeout is how long a mail may take whose run does not say.
	standardTimeout = 2 * time.Minute
	// standardRate is how many recipients of one domain are sent to in a second.
	standardRate = 20
	// putOff is how long what answered 421 is left alone, at least.
	putOff = 2 * time.Minute
)

// Settings is how an environment sends mail.
type Settings struct {
	// Server is a URL: smtp://user:password@host:587, which goes over to TLS, or
	// smtps://host:465, which begins with it. Empty: the catcher keeps the mail.
	Server string
	// From is the sender of mails that name none. Empty: they must.
	From string
}

// Options are what a Sender needs.
type Options struct {
	// Settings tells how an environment sends mail, as it is now.
	Settings func(springtide.EnvironmentID) (Settings, error)
	// Folder is where it is kept who does not want mail, and who has got which.
	Folder string
	// Catcher keeps the mails of environments that have no server.
	Catcher *Catcher
	// App renders templates. nil: there are none.
	App Asker
	// Rate is how many recipients of a domain an environment sends to in a second,
	// at most. 0: 20. nil: 20 for every domain.
	Rate func(domain string) float64
	// AllowPrivate are the networks with SMTP servers that may be used though they
	// are private, or this machine's.
	AllowPrivate []netip.Prefix
	// Roots are the authorities that servers' certificates are checked with. nil:
	// the system's.
	Roots *x509.CertPool
	// Logger is told of what could not be written down. nil: nobody is.
	Logger *slog.Logger
}

// Sender carries out runs of the kind mail.
type Sender struct {
	options   Options
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	paces     *call.Recent[paceKey, *call.Pace]
	delivered *delivered
	lists     *call.Recent[springtide.EnvironmentID, *list]
}

// paceKey names a domain that an environment sends to; an empty one stands for
// its SMTP server.
type paceKey struct {
	environment springtide.EnvironmentID
	domain      string
}

// New makes a Sender. It reads what its folder holds, which is made if need be.
func New(options Options) (*Sender, error) {
	options.Logger = cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	if options.Rate == nil {
		options.Rate = func(string) float64 { return 0 }
	}
	if err := os.MkdirAll(options.Folder, 0o700); err != nil {
		return nil, err
	}
	delivered, err := openDelivered(filepath.Join(options.Folder, "delivered"))
	if err != nil {
		return nil, fmt.Errorf("read which mails were delivered: %w", err)
	}
	return &Sender{
		options:   options,
		dial:      call.NewGuard(options.AllowPrivate).Dialer().DialContext,
		paces:     call.NewRecent[paceKey](8192, (*call.Pace).Idle),
		delivered: delivered,
		lists:     call.NewRecent[springtide.EnvironmentID](64, func(*list) bool { return true }),
	}, nil
}

// Close lets go of the files.
func (s *Sender) Close() error { return s.delivered.close() }

// Validate tells what is wrong with the payload of a run of the kind mail, with
// errors of kind Invalid.
func (s *Sender) Validate(payload json.RawMessage) error {
	_, err := decode(payload)
	return err
}

// Execute sends the mail to those of its recipients who do not have it yet. Its
// result is JSON of message_id, accepted, suppressed, bounced and deferred.
func (s *Sender) Execute(ctx context.Context, run springtide.Run) jobs.Outcome {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(run.Timeout, standardTimeout))
	defer cancel()
	letter, settings, err := s.prepare(run)
	if err != nil {
		return jobs.Outcome{Verdict: jobs.Failed, Final: springtide.KindOf(err) == springtide.Invalid, Reason: err.Error()}
	}
	report := &report{MessageID: letter.messageID(run.ID)}
	left, err := s.sort(run, letter, report)
	if err != nil {
		return jobs.Outcome{Verdict: jobs.Failed, Reason: err.Error()}
	}
	if len(left) == 0 {
		return report.outcome(run)
	}
	if letter.Template != "" {
		if outcome := s.render(ctx, run, letter); outcome.Verdict != jobs.Succeeded {
			return outcome
		}
	}
	if settings.Server == "" {
		s.keep(run, letter, left, report)
		return report.outcome(run)
	}
	to, err := parseServer(settings.Server)
	if err != nil { // somebody may mend it before the last attempt
		return jobs.Outcome{Verdict: jobs.Failed, Reason: err.Error()}
	}
	if left = s.pace(ctx, run.Environment, left, report); len(left) > 0 {
		s.deliver(ctx, run, letter, to, left, report)
		s.remember(run, report)
	}
	outcome := report.outcome(run)
	if outcome.Verdict == jobs.Failed && !outcome.Final && errors.Is(ctx.Err(), context.Canceled) {
		outcome.Verdict, outcome.Reason = jobs.Returned, "interrupted: "+context.Cause(ctx).Error()
	}
	return outcome
}

// prepare reads the mail, and who it is from.
func (s *Sender) prepare(run springtide.Run) (*letter, Settings, error) {
	letter, err := decode(run.Payload)
	if err != nil {
		return nil, Settings{}, err
	}
	settings, err := s.options.Settings(run.Environment)
	if err != nil {
		return nil, settings, springtide.Errorf(springtide.Failed, "how %s sends mail cannot be read: %w", run.Environment, err)
	}
	if letter.from == nil {
		if settings.From == "" {
			return nil, settings, springtide.Errorf(springtide.Invalid, "the mail is from nobody").
				WithHint("give it a from, or the app one in its manifest")
		}
		letter.from, err = parseAddress(settings.From)
	}
	return letter, settings, err
}

// sort gives those of the recipients who are to be sent the mail, and reports
// what has become of the others. Who was refused is tried again unless he is on
// the suppression list: somebody may have mended what was disliked.
func (s *Sender) sort(run springtide.Run, letter *letter, report *report) ([]string, error) {
	unwanted, err := s.suppressed(run.Environment)
	if err != nil {
		return nil, err
	}
	known := s.delivered.of(run.ID)
	report.Accepted = slices.Clone(known.Accepted)
	var left []string
	for _, address := range letter.recipients() {
		same := func(other string) bool { return sameAs(other) == sameAs(address) }
		refused := slices.IndexFunc(known.Bounced, func(refused Refusal) bool { return same(refused.Address) })
		switch on := unwanted[sameAs(address)].Address != ""; {
		case slices.ContainsFunc(known.Accepted, same):
		case on && refused >= 0:
			report.Bounced = append(report.Bounced, known.Bounced[refused])
		case on:
			report.Suppressed = append(report.Suppressed, address)
		default:
			left = append(left, address)
		}
	}
	return left, nil
}

// keep gives the mail to the catcher.
func (s *Sender) keep(run springtide.Run, letter *letter, left []string, report *report) {
	if s.options.Catcher == nil {
		report.failure = springtide.Errorf(springtide.Failed, "there is no SMTP server to send through").WithHint("set SMTP_URL")
		return
	}
	if _, report.failure = s.options.Catcher.Keep(run.Environment, letter.from.Address, left, letter.compose(run.ID)); report.failure == nil {
		report.Accepted = append(report.Accepted, left...)
	}
}

// pace gives those of the recipients whose domain's turn it is within a few
// seconds; the others are put off.
func (s *Sender) pace(ctx context.Context, id springtide.EnvironmentID, left []string, report *report) (now []string) {
	begin := time.Now()
	later := s.wait(ctx, id, "", 0, begin)
	for _, address := range left {
		if later == 0 {
			domain := domainOf(address)
			later = s.wait(ctx, id, domain, cmp.Or(s.options.Rate(domain), standardRate), begin)
		}
		if later == 0 {
			now = append(now, address)
			continue
		}
		report.Deferred = append(report.Deferred, Refusal{address, "its turn is later"})
		report.later = max(report.later, later)
		later = 0
	}
	return now
}

// wait waits for a turn, unless there was long enough waiting since the begin.
func (s *Sender) wait(ctx context.Context, id springtide.EnvironmentID, domain string, perSecond float64, begin time.Time) time.Duration {
	pace, release := s.paces.Use(paceKey{id, domain}, call.NewPace)
	defer release()
	if time.Since(begin) > 4*time.Second {
		return time.Second
	}
	later, err := pace.Wait(ctx, perSecond)
	if err != nil {
		return time.Second
	}
	return later
}

// hold leaves a domain alone that has asked for it.
func (s *Sender) hold(id springtide.EnvironmentID, domain string) {
	pace, release := s.paces.Use(paceKey{id, domain}, call.NewPace)
	defer release()
	pace.Hold(putOff)
}
