package edge

import (
	"context"
	"errors"
	"testing"
)

func TestAContextOfARequestThatEndedHasItsReasonAlsoOnceThereIsAnotherRequest(t *testing.T) {
	here := new(presence)
	if here.renewed() != here {
		t.Error("one that nobody waited for is not used again")
	}
	for range 1000 { // a derived context asks for the reason in a goroutine of its own
		derived, cancel := context.WithCancel(here)
		before := here
		here.end()
		here = here.renewed()
		<-derived.Done()
		if !errors.Is(before.Err(), errClientGone) || here.Err() != nil {
			t.Fatalf("the reasons are %v, and %v of the next request", before.Err(), here.Err())
		}
		cancel()
	}
}
