package control

import (
	"context"
	"strconv"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/scale"
	"github.com/springtide/springtide/internal/store"
)

// scaling joins the scaler with the fleet it scales: it implements
// scale.Targets, scale.Applier and scale.Recorder.
type scaling struct {
	*deploy.Fleet
	changed   chan struct{}
	decisions store.Decisions
	events    *observe.Events
	metrics   *observe.Metrics
	coming    *coming
}

// Targets implements scale.Targets.
func (s scaling) Targets(context.Context) ([]scale.Target, error) {
	var targets []scale.Target
	now := time.Now()
	for _, active := range s.Active() {
		active.Process.Announcements = s.coming.of(now, active.Group.ID.Process, active.Process.Announcements, active.Occasions)
		targets = append(targets, scale.Target{
			Group: active.Group.ID, Replicas: active.Group.Replicas, Process: active.Process, Stopped: active.Stopped,
		})
	}
	return targets, nil
}

// Changed implements scale.Targets.
func (s scaling) Changed() <-chan struct{} { return s.changed }

// SetReplicas implements scale.Applier.
func (s scaling) SetReplicas(ctx context.Context, group springtide.GroupID, n int, _ springtide.Decision) error {
	return s.Fleet.SetReplicas(ctx, group, n)
}

// RecordDecision implements scale.Recorder.
func (s scaling) RecordDecision(ctx context.Context, decision springtide.Decision) error {
	s.metrics.Decision(decision)
	s.events.Publish(springtide.Event{
		Time: decision.Time, Environment: decision.Group.Environment, Kind: "scale.decision", Message: decision.Sentence,
		Fields: map[string]string{
			"process": string(decision.Group.Process), "release": strconv.Itoa(decision.Group.Release),
			"from": strconv.Itoa(decision.From), "to": strconv.Itoa(decision.To),
		},
	})
	return s.decisions.AddDecision(ctx, decision)
}
