package springtide

import "time"

// Announcement says that more traffic than usual is expected of a process for a
// while, and how many instances are to be there for it.
type Announcement struct {
	// Name is what it is for, as people are told.
	Name      string    `json:"name"`
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Instances int       `json:"instances"`
}
