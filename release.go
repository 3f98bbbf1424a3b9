package springtide

import (
	"fmt"
	"maps"
	"time"
)

// Digest names an artifact by its content: "sha256:" and 64 hexadecimal digits,
// the digest of the OCI image manifest.
type Digest string

// Release is an artifact, the manifest and a snapshot of the config, numbered
// per environment. It is immutable but for its State.
type Release struct {
	Environment EnvironmentID `json:"environment"`
	// Number counts from 1 and is never used twice.
	Number   int    `json:"number"`
	Artifact Digest `json:"artifact"`
	App      App    `json:"app"`
	// Config is what `tide config set` held when the release was made.
	Config map[string]string `json:"config,omitempty"`
	// Secrets is which version of each secret it is given.
	Secrets map[SecretName]int `json:"secrets,omitempty"`
	// Description says what the release came from: a commit, "rollback to 3", …
	Description string       `json:"description,omitempty"`
	Created     time.Time    `json:"created"`
	State       ReleaseState `json:"state"`
	// Reason says why the release failed.
	Reason string `json:"reason,omitempty"`
}

// ReleaseState tells where a release stands.
type ReleaseState string

// The states of a release.
const (
	ReleasePending    ReleaseState = "pending"    // recorded, its rollout is not over
	ReleaseActive     ReleaseState = "active"     // has the traffic
	ReleaseSuperseded ReleaseState = "superseded" // had the traffic; can be rolled back to
	ReleaseFailed     ReleaseState = "failed"     // never had it
)

// ReleaseID names a release of an environment.
type ReleaseID struct {
	Environment EnvironmentID `json:"environment"`
	Number      int           `json:"number"`
}

// ID gives the release's name.
func (r Release) ID() ReleaseID { return ReleaseID{r.Environment, r.Number} }

// Tag gives the tag of the release's image: "production-v7".
func (id ReleaseID) Tag() string { return fmt.Sprintf("%s-v%d", id.Environment.Name, id.Number) }

// Image gives the reference by which the release is pulled: from the repository
// that it was pushed to, or else from the platform's own registry, "host:port".
// Empty: it is pulled from nowhere.
func (r Release) Image(registry string) string {
	repository := r.App.Build.Push
	if repository == "" && registry != "" {
		repository = registry + "/" + string(r.Environment.App)
	}
	if repository == "" {
		return ""
	}
	return repository + ":" + r.ID().Tag() + "@" + string(r.Artifact)
}

// Env gives the variables that a process of the release has of the app's own: those
// of its manifest, and over them those of its config. The map is the caller's.
func (r Release) Env(process Process) map[string]string {
	env := make(map[string]string)
	for _, set := range []map[string]string{r.App.Env, process.Env, r.Config} {
		maps.Copy(env, set)
	}
	return env
}

// String gives "app/environment v7".
func (id ReleaseID) String() string { return fmt.Sprintf("%s v%d", id.Environment, id.Number) }

// Rollout is the way of one release to its traffic. Each step is recorded
// before it is taken, and can be taken again.
type Rollout struct {
	Release ReleaseID `json:"release"`
	// Generation tells the groups of this rollout from earlier ones of the same
	// release: a restart makes a new generation.
	Generation int `json:"generation"`
	// Deploy names the request that the rollout carries out, for those who follow it.
	Deploy string      `json:"deploy,omitempty"`
	Step   RolloutStep `json:"step"`
	// Previous are the groups that had the traffic when the rollout began.
	Previous []GroupID `json:"previous,omitempty"`
	// Reason says why the rollout failed.
	Reason  string    `json:"reason,omitempty"`
	Started time.Time `json:"started"`
	Updated time.Time `json:"updated"`
	// Switched is when all edges had the new release's routing; zero before.
	Switched time.Time `json:"switched,omitzero"`
}

// RolloutStep is how far a rollout has come.
//
//	recorded → releasing → starting → switched → done
//	    └──────────┴───────────┴────→ undoing → failed
type RolloutStep string

// The steps of a rollout.
const (
	RolloutRecorded  RolloutStep = "recorded"  // the release is stored, nothing has been done
	RolloutReleasing RolloutStep = "releasing" // the release command may have begun
	RolloutStarting  RolloutStep = "starting"  // the new groups are being brought up
	RolloutSwitched  RolloutStep = "switched"  // the new groups have the traffic, the old ones are let go
	RolloutDone      RolloutStep = "done"
	RolloutUndoing   RolloutStep = "undoing" // the new groups are being removed
	RolloutFailed    RolloutStep = "failed"
)

// Over reports whether nothing more will happen in the rollout.
func (s RolloutStep) Over() bool { return s == RolloutDone || s == RolloutFailed }
