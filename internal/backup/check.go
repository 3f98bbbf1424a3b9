package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/springtide/springtide"
)

// checkFile remembers how far the reading of a repository has come.
const checkFile = "check.json"

// Reading is how far the reading of all that restic keeps of an environment has
// come. It goes round and round, a part each day.
type Reading struct {
	// Next is the part that is read next, from 1.
	Next int `json:"next"`
	// Round is when the round under way began, Last when a part was last read.
	Round time.Time `json:"round"`
	Last  time.Time `json:"last"`
	// Whole is when the last round began that has found everything as it should be;
	// zero: none has yet.
	Whole time.Time `json:"whole,omitzero"`
	// Problem is what was found last; empty: nothing.
	Problem string `json:"problem,omitempty"`
}

// due is how many parts are to be read now, so that after so many days all is
// read again: one a day, and more if days were left out.
func (r Reading) due(parts int, now time.Time) int {
	days := int((now.Sub(r.Last) + 12*time.Hour) / (24 * time.Hour))
	return min(max(days, 1), parts)
}

// read is the reading after the next part was found well.
func (r Reading) read(parts int, now time.Time) Reading {
	if r.Next <= 1 {
		r.Next, r.Round = 1, now
	}
	r.Last, r.Problem = now, ""
	if r.Next++; r.Next > parts {
		r.Next, r.Whole = 1, r.Round
	}
	return r
}

// check reads the parts of a repository that are due. A part in which something
// is wrong is read again the next time.
func (f *files) check(ctx context.Context, of Subject) (Reading, error) {
	reading, err := f.reading(of)
	if err != nil {
		return reading, err
	}
	r, err := f.repository(ctx, of)
	if err != nil {
		return reading, err
	}
	for range reading.due(f.Days, time.Now()) {
		part := min(max(reading.Next, 1), f.Days)
		err := r.do(ctx, resticCall{arguments: []string{"check", fmt.Sprintf("--read-data-subset=%d/%d", part, f.Days)}})
		if springtide.KindOf(err) == springtide.Failed && ctx.Err() == nil {
			problem := springtide.Errorf(springtide.Failed, "what restic keeps of the shared files of %s is damaged: %w", of.Environment, err).
				WithHint("the files in use are not touched. Remove the packs that it names, have restic rebuild its index, and make a backup: it sends again what is missing")
			if e, ok := errors.AsType[*springtide.Error](err); ok {
				problem.Lines = e.Lines
			}
			reading.Problem = problem.Message
			return reading, errors.Join(f.keepReading(of, reading), problem)
		}
		if err != nil {
			return reading, err
		}
		reading.Next = part
		reading = reading.read(f.Days, time.Now().UTC())
		if err := f.keepReading(of, reading); err != nil {
			return reading, err
		}
	}
	return reading, nil
}

func (f *files) reading(of Subject) (reading Reading, err error) {
	err = readState(f.file(of, checkFile), &reading)
	return reading, err
}

func (f *files) keepReading(of Subject, reading Reading) error {
	return keepState(f.file(of, checkFile), reading)
}
