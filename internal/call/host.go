package call

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// openAfter is how many network errors and 5xx in a row open a breaker,
	// openFor how long it stays open.
	openAfter = 5
	openFor   = 30 * time.Second
	// mostHosts is about how many hosts are remembered.
	mostHosts = 4096
)

// hostKey names a host as an environment calls it.
type hostKey struct {
	environment springtide.EnvironmentID
	host        string
}

// host is what is known of one host. Its breaker:
//
//	closed ── 5 failures in a row ──▶ open ── 30 s ──▶ half-open: one request
//	  ▲                                 ▲                 │ failure
//	  │                                 └─────────────────┤
//	  └───────────────────────────────────────────────────┘ success
//
// The app itself has none: a path that always fails does not keep its others
// from being called, and the edge holds what it cannot serve yet.
type host struct {
	key     hostKey
	pace    *Pace
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	// opened is when the breaker last opened, in nanoseconds of Unix time.
	opened atomic.Int64
}

func (c *Caller) host(id springtide.EnvironmentID, name string) (*host, func()) {
	key := hostKey{id, name}
	return c.hosts.Use(key, func() *host { return newHost(key, c.options.Logger) })
}

func newHost(key hostKey, logger *slog.Logger) *host {
	h := &host{key: key, pace: NewPace()}
	if key.host == "" {
		return h
	}
	h.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        key.host,
		Timeout:     openFor,
		ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= openAfter },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(name string, from, to gobreaker.State) {
			level := slog.LevelInfo
			if to == gobreaker.StateOpen {
				h.opened.Store(time.Now().UnixNano())
				level = slog.LevelWarn
			}
			logger.Log(context.Background(), level, "a host's circuit breaker changed",
				"environment", key.environment, "host", name, "from", from.String(), "to", to.String())
		},
	})
	return h
}

// name is what it is called in a reason.
func (h *host) name() string {
	if h.key.host == "" {
		return "the app"
	}
	return h.key.host
}

// admit waits for the host's turn. done is to be told how the request went; if
// there is none, the run is given back as it says.
func (h *host) admit(ctx context.Context, perSecond float64) (done func(error), given jobs.Outcome) {
	if h.breaker != nil && h.breaker.State() == gobreaker.StateOpen {
		return nil, h.leftAlone()
	}
	later, err := h.pace.Wait(ctx, perSecond)
	if err != nil {
		return nil, interrupted(ctx)
	}
	if later > 0 {
		return nil, jobs.Outcome{Verdict: jobs.Returned, RetryAfter: later, Reason: h.name() + " is sent no more than its rate allows"}
	}
	if h.breaker == nil {
		return func(error) {}, given
	}
	if done, err = h.breaker.Allow(); err != nil {
		return nil, h.leftAlone()
	}
	return done, given
}

// leftAlone gives a run back until its host is tried again, and a while longer:
// they do not all come back for the one request that may try.
func (h *host) leftAlone() jobs.Outcome {
	left := time.Until(time.Unix(0, h.opened.Load()).Add(openFor))
	return jobs.Outcome{
		Verdict:    jobs.Returned,
		Reason:     h.name() + " keeps failing, and is left alone for a while",
		RetryAfter: min(max(left, time.Second), openFor) + rand.N(openFor/3),
	}
}

// idle reports whether forgetting it changes nothing.
func (h *host) idle() bool {
	return h.pace.Idle() && (h.breaker == nil || (h.breaker.State() == gobreaker.StateClosed && h.breaker.Counts().ConsecutiveFailures == 0))
}
