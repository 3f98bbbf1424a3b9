package edge

import (
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/springtide/springtide"
)

// What only floods do is a debt of the client who does it, and time pays it off. Who
// owes more than the credit is refused until it is paid: seconds for who stops, longer
// for who goes on, and never longer than the operator says, since others may share the
// address. Their connections that are open go on.
const (
	floodCredit = 10 * time.Second
	// floodDebt is that of an HTTP/2 connection which was ended for a flood: the third
	// within a moment has the client refused.
	floodDebt = 4 * time.Second
	// idleDebt is that of a TLS connection on which nothing was asked for: 20 a second
	// may be, and 200 at once. A browser opens one or two in advance.
	idleDebt = 50 * time.Millisecond
	// resetDebt and noiseDebt are those of what a session's patience forgives by time
	// alone, which a client with many sessions has many times.
	resetDebt = 2500 * time.Microsecond
	noiseDebt = 250 * time.Microsecond
	// unshownDebts are those of an address that is maybe not the client's own.
	unshownDebts = "unshown"
)

// floods knows the clients whose debt is not paid. However many there are, it takes 4 MiB.
type floods struct {
	debts *rateTable
	// longest is how long a client is refused at most; 0: nobody is.
	longest        time.Duration
	logger         *slog.Logger
	ended, refused atomic.Int64
	told           atomic.Int64 // when it was last logged, in nanoseconds since 1970
}

func newFloods(longest time.Duration, logger *slog.Logger) *floods {
	return &floods{debts: newRateTable(), longest: longest, logger: logger}
}

// owes adds to a client's debt, and reports whether that is too much.
func (f *floods) owes(client netip.Addr, debt time.Duration) bool {
	if f.longest <= 0 {
		return false
	}
	now := time.Now()
	owed := f.debts.owe(bucket{client: client}, debt, floodCredit+f.longest, now)
	if owed <= floodCredit {
		return false
	}
	if told := f.told.Load(); debt > 0 && now.UnixNano()-told >= int64(tellCrowd) && f.told.CompareAndSwap(told, now.UnixNano()) {
		f.logger.Warn("a client floods; its new connections are refused for a while", "client", client, "while", owed-floodCredit)
	}
	return true
}

// doubts says that a client has to show that his address is his own: he owes half of what
// he may, or somebody who uses it does. What that one owes, which is added, has no other
// consequence.
func (f *floods) doubts(client netip.Addr, debt time.Duration) bool {
	if f.longest <= 0 {
		return false
	}
	now := time.Now()
	unshown := f.debts.owe(bucket{of: unshownDebts, client: client}, debt, floodCredit, now)
	return max(unshown, f.debts.owe(bucket{client: client}, 0, floodCredit+f.longest, now)) > floodCredit/2
}

// refuses says whether a client's new connection is refused, and counts it.
func (f *floods) refuses(client netip.Addr) bool {
	if !f.owes(client, 0) {
		return false
	}
	f.refused.Add(1)
	return true
}

func (f *floods) counts() springtide.FloodCounts {
	return springtide.FloodCounts{Ended: f.ended.Load(), Refused: f.refused.Load()}
}
