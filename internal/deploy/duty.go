package deploy

import "github.com/springtide/springtide"

// Duty says whether a generation of an environment's groups does its work.
type Duty string

// The duties.
const (
	DutyComing Duty = "coming" // its rollout has not switched yet
	DutyActive Duty = "active" // it has the traffic, and takes work
	DutyOver   Duty = "over"   // it finishes what it has
	DutyHalted Duty = "halted" // its environment is stopped or gone, or the platform is ending
)

// Duty tells what a generation of a release's groups is to do. What a worker
// takes up goes by it, as what a web process is sent goes by the routes.
func (f *Fleet) Duty(id springtide.EnvironmentID, release, generation int) Duty {
	f.mu.Lock()
	defer f.mu.Unlock()
	environment, known := f.environments[id]
	coming, open := f.rolling[id]
	switch {
	case !known || environment.Stopped || f.draining:
		return DutyHalted
	case environment.Active == release && environment.Generation == generation:
		return DutyActive
	case open && coming.generation == generation:
		return DutyComing
	}
	return DutyOver
}
