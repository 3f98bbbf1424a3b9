package api

import (
	"context"
	"net/netip"
	"time"

	"github.com/springtide/springtide"
)

// MaintenanceChange begins maintenance.
type MaintenanceChange struct {
	// Page is HTML; empty: the edge's own.
	Page              string `json:"page,omitempty"`
	RetryAfterSeconds int    `json:"retry_after_seconds" minimum:"1" maximum:"2592000"`
	// Allow are the networks whose clients are served all the same.
	Allow []string `json:"allow,omitempty" maxItems:"100"`
}

type maintenanceInput struct {
	EnvironmentPath
	Body MaintenanceChange
}

func (s *Server) beginMaintenance(ctx context.Context, in *maintenanceInput) (springtide.Maintenance, error) {
	begun := springtide.Maintenance{Since: time.Now().UTC(), Page: in.Body.Page, RetryAfter: time.Duration(in.Body.RetryAfterSeconds) * time.Second}
	if len(begun.Page) > springtide.PageLimit {
		return begun, springtide.Errorf(springtide.Invalid, "the page has %d bytes; at most %d", len(begun.Page), springtide.PageLimit).
			WithHint("put its pictures elsewhere: the edges keep the page itself in memory")
	}
	for _, text := range in.Body.Allow {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return begun, springtide.Errorf(springtide.Invalid, "%q is no network", text).WithHint("write it like 10.1.0.0/16")
		}
		begun.Allow = append(begun.Allow, network.Masked())
	}
	status, err := s.platform.Environments.Environment(ctx, in.id())
	if err != nil {
		return begun, err
	}
	if status.Maintenance != nil {
		begun.Since = status.Maintenance.Since
	}
	return begun, s.platform.Environments.Maintain(ctx, in.id(), &begun)
}

func (s *Server) endMaintenance(ctx context.Context, in *EnvironmentPath) error {
	return s.platform.Environments.Maintain(ctx, in.id(), nil)
}
