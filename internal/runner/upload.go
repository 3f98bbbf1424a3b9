package runner

import (
	"context"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

const (
	// uploadEvery is how long output is gathered before it is sent.
	uploadEvery = 250 * time.Millisecond
	// flushLimit is how long the last output may take to be read, sent or written.
	flushLimit = 3 * time.Second
	// mostConflicts is how often the platform may name another offset in a row.
	mostConflicts = 5
)

// upload sends what a run says, until it has ended and everything is sent, or
// ctx ends.
func (p *platform) upload(ctx context.Context, hold jobs.Hold, o *output, ended <-chan struct{}) {
	var offset int64
	failures := 0
	for last := false; !last && ctx.Err() == nil; {
		select {
		case <-o.added:
			wait(ctx, uploadEvery, ended)
		case <-ended:
			last = true
		case <-ctx.Done():
		}
		for text := o.pending(); len(text) > 0 && ctx.Err() == nil; text = o.pending() {
			next, err := p.output(ctx, hold, offset, text)
			kind := springtide.KindOf(err)
			if err != nil && (kind != springtide.Unavailable && kind != springtide.Conflict || kind == springtide.Conflict && failures >= mostConflicts) {
				o.deafen() // Another has the run, or the platform keeps no output.
				return
			}
			if kind != springtide.Unavailable {
				// What came with an answer that was lost need not be sent again.
				o.sent(int(min(max(next-offset, 0), int64(len(text)))))
				offset = next
			}
			if err == nil {
				failures = 0
				break
			}
			failures++
			wait(ctx, pause(failures), nil)
		}
	}
}

// wait waits for so long, or until ctx or sooner ends.
func wait(ctx context.Context, d time.Duration, sooner <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-sooner:
	case <-ctx.Done():
	}
}
