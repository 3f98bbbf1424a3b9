package process

import (
	"testing"
	"time"
)

func TestTheBackOffDoublesUpToHalfAMinuteAndVariesByAFifth(t *testing.T) {
	for crashes, want := range map[int]time.Duration{
		1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 5: 1600 * time.Millisecond,
		9: 25600 * time.Millisecond, 10: 30 * time.Second, 1000: 30 * time.Second,
	} {
		for range 100 {
			if got := backoff(crashes); got < want*8/10 || got > want*12/10 {
				t.Fatalf("after %d crashes: %s, want about %s", crashes, got, want)
			}
		}
	}
}
