package edge

import "testing"

// Who sends a request's body is done with that when the answer may have begun.
func TestAnAnswerThatHasBegunHasNoTimeToBeginBy(t *testing.T) {
	var before, after exchange
	before.expectBy(1)
	before.opening(&answer{})
	after.opening(&answer{})
	after.expectBy(1)
	for _, x := range []*exchange{&before, &after} {
		if due := x.late.due.Load(); due != 0 {
			t.Errorf("it is given up at %d", due)
		}
	}
}
