package springtide

import "time"

// Announcement says that more traffic than usual is expected of a process for a
// while, and how many instances are to be there for it.
type Announcement struct {
	// Name is what it is for, as people are told.
	Name string `json:"name"`
	// From and Until are of the first time, where it repeats.
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Instances int       `json:"instances"`
	Repetition
}

// Repetition says when something happens again. Its zero value is never.
type Repetition struct {
	// Repeat is a recurrence rule (RFC 5545, section 3.3.10) without its start.
	Repeat string `json:"repeat,omitempty"`
	// Timezone is the zone, by its IANA name, by whose clock it repeats; empty: UTC.
	Timezone string `json:"timezone,omitempty"`
	// Except are the beginnings that are left out.
	Except []time.Time `json:"except,omitempty"`
}

// Occasion is announced of an environment by `tide events`, besides what its
// manifest announces. It outlives releases.
type Occasion struct {
	// ID names it among those of its environment.
	ID string `json:"id"`
	// Name is what it is for, as people are told.
	Name string `json:"name"`
	// Calendar is the name of the file that it was imported from; empty: it was
	// added by hand.
	Calendar string    `json:"calendar,omitempty"`
	From     time.Time `json:"from"`
	Until    time.Time `json:"until"`
	Repetition
	// Min is how many instances are to be there, by process.
	Min map[ProcessName]int `json:"min"`
}

// Announcement gives what is announced of one process; none if it is not in Min.
func (o Occasion) Announcement(process ProcessName) (Announcement, bool) {
	n, named := o.Min[process]
	return Announcement{Name: o.Name, From: o.From, Until: o.Until, Instances: n, Repetition: o.Repetition}, named
}
