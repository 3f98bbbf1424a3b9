package cert

import (
	"math"
	"time"
)

const (
	// firstPause is the pause after a first failure. It doubles with each further
	// one, up to longestPause. An attempt may cost two failed validations, and
	// authorities allow few of them an hour.
	firstPause   = 10 * time.Minute
	longestPause = 12 * time.Hour
	// interruptedPause is the first pause after an attempt of which nobody knows how
	// it ended, since the control plane was killed meanwhile. It doubles, too.
	interruptedPause = 30 * time.Second
	// suggestedAfter is how old a certificate is when the authority may have it
	// renewed early: a window that is always in the past must not be a tight loop.
	suggestedAfter = time.Hour
)

// Shares below are random numbers of at least 0 and less than 1: what one
// platform obtained at once is not renewed at once.

// renewAt gives when a certificate is renewed: when two thirds of its life are
// over, and up to a fifteenth of it later.
func renewAt(from, until time.Time, share float64) time.Time {
	life := until.Sub(from)
	return from.Add(2*life/3 + time.Duration(share*float64(life/15)))
}

// sooner gives when a certificate is renewed that its authority has a suggestion
// for (RFC 9773); the suggestion may be zero.
func sooner(planned, suggested, obtained time.Time) time.Time {
	if earliest := obtained.Add(suggestedAfter); suggested.Before(earliest) && !suggested.IsZero() {
		suggested = earliest
	}
	if suggested.IsZero() || suggested.After(planned) {
		return planned
	}
	return suggested
}

// pauseAfter gives how long to wait after so many attempts, at least one, that
// began with the pause first: up to a fifth more or less.
func pauseAfter(attempts int, first time.Duration, share float64) time.Duration {
	pause := min(float64(first)*math.Pow(2, float64(min(attempts, 30)-1)), float64(longestPause))
	return time.Duration(pause * (0.8 + 0.4*share))
}
