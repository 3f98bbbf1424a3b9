package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
)

func TestAJobThatMakesNoSenseIsInvalid(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		for name, job := range map[string]springtide.Job{
			"too much payload":      {Payload: json.RawMessage(`"` + strings.Repeat("x", springtide.PayloadLimit) + `"`)},
			"payload that is text":  {Payload: json.RawMessage(`hello`)},
			"payload not in UTF-8":  {Payload: json.RawMessage("\"\xff\"")},
			"unknown kind":          {Kind: "dance"},
			"unknown scope":         {KeyScope: "for ever"},
			"unknown end":           {OnLost: "weep"},
			"name of a queue":       {Queue: "Default Queue"},
			"priority":              {Priority: 101},
			"negative delay":        {Delay: -1},
			"negative time limit":   {Timeout: -1},
			"negative attempts":     {Attempts: -1},
			"both a time and delay": {Delay: 1, RunAt: epoch},
			"far future":            {RunAt: time.Date(12000, 1, 1, 0, 0, 0, 0, time.UTC)},
			"long key":              {Key: strings.Repeat("k", keyLimit+1)},
			"nul in a command":      {Command: "a\x00b"},
		} {
			_, err := w.Enqueue(t.Context(), quiz, []springtide.Job{{}, job}, nil)
			wantKind(t, err, springtide.Invalid)
			if !strings.HasPrefix(err.Error(), "job 2 of 2: ") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if runs := w.claim(10); len(runs) != 0 {
			t.Errorf("%d runs were made all the same", len(runs))
		}
	})
}

func TestAKeyGivesTheSameRunAsLongAsItsScopeSays(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		enqueue := func(scope springtide.KeyScope) jobs.Enqueued {
			enqueued, err := w.Enqueue(t.Context(), quiz, []springtide.Job{{}, {Key: string(scope), KeyScope: scope}, {Key: string(scope), KeyScope: scope}}, nil)
			w.must(err)
			if enqueued[0].Existing || enqueued[1].Run != enqueued[2].Run || !enqueued[2].Existing {
				t.Fatalf("one key twice in one call: %+v", enqueued)
			}
			return enqueued[1]
		}
		for _, scope := range []springtide.KeyScope{springtide.KeyKept, springtide.KeyActive} {
			first, second := enqueue(scope), enqueue(scope)
			if first.Existing || !second.Existing || second.Run != first.Run {
				t.Errorf("%s: %+v, then %+v", scope, first, second)
			}
			for _, run := range w.claim(100) {
				w.finish(run, jobs.Outcome{Verdict: jobs.Succeeded})
			}
			if third := enqueue(scope); third.Existing != (scope == springtide.KeyKept) {
				t.Errorf("%s: after its end %+v", scope, third)
			}
		}
		other, err := w.Enqueue(t.Context(), springtide.EnvironmentID{App: "quiz", Name: "staging"}, []springtide.Job{{Key: "kept"}}, nil)
		w.must(err)
		if other[0].Existing {
			t.Error("another environment has the same keys")
		}
		w.outage(0)
		for range 2 {
			w.must(w.write(t.Context(), func(tx *transaction) error { // as long as the retention is
				_, err := tx.exec("UPDATE runs SET forget = 1 WHERE forget <> 0")
				return err
			}))
			w.tick()
		}
		if again := enqueue(springtide.KeyKept); again.Existing {
			t.Error("the key of a forgotten run is taken")
		}
	})
}

func TestPlacesGoByTimeAndPriority(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		old := w.enqueue(springtide.Job{Priority: 2}, springtide.Job{Priority: 2})
		w.step(time.Minute)
		urgent := w.enqueue(springtide.Job{Priority: -1, Queue: "mail"}, springtide.Job{Priority: 0, Queue: "mail"}, springtide.Job{Priority: 5})
		w.step(5 * time.Minute)
		late := w.enqueue(springtide.Job{Priority: -1})
		want := []springtide.RunID{urgent[0], urgent[1], old[0], old[1], late[0], urgent[2]}
		var got []springtide.RunID
		for len(got) < len(want) {
			runs := w.claim(2)
			if len(runs) == 0 {
				break
			}
			for _, run := range runs {
				got = append(got, run.ID)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("claimed %v\nwant    %v", got, want)
		}
	})
}

