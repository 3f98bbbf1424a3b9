package ledger

import (
	"encoding/base32"
	"encoding/binary"

	"github.com/springtide/springtide"
)

// digits rise in the order of characters, so that identifiers sort by time.
// Letters that are taken for digits are left out.
var digits = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// runID writes the number of a run: 13 digits.
func runID(number int64) springtide.RunID {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(number))
	return springtide.RunID(digits.EncodeToString(raw[:]))
}

// runNumber reads what runID wrote; 0: it is no identifier.
func runNumber(id springtide.RunID) int64 {
	raw, err := digits.DecodeString(string(id))
	if err != nil || len(raw) != 8 || runID(int64(binary.BigEndian.Uint64(raw))) != id {
		return 0
	}
	return int64(binary.BigEndian.Uint64(raw))
}

func noRun(id springtide.EnvironmentID, run springtide.RunID) error {
	return springtide.Errorf(springtide.NotFound, "%s has no run %s", id, run).
		WithHint("it may have been forgotten after its queue's retention; see: tide jobs ls")
}
