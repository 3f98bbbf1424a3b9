package main

import (
	"encoding/json"
	"slices"
)

// moves are the states that a run may go to from each; from "", a new one.
var moves = map[string][]string{
	"":          {"available", "scheduled", "waiting", "skipped", "missed", "cancelled"},
	"scheduled": {"available", "missed", "cancelled"},
	"waiting":   {"available", "scheduled", "missed", "cancelled"},
	"available": {"claimed", "running", "missed", "cancelled"},
	"claimed":   {"running", "available", "scheduled", "succeeded", "dead", "cancelled"},
	"running":   {"available", "scheduled", "succeeded", "dead", "cancelled"},
	// By hand.
	"dead":      {"available"},
	"cancelled": {"available"},
}

// told is what an attempt put into its result: who it was.
type told struct {
	Run     string `json:"run"`
	Fence   int64  `json:"fence"`
	Attempt int64  `json:"attempt"`
}

// wanted is what a payload may say of the state that its run must end in:
// succeeded, dead or over.
type wanted struct {
	Expect string `json:"expect"`
}

// checkRuns follows each run through all its moves.
func checkRuns(b *book, r *report) {
	history := map[int64][]event{}
	fences := map[int64]int64{}
	for _, e := range b.events {
		history[e.run] = append(history[e.run], e)
	}
	stale, attempts, lost, results := 0, 0, 0, 0
	for number, events := range history {
		h := walk(number, events, fences, r)
		attempts, results, lost, stale = attempts+h.attempts, results+h.settled, lost+h.lost, stale+h.stale
		if b.byNumber[number] == nil {
			r.violation("run %s is gone: it was %s", identifier(number), events[len(events)-1].state)
		}
	}
	states := map[string]int{}
	for i := range b.runs {
		run := &b.runs[i]
		states[run.state]++
		checkEnd(run, history[run.number], r)
	}
	r.number("runs", len(b.runs))
	r.number("runs that succeeded", states["succeeded"])
	r.number("runs that are dead", states["dead"])
	r.number("attempts", attempts)
	r.number("attempts whose result was accepted", results)
	r.number("attempts that ended without a result", lost)
	r.number("stale results accepted", stale)
}

// walked is what a run went through.
type walked struct{ attempts, settled, lost, stale int }

// walk follows one run.
func walk(number int64, events []event, fences map[int64]int64, r *report) (w walked) {
	name, before, successes := identifier(number), event{}, 0
	for _, e := range events {
		claims := before.state == "available" && underWay(e.state)
		switch {
		case e.state == "deleted":
			continue // that it is gone is told elsewhere
		case e.state == before.state:
			r.violation("run %s changed while it was %s: fence %d became %d, verdict %q became %q", name, e.state, before.fence, e.fence, before.verdict, e.verdict)
		case !slices.Contains(moves[before.state], e.state):
			r.violation("run %s went from %q to %q", name, before.state, e.state)
		}
		switch {
		case claims && (e.fence <= before.fence || e.attempt != before.attempt+1):
			r.violation("run %s was claimed as attempt %d with fence %d after attempt %d with fence %d", name, e.attempt, e.fence, before.attempt, before.fence)
		case !claims && (e.fence != before.fence || e.attempt != before.attempt):
			r.violation("run %s had attempt %d with fence %d, and attempt %d with fence %d without a claim", name, before.attempt, before.fence, e.attempt, e.fence)
		}
		if claims {
			w.attempts++
			if other, taken := fences[e.fence]; taken {
				r.violation("the fence %d was given to run %s and to run %s", e.fence, name, identifier(other))
			}
			fences[e.fence] = number
		}
		switch settles := e.settled != before.settled; {
		case settles:
			w.settled++
			if !isOwn(number, before, e, r) {
				w.stale++
			}
		case underWay(before.state) && !underWay(e.state):
			w.lost++
			if e.state == "succeeded" {
				r.violation("run %s succeeded without a result of its attempt", name)
			}
		}
		if e.state == "succeeded" {
			successes++
		}
		before = e
	}
	if successes > 1 {
		r.violation("run %s succeeded %d times", name, successes)
	}
	return w
}

// isOwn reports whether the result that was accepted is that of the attempt that
// had the run.
func isOwn(number int64, before, e event, r *report) bool {
	name := identifier(number)
	if e.settled != before.fence || !underWay(before.state) {
		r.violation("run %s took a result of fence %d when it was %s with fence %d", name, e.settled, before.state, before.fence)
		return false
	}
	var by told
	if e.result == "" || json.Unmarshal([]byte(e.result), &by) != nil || by == (told{}) {
		return true // it does not say
	}
	if by != (told{name, before.fence, before.attempt}) {
		r.violation("run %s, attempt %d with fence %d, took the result of run %s, attempt %d with fence %d", name, before.attempt, before.fence, by.Run, by.Attempt, by.Fence)
		return false
	}
	return true
}

// checkEnd looks at what became of a run.
func checkEnd(run *job, events []event, r *report) {
	name := identifier(run.number)
	if !over(run.state) {
		r.violation("run %s is %s still", name, run.state)
	}
	if len(events) == 0 {
		r.violation("run %s has no history", name)
		return
	}
	if last := events[len(events)-1]; last.state != run.state || last.fence != run.fence || last.settled != run.settled || last.result != run.result {
		r.violation("run %s is %s with fence %d; the last that was written down is %s with fence %d", name, run.state, run.fence, last.state, last.fence)
	}
	if run.state == "succeeded" && (run.settled != run.fence || run.verdict != "succeeded") {
		r.violation("run %s has succeeded with fence %d, but the last result was %s of fence %d", name, run.fence, run.verdict, run.settled)
	}
	var want wanted
	_ = json.Unmarshal([]byte(run.payload), &want) // other payloads want nothing
	switch {
	case run.slot != 0 && (run.state == "missed" || run.state == "skipped" || run.state == "cancelled"):
	case want.Expect != "" && want.Expect != "over" && want.Expect != run.state:
		r.violation("run %s has ended as %s, not %s, after %d attempts", name, run.state, want.Expect, run.attempt)
	}
	if run.state == "dead" && run.onLost == "retry" && run.verdict != "failed" && run.failures < run.attempts {
		r.violation("run %s is dead after %d of %d failures, though it was to be tried again", name, run.failures, run.attempts)
	}
}
