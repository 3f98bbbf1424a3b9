package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/service"
)

const (
	// sampleEvery is how often servers are asked how they do, at most, while somebody
	// wants to know; sampleAge is when an answer is too old to be told.
	sampleEvery = 10 * time.Second
	sampleAge   = 5 * time.Minute
	// sampleLimit is how long a server may take to answer.
	sampleLimit = 5 * time.Second
)

// samples are what servers said of themselves, for metrics. Whoever reads them is
// told what is known and never waits for a server: that has the servers asked anew.
type samples struct {
	manager *service.Manager
	logger  *slog.Logger
	asked   chan struct{}

	mu    sync.Mutex
	known map[springtide.ServiceID]sample
}

type sample struct {
	observe.ServiceSample
	at time.Time
}

func newSamples(manager *service.Manager, logger *slog.Logger) *samples {
	return &samples{manager: manager, logger: logger, asked: make(chan struct{}, 1), known: map[springtide.ServiceID]sample{}}
}

// Run asks the servers whenever somebody wants to know, until ctx ends.
func (s *samples) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-s.asked:
		case <-ctx.Done():
			return nil
		}
		s.take(ctx)
		_ = pauseFor(ctx, sampleEvery)
	}
	return nil
}

func (s *samples) take(ctx context.Context) {
	now := map[springtide.ServiceID]sample{}
	for _, status := range s.manager.All() {
		if !isUp(status) || status.Spec.External != "" || status.Apart {
			continue
		}
		info, err := s.inspect(ctx, status.ID)
		if err != nil {
			s.logger.Debug("a service does not say how it does", "service", status.ID.String(), "error", err)
			s.mu.Lock()
			if before := s.known[status.ID]; time.Since(before.at) < sampleAge {
				now[status.ID] = before
			}
			s.mu.Unlock()
			continue
		}
		now[status.ID] = sample{observe.ServiceSample{
			Connections: info.Connections, MaxConnections: info.MaxConnections, Size: info.Size, Memory: info.Activity.Memory,
			Transactions: info.Activity.Transactions, CacheHits: info.Activity.CacheHits, CacheMisses: info.Activity.CacheMisses,
			Evicted: info.Activity.Evicted, Latency: info.Activity.Latency,
		}, time.Now()}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known = now
}

func (s *samples) inspect(ctx context.Context, id springtide.ServiceID) (service.Info, error) {
	server, driver, err := s.manager.Server(id)
	if err != nil {
		return service.Info{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, sampleLimit)
	defer cancel()
	return driver.Inspect(ctx, server)
}

// all tells how all services do that are somebody's.
func (s *samples) all() []observe.Service {
	ring(s.asked)
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []observe.Service
	for _, status := range s.manager.All() {
		if status.Apart || status.Orphan {
			continue
		}
		one := observe.Service{ID: status.ID, Up: isUp(status), Restarts: status.Restarts, Failovers: status.Failovers}
		for _, server := range status.Servers {
			if server.Role == service.RoleReplica && server.State == service.StateReady {
				one.Replica, one.Lag, one.LagBytes = true, server.Lag.Time, server.Lag.Bytes
			}
		}
		if known, asked := s.known[status.ID]; asked && one.Up {
			one.Sample = &known.ServiceSample
		}
		all = append(all, one)
	}
	return all
}

func isUp(status service.Status) bool {
	return status.State == service.StateReady || status.State == service.StateDegraded
}
