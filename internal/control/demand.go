package control

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/demand"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/store"
)

// limitsOf are those that an instance of a group has.
func (p *plane) limitsOf(id springtide.GroupID) springtide.Limits {
	for _, group := range p.fleet.Groups() {
		if group.ID == id {
			return group.Template.Process.Limits
		}
	}
	return springtide.Limits{}
}

// history implements api.History.
type history struct {
	fleet    *deploy.Fleet
	recorder *demand.Recorder
}

// Minutes implements api.History.
func (h history) Minutes(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, since time.Time) ([]springtide.Minute, error) {
	if _, err := h.process(id, process); err != nil {
		return nil, err
	}
	return h.recorder.History(ctx, store.ProcessID{Environment: id, Process: process}, since)
}

func (h history) process(id springtide.EnvironmentID, name springtide.ProcessName) (springtide.Process, error) {
	_, release, err := h.fleet.Environment(id)
	if err != nil {
		return springtide.Process{}, err
	}
	process, known := release.App.Processes[name]
	if !known {
		return process, noProcess(id, release, name)
	}
	return process, nil
}

// Recommendations implements api.History.
func (h history) Recommendations(ctx context.Context, id springtide.EnvironmentID) ([]api.Recommendation, error) {
	_, release, err := h.fleet.Environment(id)
	if err != nil {
		return nil, err
	}
	all := []api.Recommendation{}
	for _, name := range release.App.ProcessNames() {
		o, err := h.recorder.Observed(ctx, store.ProcessID{Environment: id, Process: name})
		if err != nil {
			return nil, err
		}
		one := api.Recommendation{
			Process: name, Limits: release.App.Processes[name].Limits, Recommended: o.Limits(),
			CPU:     api.Used{Median: o.CPU.Percentile(0.5), P90: o.CPU.Percentile(0.9), P95: o.CPU.Percentile(0.95), Peak: o.PeakCPU},
			Memory:  api.Used{Median: o.Memory.Percentile(0.5), P90: o.Memory.Percentile(0.9), P95: o.Memory.Percentile(0.95), Peak: float64(o.PeakMemory)},
			Samples: o.Samples, OutOfMemory: o.OutOfMemory, LastOutOfMemory: o.LastOutOfMemory,
		}
		if o.Samples > 0 {
			one.Since, one.Until = o.First, o.Last
		}
		one.Notes = notesOn(one)
		all = append(all, one)
	}
	return all, nil
}

// notesOn says what is to be known of a recommendation.
func notesOn(r api.Recommendation) (notes []string) {
	switch {
	case r.Samples == 0 && r.OutOfMemory == 0:
		return []string{"nothing was measured: it did not run, or the machine has no control groups that tide may read"}
	case r.Until.Sub(r.Since) < 24*time.Hour:
		notes = append(notes, "less than a day was seen: look again after a day with its usual traffic")
	}
	if r.OutOfMemory > 0 {
		notes = append(notes, "instances ran out of memory: what they would have needed is not known, only that it is more")
	}
	if r.Limits.CPU > 0 && r.CPU.P95 > 0.9*r.Limits.CPU {
		notes = append(notes, "it is held back by its CPU limit, so it may use more than this says")
	}
	return notes
}
