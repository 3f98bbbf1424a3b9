package call

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// standardTimeout is how long a request may take whose run does not say.
	standardTimeout = 30 * time.Second
	// bodyLimit is how much of an answer is read, in bytes.
	bodyLimit = 64 << 10
)

// Options are what a Caller needs.
type Options struct {
	// App tells where an environment's own app is: base is a URL without a path,
	// and the client gets there. nil: a path alone is refused.
	App func(springtide.EnvironmentID) (base string, client *http.Client, err error)
	// Secret is the key that requests of an environment are signed with: 24 to 64
	// bytes; see [SecretText]. nil: nothing is signed.
	Secret func(springtide.EnvironmentID) []byte
	// Rate is how many requests a second the host (a name or an address, without
	// the port; empty: the app itself) is sent at most by the environment, where
	// the call does not say. 0: no limit. nil: none for any.
	Rate func(id springtide.EnvironmentID, host string) float64
	// AllowPrivate are the networks that may be called though they are private, or
	// the platform's own.
	AllowPrivate []netip.Prefix
	// UserAgent is what requests call themselves. Default: springtide
	UserAgent string
	// Logger is told of breakers that open and close. nil: nobody is.
	Logger *slog.Logger
}

// Caller carries out runs of the kind http.
type Caller struct {
	options Options
	client  *http.Client
	hosts   *Recent[hostKey, *host]
}

// New makes a Caller.
func New(options Options) *Caller {
	options.UserAgent = cmp.Or(options.UserAgent, "springtide")
	options.Logger = cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	if options.Rate == nil {
		options.Rate = func(springtide.EnvironmentID, string) float64 { return 0 }
	}
	if options.Secret == nil {
		options.Secret = func(springtide.EnvironmentID) []byte { return nil }
	}
	caller := &Caller{options: options, hosts: NewRecent[hostKey, *host](mostHosts, (*host).idle)}
	caller.client = &http.Client{Transport: &http.Transport{
		// No proxy of the environment's: it would dial past the guard.
		DialContext:            NewGuard(options.AllowPrivate).Dialer().DialContext,
		ForceAttemptHTTP2:      true,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}}
	return caller
}

// Validate tells what is wrong with the payload of a run of the kind http, with
// errors of kind Invalid.
func (c *Caller) Validate(payload json.RawMessage) error {
	_, err := decode(payload)
	return err
}

// Execute makes the request. Its result is JSON of status, content_type, body
// (as it is if it is JSON, else a string), and truncated if that is not all of
// it. See [springtide.HTTPCall] for what becomes of which answer.
func (c *Caller) Execute(ctx context.Context, run springtide.Run) jobs.Outcome {
	asked, err := decode(run.Payload)
	if err != nil {
		return final(err.Error())
	}
	outcome, _ := c.Ask(ctx, run, asked, bodyLimit)
	return outcome
}

// Ask makes a request for a run, and gives besides the outcome the body of the
// answer: at most limit bytes, and one more if there were more.
func (c *Caller) Ask(ctx context.Context, run springtide.Run, asked springtide.HTTPCall, limit int64) (jobs.Outcome, []byte) {
	target, err := c.target(run.Environment, asked)
	if err != nil {
		return failureToPrepare(err), nil
	}
	host, release := c.host(run.Environment, target.host)
	defer release()
	done, given := host.admit(ctx, cmp.Or(asked.Rate, c.options.Rate(run.Environment, target.host)))
	if done == nil {
		return given, nil
	}
	// Whatever becomes of it, a breaker that let it through is waiting to hear.
	var trouble error
	defer func() { done(trouble) }()

	ctx, cancel := context.WithTimeout(ctx, cmp.Or(run.Timeout, standardTimeout))
	defer cancel()
	request, err := c.request(ctx, run, asked, target)
	if err != nil {
		return final(err.Error()), nil
	}
	response, err := target.client.Do(request)
	if err != nil {
		trouble = troubleOf(ctx, err, 0)
		return unanswered(ctx, host.name(), err), nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, limit+1))
	trouble = troubleOf(ctx, err, response.StatusCode)
	if err != nil {
		return unanswered(ctx, host.name(), err), nil
	}
	return answered(target, response, body, limit), body
}

// failureToPrepare is final unless the trouble is that the app cannot be found now.
func failureToPrepare(err error) jobs.Outcome {
	if springtide.KindOf(err) == springtide.Invalid {
		return final(err.Error())
	}
	return jobs.Outcome{Verdict: jobs.Failed, Reason: err.Error()}
}

// errAnswer is what a breaker hears of an answer that tells of a broken host.
var errAnswer = errors.New("the answer was a 5xx")

// troubleOf is what the breaker hears: nothing if the fault was ours.
func troubleOf(ctx context.Context, err error, status int) error {
	_, refused := errors.AsType[*refusal](err)
	switch {
	case refused, errors.Is(ctx.Err(), context.Canceled):
		return context.Canceled
	case err != nil:
		return err
	case status >= 500:
		return errAnswer
	}
	return nil
}