func TestABatchCallsBackOnceWhenAllOfItIsOver(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		list := []springtide.Job{{Attempts: 1}, {}, {Key: "mine"}}
		batch := &jobs.Batch{ID: "newsletter", Done: &springtide.Job{Command: "report", Queue: "after"}}
		taken := w.enqueue(springtide.Job{Key: "mine", Delay: time.Hour})[0]
		first, err := w.Enqueue(t.Context(), quiz, list, batch)
		w.must(err)
		again, err := w.Enqueue(t.Context(), quiz, list, batch)
		w.must(err)
		if fmt.Sprint(first) != fmt.Sprint(again) || first[2] != (jobs.Enqueued{Run: taken, Existing: true}) {
			t.Errorf("%v, then %v", first, again)
		}
		_, err = w.Enqueue(t.Context(), quiz, list[:1], batch)
		wantKind(t, err, springtide.Conflict)
		status := func() jobs.BatchStatus {
			s, err := w.BatchStatus(t.Context(), quiz, "newsletter")
			w.must(err)
			return s
		}
		if s := status(); s.Size != 2 || s.Over != 0 {
			t.Errorf("at first %+v", s)
		}
		runs := w.claim(10)
		w.finish(runs[0], jobs.Outcome{Verdict: jobs.Failed})
		if s := status(); s.Over != 1 || s.Dead != 1 || s.Done != "" {
			t.Errorf("after one %+v", s)
		}
		_, err = w.Cancel(t.Context(), quiz, runs[1].ID)
		w.must(err)
		done := status()
		if run := w.want(done.Done, springtide.RunAvailable); run.Command != "report" || run.Queue != "after" || done.Over != 2 {
			t.Errorf("done: %+v", run)
		}
		_, err = w.Retry(t.Context(), quiz, runs[0].ID)
		w.must(err)
		if s := status(); s.Over != 1 || s.Dead != 0 {
			t.Errorf("after a retry %+v", s)
		}
		w.finish(w.claim(1, springtide.DefaultQueue)[0], jobs.Outcome{Verdict: jobs.Succeeded})
		if s := status(); s.Over != 2 || s.Done != done.Done || len(w.claim(10, "after")) != 1 {
			t.Errorf("in the end %+v", s)
		}
		_, err = w.BatchStatus(t.Context(), quiz, "other")
		wantKind(t, err, springtide.NotFound)
		listed, err := w.Runs(t.Context(), jobs.Query{Environment: quiz, Batch: "newsletter"})
		w.must(err)
		if len(listed) != 2 {
			t.Errorf("%d runs are listed", len(listed))
		}
	})
}

func TestAnEmptyBatchIsDoneAtOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		_, err := w.Enqueue(t.Context(), quiz, nil, &jobs.Batch{ID: "none", Done: &springtide.Job{}})
		w.must(err)
		if s, err := w.BatchStatus(t.Context(), quiz, "none"); err != nil || s.Done != w.claimOne().ID {
			t.Errorf("%+v, %v", s, err)
		}
		enqueued, err := w.Enqueue(t.Context(), quiz, []springtide.Job{{}}, &jobs.Batch{})
		w.must(err)
		if w.run(enqueued[0].Run).Batch == "" {
			t.Error("a batch was not given a name")
		}
	})
}

func FuzzRunNumbers(f *testing.F) {
	f.Add("0000000000001")
	f.Add(string(runID(1 << 62)))
	f.Fuzz(func(t *testing.T, id string) {
		if number := runNumber(springtide.RunID(id)); number != 0 && string(runID(number)) != id {
			t.Errorf("%q is %d is %q", id, number, runID(number))
		}
	})
}

func TestRunIDsSortByTime(t *testing.T) {
	var i identities
	last := springtide.RunID("")
	for n := range int64(1000) {
		id := runID(i.take(moment{calendar: epoch.UnixMicro() + n*700}, 3))
		if id <= last || len(id) != 13 {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
}

func TestManySmallCallsAtOnceAreEachAnswered(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.enqueue(springtide.Job{})
		var all sync.WaitGroup
		var mutex sync.Mutex
		seen := map[springtide.RunID]bool{}
		for n := range 200 {
			all.Go(func() {
				enqueued, err := w.Enqueue(context.Background(), quiz, []springtide.Job{{Command: fmt.Sprint(n, "a")}, {Command: fmt.Sprint(n, "b")}}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				for i, letter := range []string{"a", "b"} {
					if run, err := w.Run(context.Background(), quiz, enqueued[i].Run); err != nil || run.Command != fmt.Sprint(n, letter) {
						t.Errorf("call %d was given %+v, %v", n, run, err)
					}
					mutex.Lock()
					seen[enqueued[i].Run] = true
					mutex.Unlock()
				}
			})
		}
		all.Wait()
		if len(seen) != 400 {
			t.Errorf("%d runs", len(seen))
		}
	})
}
