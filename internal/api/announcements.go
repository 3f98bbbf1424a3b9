package api

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// Announcements are the times at which more traffic is expected, which people
// know as events. Implemented by the control plane's wiring.
type Announcements interface {
	// Announced are those of the manifest and those announced besides it, the next
	// first; those that are over are last.
	Announced(ctx context.Context, id springtide.EnvironmentID) ([]Announced, error)
	// Announce adds and removes some, all or none, and gives what there is then.
	Announce(ctx context.Context, id springtide.EnvironmentID, change AnnouncementsChange) ([]Announced, error)
}

// AnnouncementsChange adds and removes announcements.
type AnnouncementsChange struct {
	// Calendar is what Add was imported from: what was imported from one of that
	// name before, and is not in Add, is removed.
	Calendar string                `json:"calendar,omitempty" maxLength:"200"`
	Add      []springtide.Occasion `json:"add,omitempty" maxItems:"1000"`
	// Remove are IDs, or names: then all of that name are removed.
	Remove []string `json:"remove,omitempty" maxItems:"1000"`
}

// Announced is one announcement, with what becomes of it.
type Announced struct {
	springtide.Occasion
	// Manifest says that it is from the manifest of the active release.
	Manifest bool `json:"manifest,omitempty"`
	// Next are the next times it happens, five at most: with the one that goes on.
	Next []Period `json:"next"`
	// Reserves is what is kept ready each time, by process.
	Reserves map[springtide.ProcessName]Reserved `json:"reserves"`
	// Warnings say why less is kept ready than was asked for.
	Warnings []string `json:"warnings,omitempty"`
}

// Period is from one time until another.
type Period struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Reserved is what is kept ready of a process. Memory is in bytes and CPU in
// cores, by the limits of the active release; 0: there is no limit.
type Reserved struct {
	Instances int     `json:"instances"`
	Memory    int64   `json:"memory,omitempty"`
	CPU       float64 `json:"cpu,omitempty"`
}

func (s *Server) announced(ctx context.Context, in *EnvironmentPath) ([]Announced, error) {
	return s.platform.Announcements.Announced(ctx, in.id())
}

type announceInput struct {
	EnvironmentPath
	Body AnnouncementsChange
}

func (s *Server) announce(ctx context.Context, in *announceInput) ([]Announced, error) {
	if len(in.Body.Add)+len(in.Body.Remove) == 0 && in.Body.Calendar == "" {
		return nil, springtide.Errorf(springtide.Invalid, "nothing is to be changed").WithHint("say what to add or to remove")
	}
	return s.platform.Announcements.Announce(ctx, in.id(), in.Body)
}
