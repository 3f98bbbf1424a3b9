package runner

import (
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"github.com/springtide/springtide/internal/jobs"
)

// moment is a time of CLOCK_BOOTTIME, in nanoseconds.
type moment int64

func now() moment {
	var spec unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &spec) // every kernel has it
	return moment(spec.Nano())
}

func (m moment) add(d time.Duration) moment { return m + moment(d) }

// left is how long it is until then.
func (m moment) left() time.Duration { return time.Duration(m - now()) }

// timing is how leases are kept, as the platform said last.
type timing struct {
	beat time.Duration
	// silent is how long after a request was sent that renewed it a run ends.
	silent time.Duration
}

// timingOf keeps the same share of a lease as safe whatever its length.
func timingOf(answer jobs.LeaseAnswer) timing {
	t := timing{beat: jobs.BeatEvery, silent: jobs.SilentFor}
	if answer.BeatSeconds > 0 {
		t.beat = seconds(answer.BeatSeconds)
	}
	if answer.LeaseSeconds > 0 {
		t.silent = seconds(answer.LeaseSeconds * jobs.SilentFor.Seconds() / jobs.LeaseFor.Seconds())
	}
	return t
}

// seconds is a duration of the protocol's; what is beyond bounds is within them.
func seconds(n float64) time.Duration {
	const most = 365 * 24 * time.Hour
	return time.Duration(min(max(n, 0), most.Seconds()) * float64(time.Second))
}

// pause is how long to wait after so many failures in a row: up to two seconds,
// and not all runners at the same time.
func pause(failures int) time.Duration {
	limit := min(100*time.Millisecond<<min(failures, 10), 2*time.Second)
	return limit/2 + rand.N(limit/2)
}
