package springtide

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// GroupID names N replicas of one template. It never changes but for N.
type GroupID struct {
	Environment EnvironmentID `json:"environment"`
	Release     int           `json:"release"`
	Process     ProcessName   `json:"process"`
	Generation  int           `json:"generation"`
}

// String gives "app/environment/process/release.generation"; [ParseGroupID]
// reads it back.
func (id GroupID) String() string {
	return fmt.Sprintf("%s/%s/%d.%d", id.Environment, id.Process, id.Release, id.Generation)
}

// MarshalText makes a GroupID usable as the key of a JSON object.
func (id GroupID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText is the reverse of MarshalText.
func (id *GroupID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseGroupID(string(text))
	return err
}

// ParseGroupID reads what [GroupID.String] wrote.
func ParseGroupID(s string) (GroupID, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 4 {
		release, generation, ok := strings.Cut(parts[3], ".")
		r, err1 := strconv.Atoi(release)
		g, err2 := strconv.Atoi(generation)
		if ok && err1 == nil && err2 == nil {
			return GroupID{
				Environment: EnvironmentID{AppName(parts[0]), EnvironmentName(parts[1])},
				Process:     ProcessName(parts[2]), Release: r, Generation: g,
			}, nil
		}
	}
	return GroupID{}, Errorf(Invalid, "%q is not a group: want app/environment/process/release.generation", s)
}

// Template is the launch template: all that is needed to start one more
// identical instance, without asking anybody.
type Template struct {
	Artifact Digest `json:"artifact"`
	// Root is the folder on this machine that holds the unpacked artifact.
	Root string `json:"root,omitempty"`
	// Image is the reference of the artifact's image, for engines that pull it:
	// REGISTRY/NAME@DIGEST.
	Image   string            `json:"image,omitempty"`
	Process Process           `json:"process"`
	Env     map[string]string `json:"env,omitempty"`
}

// Group is N replicas of one template.
type Group struct {
	ID       GroupID  `json:"id"`
	Replicas int      `json:"replicas"`
	Template Template `json:"template"`
}

// Task is a one-off run of a command in a release's environment. Its ID makes
// it idempotent: an engine that knows the ID attaches to it instead of starting
// it again.
type Task struct {
	ID          string        `json:"id"`
	Environment EnvironmentID `json:"environment"`
	Release     int           `json:"release"`
	Command     string        `json:"command"`
	Template    Template      `json:"template"`
	// Timeout ends the task with SIGTERM, then SIGKILL after 10 s. 0: no limit.
	Timeout time.Duration `json:"timeout,omitempty"`
}

// Exit is how a task ended.
type Exit struct {
	// Code is the exit status; 128 + the signal if a signal ended it.
	Code int `json:"code"`
	// Reason says it in words: "exit status 3", "killed: out of memory (256 MiB)",
	// "timed out after 5m0s".
	Reason string `json:"reason,omitempty"`
}
