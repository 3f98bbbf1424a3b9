// Package store is what the platform remembers: what is wanted (environments,
// releases, groups), how far it has come (rollouts) and what happened
// (decisions, events). Package sqlite keeps it on one machine, package postgres
// for several, and package tables has what they both say to their database;
// package storetest is the conformance suite that every implementation passes.
//
// Whoever needs a part of it declares that part as a small interface of its
// own. All methods may be called at the same time. A method that writes has
// written durably when it returns nil, except for decisions and events, whose
// last ones a power cut may take.
//
// Errors are of kind NotFound (no such thing), Conflict (something else holds
// it, or it has changed), Invalid (it makes no sense) or Unavailable (the disk
// is full or does not answer; try again later).
package store

import (
	"context"
	"time"

	"github.com/springtide/springtide"
)

// How much history is kept.
const (
	// KeepDecisions is how many decisions are kept for each environment.
	KeepDecisions = 500
	// KeepEvidence is for how many of them, the newest, the evidence is.
	KeepEvidence = 100
	// KeepEvents is how many events are kept in all.
	KeepEvents = 10_000
	// KeepRollouts is how many rollouts are kept for each environment.
	KeepRollouts = 100
	// KeepPurges is how many purges of the edges' caches are kept.
	KeepPurges = 500
)

// Store is everything that is remembered.
type Store interface {
	Environments
	Releases
	Rollouts
	Groups
	Decisions
	Demand
	Lessons
	Events
	Tokens
	Secrets
	Arrivals
	Purges
	// NextTableVersion gives a version for the next routing table. It is higher
	// than all that were given before, also over restarts; there may be gaps.
	NextTableVersion(ctx context.Context) (int64, error)
	// Close lets go of the store. What was written stays.
	Close() error
}

// Purges remembers what edges were told to forget of their caches.
type Purges interface {
	// AddPurge gives the purge with its number, which is greater than all before.
	AddPurge(ctx context.Context, purge springtide.Purge) (springtide.Purge, error)
	// Purges are in their order, and since is the number of the last before them; 0 if
	// there is none.
	Purges(ctx context.Context) (since int64, purges []springtide.Purge, err error)
}

// Environments remembers what is wanted of each environment apart from its releases.
type Environments interface {
	// CreateEnvironment gives the environment, and makes it if there is none.
	CreateEnvironment(ctx context.Context, id springtide.EnvironmentID) (springtide.Environment, error)
	Environment(ctx context.Context, id springtide.EnvironmentID) (springtide.Environment, error)
	// Environments are in order of app and name.
	Environments(ctx context.Context) ([]springtide.Environment, error)
	// DestroyEnvironment forgets the environment and all that belongs to it. If
	// one of that name is made again, its releases and generations are numbered
	// on from where these ended.
	DestroyEnvironment(ctx context.Context, id springtide.EnvironmentID) error
	// SetConfig sets and unsets entries of the config; what is in both is set.
	SetConfig(ctx context.Context, id springtide.EnvironmentID, set map[string]string, unset []string) (springtide.Environment, error)
	// SetDomains adds and removes domains that are set by hand. A domain belongs to
	// one environment at most: the Conflict names the owner, and nothing changes.
	SetDomains(ctx context.Context, id springtide.EnvironmentID, add, remove []string) (springtide.Environment, error)
	// CheckDomains gives the Conflict that claiming the domains would give, without
	// claiming them. [Rollouts.BeginRollout] claims those of its release.
	CheckDomains(ctx context.Context, id springtide.EnvironmentID, domains []string) error
	// SetScale sets how many instances a process may have; nil leaves it to the manifest.
	SetScale(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, scale *springtide.ScaleRange) (springtide.Environment, error)
	// SetOccasions replaces what is announced by what change makes of it, unless
	// that gives an error. It may be called more than once.
	SetOccasions(ctx context.Context, id springtide.EnvironmentID, change func([]springtide.Occasion) ([]springtide.Occasion, error)) (springtide.Environment, error)
	SetStopped(ctx context.Context, id springtide.EnvironmentID, stopped bool) (springtide.Environment, error)
	// SetMaintenance begins maintenance; nil ends it.
	SetMaintenance(ctx context.Context, id springtide.EnvironmentID, maintenance *springtide.Maintenance) (springtide.Environment, error)
}

