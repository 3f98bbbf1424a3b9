package moving

import (
	"fmt"
	"maps"
	"slices"

	"github.com/springtide/springtide"
)

// Action is what an import does with an environment.
type Action string

// What an import may do.
const (
	Make     Action = "make"     // it is not here
	Replace  Action = "replace"  // it is here, but never served: its settings and secrets are replaced
	Keep     Action = "keep"     // it serves the same here already
	Conflict Action = "conflict" // it cannot be imported; nothing of its app is
)

// ImportPlan is what an import would do, or has done.
type ImportPlan struct {
	Steps []Step `json:"steps"`
	// Bytes is the size of the artifacts.
	Bytes int64 `json:"bytes"`
}

// Step gives that of an environment, to be read or noted in; nil: there is none.
func (p ImportPlan) Step(id springtide.EnvironmentID) *Step {
	for i := range p.Steps {
		if p.Steps[i].Environment == id {
			return &p.Steps[i]
		}
	}
	return nil
}

// Step is what is done with one environment.
type Step struct {
	Environment springtide.EnvironmentID `json:"environment"`
	Action      Action                   `json:"action" enum:"make,replace,keep,conflict"`
	// Reason says why it is a conflict.
	Reason string `json:"reason,omitempty"`
	// Release is the number of the one that is rolled out; 0: none is.
	Release int `json:"release,omitempty"`
	// Releases and Secrets count those that come with it.
	Releases int `json:"releases"`
	Secrets  int `json:"secrets"`
	// Notes say what does not come with it, and what is to be done.
	Notes []string `json:"notes,omitempty"`
	// Deploy names the rollout of an import, to be followed.
	Deploy string `json:"deploy,omitempty"`
}

// Here is what a platform has of an environment before the import.
type Here struct {
	// Known says that there is an environment of the name; Active is what it serves.
	Known  bool
	Active springtide.Release
	// Rolling says that a release of it is being rolled out.
	Rolling bool
	// Unfit says what the app asks for and cannot have here, or which of its domains
	// another app has. nil: nothing.
	Unfit error
}

// Compare plans for one environment.
func Compare(arriving Packed, here Here) Step {
	release := arriving.Release()
	step := Step{
		Environment: arriving.ID, Action: Make, Release: arriving.Active,
		Releases: len(arriving.Releases), Secrets: len(arriving.Secrets),
	}
	switch {
	case here.Known && here.Active.Number != 0 && same(here.Active, release):
		step.Action, step.Release = Keep, 0
		return step
	case here.Known && here.Active.Number != 0:
		return step.conflict(fmt.Sprintf("it is here already, and serves another release, v%d", here.Active.Number))
	case here.Rolling:
		return step.conflict("a release of it is being rolled out here")
	case here.Unfit != nil:
		return step.conflict(here.Unfit.Error())
	case here.Known:
		step.Action = Replace
	}
	for _, name := range slices.Sorted(maps.Keys(release.App.Services)) {
		if release.App.Services[name].External == "" {
			step.Notes = append(step.Notes, fmt.Sprintf("service %s begins empty: bring its data with a backup", name))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(release.App.Files)) {
		step.Notes = append(step.Notes, fmt.Sprintf("shared files %s begin empty: bring them with a backup", name))
	}
	for _, domain := range slices.Concat(release.App.Domains, arriving.Domains) {
		step.Notes = append(step.Notes, fmt.Sprintf("%s: have its DNS point here when the app answers", domain))
	}
	return step
}

func (s Step) conflict(reason string) Step {
	s.Action, s.Reason, s.Release = Conflict, reason, 0
	return s
}

// same reports whether a release is the one that arrives: an import that was cut
// off is run again.
func same(here, arriving springtide.Release) bool {
	return here.Number == arriving.Number && here.Artifact == arriving.Artifact && maps.Equal(here.Config, arriving.Config)
}

// Err gives a Conflict that names all of them; nil if there is none.
func (p ImportPlan) Err() error {
	for _, step := range p.Steps {
		if step.Action == Conflict {
			return springtide.Errorf(springtide.Conflict, "%s cannot be imported: %s; nothing was changed", step.Environment, step.Reason).
				WithHint("see all of it with `tide plan FILE`, and name the apps to take others than %s", step.Environment.App)
		}
	}
	return nil
}
