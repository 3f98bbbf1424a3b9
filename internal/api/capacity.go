package api

import "github.com/springtide/springtide"

// Capacity tells how the memory of the machine is shared.
type Capacity struct {
	// Memory is what instances may have altogether, in bytes.
	Memory int64 `json:"memory"`
	// Wanted is what they have, or would have if there were enough, in bytes.
	Wanted int64 `json:"wanted"`
	// Short are the processes that have to do with less than they want, in order.
	Short []Shortage `json:"short,omitempty"`
	// Full says why no further instance can be started now; empty if one can.
	Full string `json:"full,omitempty"`
}

// Shortage is a process that has to do with less than it wants.
type Shortage struct {
	Group springtide.GroupID `json:"group"`
	// Wanted and Granted are instances.
	Wanted  int `json:"wanted"`
	Granted int `json:"granted"`
}
