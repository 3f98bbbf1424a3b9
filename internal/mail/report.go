package mail

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

// Refusal is what a server said against a recipient.
type Refusal struct {
	Address string `json:"address"`
	Reason  string `json:"reason"`
}

// report is what became of each recipient.
type report struct {
	MessageID string `json:"message_id"`
	// Accepted were taken by the server, in this attempt or an earlier one.
	Accepted []string `json:"accepted"`
	// Suppressed are on the suppression list, and were not tried.
	Suppressed []string `json:"suppressed,omitempty"`
	// Bounced were refused for good.
	Bounced []Refusal `json:"bounced,omitempty"`
	// Deferred are tried again.
	Deferred []Refusal `json:"deferred,omitempty"`

	// failure is why there is no more than that, final that there never will be.
	failure error
	final   bool
	// refused says that a server put somebody off, and not only our own pace;
	// busy that it asked to be left alone.
	refused, busy bool
	// later is when the turn of those comes who are put off.
	later time.Duration
}

func (r *report) result() json.RawMessage {
	if r.Accepted == nil {
		r.Accepted = []string{}
	}
	encoded, err := json.Marshal(r)
	if err != nil || len(encoded) > springtide.ResultLimit {
		return nil
	}
	return encoded
}

// outcome says what it means for the run.
func (r *report) outcome(run springtide.Run) jobs.Outcome {
	outcome := jobs.Outcome{Verdict: jobs.Failed, Result: r.result()}
	if r.busy {
		outcome.RetryAfter = patience(run.Failures)
	}
	switch {
	case r.failure != nil:
		outcome.Reason, outcome.Final = r.failure.Error(), r.final
	case r.refused:
		first := r.Deferred[0]
		outcome.Reason = fmt.Sprintf("%d of the recipients cannot get it now; %s: %s", len(r.Deferred), first.Address, first.Reason)
	case len(r.Deferred) > 0:
		outcome.Verdict, outcome.RetryAfter = jobs.Returned, r.later
		outcome.Reason = "the rate of the recipients' domains does not allow it yet"
	case len(r.Accepted) > 0:
		outcome.Verdict = jobs.Succeeded
	case len(r.Bounced) > 0:
		outcome.Final = true
		outcome.Reason = fmt.Sprintf("every recipient was refused; %s: %s", r.Bounced[0].Address, r.Bounced[0].Reason)
	default:
		outcome.Final = true
		outcome.Reason = "every recipient is on the suppression list"
	}
	return outcome
}

// patience is the back-off of a run whose server asked to be left alone: no
// shorter than that of any other, so that its attempts last as long.
func patience(failures int) time.Duration {
	return min(max(putOff, jobs.FirstBackOff<<min(failures, 10)), jobs.LongestBackOff)
}
