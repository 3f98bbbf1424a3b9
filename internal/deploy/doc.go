// Package deploy takes a release from a request to switched traffic, and keeps
// what is wanted of every environment.
//
// A rollout goes through recorded steps. Each can be killed at any instruction
// and taken again; a new control plane takes up every rollout that is not over.
//
//	recorded ──▶ releasing ──▶ starting ──▶ switched ──▶ done
//	                 │             │
//	                 └─────────────┴──────▶ undoing ──▶ failed
//
//	recorded   the release is stored
//	releasing  its release command runs: once, never again by itself
//	starting   its groups are brought up beside those that have the traffic
//	switched   one transaction made it the active release; the edges are told
//	undoing    its groups are removed; the traffic never left the old ones
//
// The groups that have no traffic any more are not a rollout's concern: the
// [Fleet] removes every group that is neither active nor of an open rollout,
// each instance once it is let go.
package deploy