// Releases remembers what was made to be run.
type Releases interface {
	// AddRelease numbers the release and records it as pending. It gives it back
	// with its Number, State and Created.
	AddRelease(ctx context.Context, release springtide.Release) (springtide.Release, error)
	Release(ctx context.Context, id springtide.ReleaseID) (springtide.Release, error)
	// Releases of an environment; the newest first.
	Releases(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Release, error)
	// FailRelease marks a pending release that no rollout will take up as failed.
	// A release that is not pending stays as it is.
	FailRelease(ctx context.Context, id springtide.ReleaseID, reason string) error
	// DeleteRelease forgets a release. It is a Conflict if the release is active,
	// being rolled out, or still has a group.
	DeleteRelease(ctx context.Context, id springtide.ReleaseID) error
	// Artifacts are those in use by any release or group, each once, in order.
	Artifacts(ctx context.Context) ([]springtide.Digest, error)
}

// Rollouts remembers how far each rollout has come. An environment has at most
// one that is not over. The steps are those of [springtide.RolloutStep]: they
// are only taken forward, and taking the last one again changes nothing.
type Rollouts interface {
	// BeginRollout records a rollout of a release as RolloutRecorded and gives it
	// back with its Generation, Started and Updated. It claims the domains of the
	// release. It is a Conflict if another rollout of the environment is not over,
	// or if one of the domains belongs to another environment.
	BeginRollout(ctx context.Context, rollout springtide.Rollout) (springtide.Rollout, error)
	// SaveRollout records how far the rollout is: its Step, Previous, Reason and
	// Switched. The steps switched, done and failed are reached by the methods
	// below only.
	SaveRollout(ctx context.Context, rollout springtide.Rollout) error
	// SwitchRollout makes the release and generation of the rollout those that have
	// the traffic, all at once: the rollout is RolloutSwitched, the release active,
	// the one before superseded, the environment not stopped, and the manifest's
	// domains are those of the release.
	SwitchRollout(ctx context.Context, rollout springtide.Rollout) error
	// FinishRollout ends a rollout that has switched as RolloutDone.
	FinishRollout(ctx context.Context, rollout springtide.Rollout) error
	// FailRollout ends a rollout that has not switched as RolloutFailed, with its
	// Reason. Its release is failed too if it never was active, and the manifest's
	// domains are again those of the active release.
	FailRollout(ctx context.Context, rollout springtide.Rollout) error
	// OpenRollouts are those that are not over, the oldest first.
	OpenRollouts(ctx context.Context) ([]springtide.Rollout, error)
	// LastRollout is the newest of an environment, over or not.
	LastRollout(ctx context.Context, id springtide.EnvironmentID) (springtide.Rollout, error)
	// RolloutOf is the one that carries out a request: its Deploy.
	RolloutOf(ctx context.Context, deploy string) (springtide.Rollout, error)
}

// Groups remembers the groups that an engine is to run.
type Groups interface {
	// PutGroup records a group of a release that exists, or replaces it.
	PutGroup(ctx context.Context, group springtide.Group) error
	SetReplicas(ctx context.Context, id springtide.GroupID, replicas int) error
	// DeleteGroup forgets a group; an unknown one is no error.
	DeleteGroup(ctx context.Context, id springtide.GroupID) error
	// Groups are in order of environment, generation and process.
	Groups(ctx context.Context) ([]springtide.Group, error)
	GroupsOf(ctx context.Context, id springtide.EnvironmentID) ([]springtide.Group, error)
}

// Decisions remembers the last [KeepDecisions] decisions of each environment, and
// the evidence of the last [KeepEvidence].
type Decisions interface {
	AddDecision(ctx context.Context, decision springtide.Decision) error
	// Decisions of an environment, the newest first. An empty process means all, a
	// limit of 0 all that are kept.
	Decisions(ctx context.Context, id springtide.EnvironmentID, process springtide.ProcessName, limit int) ([]springtide.Decision, error)
}

// ProcessID names a process of an environment.
type ProcessID struct {
	Environment springtide.EnvironmentID
	Process     springtide.ProcessName
}

// String gives "app/environment/process".
func (id ProcessID) String() string { return id.Environment.String() + "/" + string(id.Process) }

// DemandHour is what was asked of a process in an hour; what Minutes holds is
// whoever gives it to know.
type DemandHour struct {
	Of ProcessID
	// Hour counts from the year 1970.
	Hour    int64
	Minutes []byte
}

// Demand remembers what was asked of processes, and what their instances used.
// The last that was put may be taken by a power cut. It goes with its environment.
type Demand interface {
	// PutDemand records hours and what was used, or replaces them. Those of
	// environments that are gone are left out.
	PutDemand(ctx context.Context, hours []DemandHour, usage map[ProcessID][]byte) error
	// Demand gives the hours from one to another that are known, in order.
	Demand(ctx context.Context, of ProcessID, from, to int64) ([]DemandHour, error)
	// ForgetDemand forgets the hours before one, a day of them at most: a clock that
	// is wrong for a moment does not cost all.
	ForgetDemand(ctx context.Context, before int64) error
	// Usage gives what was used; nil if nothing is known.
	Usage(ctx context.Context, of ProcessID) ([]byte, error)
}

