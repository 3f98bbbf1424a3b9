package api

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// History is what was asked of processes, and what their instances used.
// Implemented by the control plane's wiring.
type History interface {
	// Minutes gives those since a time of which something is known, the first first;
	// they are kept for 90 days.
	Minutes(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, since time.Time) ([]springtide.Minute, error)
	// Recommendations gives limits for each process of the active release, in order.
	Recommendations(ctx context.Context, id springtide.EnvironmentID) ([]Recommendation, error)
}

// Recommendation is what limits a process could have, by what was seen of it.
// Nothing changes by itself.
type Recommendation struct {
	Process springtide.ProcessName `json:"process"`
	// Limits are those of the active release; Recommended leaves out what nothing is
	// known of.
	Limits      springtide.Limits `json:"limits"`
	Recommended springtide.Limits `json:"recommended"`
	// CPU is in cores of one instance, Memory in bytes: the most of a day.
	CPU    Used `json:"cpu"`
	Memory Used `json:"memory"`
	// Samples were taken between Since and Until; one counts half as much as one that
	// is a day younger.
	Samples         int       `json:"samples"`
	Since           time.Time `json:"since,omitzero"`
	Until           time.Time `json:"until,omitzero"`
	OutOfMemory     int       `json:"out_of_memory"`
	LastOutOfMemory time.Time `json:"last_out_of_memory,omitzero"`
	Notes           []string  `json:"notes,omitempty"`
}

// Used is how much of something one instance used.
type Used struct {
	Median float64 `json:"median"`
	P90    float64 `json:"p90"`
	P95    float64 `json:"p95"`
	Peak   float64 `json:"peak"`
}

type minutesInput struct {
	EnvironmentPath
	Process springtide.ProcessName `path:"process"`
	Since   time.Time              `query:"since" doc:"the first minute; default: a day ago"`
}

func (s *Server) minutes(ctx context.Context, in *minutesInput) ([]springtide.Minute, error) {
	if in.Since.IsZero() {
		in.Since = time.Now().Add(-24 * time.Hour)
	}
	return s.platform.History.Minutes(ctx, in.id(), in.Process, in.Since)
}

func (s *Server) recommendations(ctx context.Context, in *EnvironmentPath) ([]Recommendation, error) {
	return s.platform.History.Recommendations(ctx, in.id())
}
