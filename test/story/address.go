package story

import (
	"testing"

	"github.com/springtide/springtide/bench/platform"
)

// Address gives a free address of this machine, which nobody else is given before the
// test ends.
func Address(t testing.TB) string {
	t.Helper()
	address, err := platform.Reserve()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { address.Close() })
	return address.String()
}
