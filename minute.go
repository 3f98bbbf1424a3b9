package springtide

import "time"

// Minute is what was asked of a process within a minute, and what it took. What
// is not known is zero.
type Minute struct {
	// Time is when it began.
	Time time.Time `json:"time"`
	// Requests is how many arrived, Failed how many of the answers were 5xx, of
	// instances and of the edge.
	Requests int `json:"requests"`
	Failed   int `json:"failed"`
	// Concurrency is the mean of how many were being served at a time, Peak the most
	// that were being served or held, Held the most that were held.
	Concurrency float64 `json:"concurrency"`
	Peak        int     `json:"peak"`
	Held        int     `json:"held"`
	// Service is the mean time that an instance took, P95 the 95th percentile until
	// the first byte of an answer, waiting included.
	Service time.Duration `json:"service"`
	P95     time.Duration `json:"p95"`
	// Need is the most slots that the law of scaling found needed.
	Need float64 `json:"need"`
	// Instances is the most that were ready.
	Instances int `json:"instances"`
	// CPU is the processor time of all instances, Memory the most bytes that one of
	// them held.
	CPU    time.Duration `json:"cpu"`
	Memory int64         `json:"memory"`
}
