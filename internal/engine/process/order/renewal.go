package order

import "encoding/binary"

// RenewalSize is how many bytes a renewal has: so few that they are written and
// read as one.
const RenewalSize = 8

// Renewal gives what is written to the pipe at WatchFD: until when the run may
// go on, in nanoseconds of CLOCK_BOOTTIME.
func Renewal(until int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(until)) }

// ReadRenewals gives the last of the renewals that were read together; ok is
// false if they are not whole.
func ReadRenewals(data []byte) (until int64, ok bool) {
	if len(data) == 0 || len(data)%RenewalSize != 0 {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(data[len(data)-RenewalSize:])), true
}