// Lessons remembers what the scaler learnt of processes: what that is, whoever
// gives it knows. The last that was put may be taken by a power cut. It goes with
// its environment.
type Lessons interface {
	// PutLessons records what was learnt, or replaces it. That of environments that
	// are gone is left out.
	PutLessons(ctx context.Context, learnt map[ProcessID][]byte) error
	// Lessons gives all that was learnt.
	Lessons(ctx context.Context) (map[ProcessID][]byte, error)
}

// Events remembers the last [KeepEvents] events.
type Events interface {
	// AddEvents records events in their order and gives them back with their
	// Sequence.
	AddEvents(ctx context.Context, events []springtide.Event) ([]springtide.Event, error)
	// Events are those with a higher Sequence than after, in order. A nil
	// environment means all, a limit of 0 all that are kept.
	Events(ctx context.Context, after int64, environment *springtide.EnvironmentID, limit int) ([]springtide.Event, error)
	// LastSequence is the highest Sequence that was ever given, 0 if none was.
	LastSequence(ctx context.Context) (int64, error)
}

// Token admits a client to the API over the network. The secret itself is not
// kept.
type Token struct {
	Name string `json:"name"`
	// Hash is the SHA-256 of the secret.
	Hash    [32]byte  `json:"-"`
	Created time.Time `json:"created"`
	// LastUsed is zero if the token was never used.
	LastUsed time.Time `json:"last_used,omitzero"`
}

// Tokens remembers who may use the API over the network.
type Tokens interface {
	// AddToken records a token. It is a Conflict if there is one of that name.
	AddToken(ctx context.Context, token Token) error
	// Tokens are in order of name.
	Tokens(ctx context.Context) ([]Token, error)
	DeleteToken(ctx context.Context, name string) error
	TokenByHash(ctx context.Context, hash [32]byte) (Token, error)
	// TouchToken records that the token was used. The caller spares the disk: once
	// a minute will do.
	TouchToken(ctx context.Context, name string, used time.Time) error
}

// Secret is one version of a secret of an environment. It never changes.
type Secret struct {
	Name springtide.SecretName
	// Version counts from 1 and is never used twice.
	Version int
	// Sealed is the value, which only the keyring can read. nil: the secret was
	// unset.
	Sealed  []byte
	Created time.Time
}

// Secrets remembers secrets, and the keys that they are sealed with: sealed
// themselves, by a root key that is not here.
type Secrets interface {
	// SecretKeys are those of all environments that have one; the one of no
	// environment is the platform's own.
	SecretKeys(ctx context.Context) (map[springtide.EnvironmentID][]byte, error)
	// AddSecretKey records the key of an environment unless there is one, and gives
	// the one that is kept. It goes with its environment.
	AddSecretKey(ctx context.Context, id springtide.EnvironmentID, sealed []byte) (kept []byte, err error)
	// ReplaceSecretKeys replaces keys, all or none. Those of environments that are
	// gone are left out.
	ReplaceSecretKeys(ctx context.Context, keys map[springtide.EnvironmentID][]byte) error
	// AddSecrets records versions, all or none. It is a Conflict unless each is the
	// next one of its name.
	AddSecrets(ctx context.Context, id springtide.EnvironmentID, secrets []Secret) error
	// Secrets are all versions, in order of name and version.
	Secrets(ctx context.Context, id springtide.EnvironmentID) ([]Secret, error)
	// ForgetSecrets forgets versions that no release has and that were followed by
	// another one before that time, and says how many. The last ones stay.
	ForgetSecrets(ctx context.Context, id springtide.EnvironmentID, before time.Time) (int, error)
}

// Leader is who leads of the control planes that share a store.
type Leader struct {
	// Holder is empty if there is none.
	Holder string
	// Token is higher than those of all leaders before.
	Token int64
	// Beats changes while the leader lives.
	Beats int64
}

// Leadership has one of the control planes that share a store lead. Once a Store
// has led, its writes are refused as Unavailable from the moment that there is a
// newer token. Whether a leader is dead is not the store's to say: it looks at no
// clock, since clocks are stepped.
type Leadership interface {
	Leader(ctx context.Context) (Leader, error)
	// Lead makes holder the leader in place of one who has not stirred since it was
	// seen, and says whether that was so.
	Lead(ctx context.Context, holder string, seen Leader) (leads bool, err error)
	// Beat stirs, and says whether it is still this Store that leads.
	Beat(ctx context.Context) (leads bool, err error)
	// Resign ends the lead, if this Store has it, so that nobody needs to wait. The
	// Store writes no more.
	Resign(ctx context.Context) error
}
