package scale

import (
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/springtide/springtide"
)

func worker(lowest, highest, slots int, wait time.Duration) Spec {
	return Spec{
		Group:  simulatedWorkers,
		Worker: &springtide.Worker{Queues: []springtide.QueueName{"default", "mail"}, Wait: wait},
		Scale:  springtide.Scale{Min: lowest, Max: highest, Concurrency: slots, Idle: 5 * time.Minute},
	}
}

// working gives an observation of n workers that have been ready for an hour.
func working(n int, queues ...QueueWork) WorkObservation {
	return WorkObservation{Replicas: n, Instances: running(n).Instances, Known: true, Queues: queues}
}

func watched() WorkHistory {
	return WorkHistory{Since: noon.Add(-time.Hour), ColdStart: time.Second, SlowStart: time.Second, LastWork: noon}
}

func TestEveryDecisionOnWorkersExplainsItself(t *testing.T) {
	idle := QueueWork{Queue: "default", Service: 500 * time.Millisecond}
	busy := QueueWork{Queue: "default", Backlog: 30, UnderWay: 4, Oldest: 1800 * time.Millisecond, Rate: 12, Service: 500 * time.Millisecond}
	cases := []struct {
		name     string
		spec     Spec
		o        WorkObservation
		h        WorkHistory
		to       int
		reason   Reason
		sentence string
	}{
		{
			"a queue grows", worker(0, 20, 2, 5*time.Second), working(2, busy), watched(), 4, ReasonDemand,
			"2 to 4: 12 runs/s x 500 ms / 80% = 7.5 slots, 30 waiting and 4 under way x 500 ms / 3.2 s = 5.4 slots, 2 slots each",
		},
		{
			"the rate is met", worker(0, 20, 2, 5*time.Second), working(4, busy), watched(), 4, ReasonDemand,
			"stays at 4: 12 runs/s x 500 ms / 80% = 7.5 slots, 30 waiting and 4 under way x 500 ms / 3.2 s = 5.4 slots, 2 slots each",
		},
		{
			"two queues", worker(0, 20, 2, 5*time.Second),
			working(1, busy, QueueWork{Queue: "mail", Backlog: 8, Service: 2 * time.Second}), watched(), 5, ReasonDemand,
			"1 to 5: default: 12 runs/s x 500 ms / 80% = 7.5 slots, 30 waiting and 4 under way x 500 ms / 3.2 s = 5.4 slots; " +
				"mail: 8 waiting and 0 under way x 2 s / 5 s = 3.2 slots; together 7.5 and 8.6 slots, 2 slots each",
		},
		{
			"from zero, of a queue that is not known yet", worker(0, 20, 1, 5*time.Second),
			working(0, QueueWork{Queue: "default", Backlog: 1}), watched(), 1, ReasonDemand,
			"0 to 1: 1 waiting and 0 under way x 1 s / 5 s = 0.2 slots, 1 slot each",
		},
		{
			"a late queue is taken within a cold start", worker(0, 20, 1, 5*time.Second),
			working(1, QueueWork{Queue: "default", Backlog: 70, Oldest: time.Minute, Service: 50 * time.Millisecond}), watched(), 4, ReasonDemand,
			"1 to 4: 70 waiting and 0 under way x 50 ms / 1 s = 3.5 slots, 1 slot each",
		},
		{
			"long runs need a slot each", worker(0, 20, 1, 5*time.Second),
			working(3, QueueWork{Queue: "default", Backlog: 4, UnderWay: 3, Rate: 0.05, Service: 10 * time.Minute}), watched(), 7, ReasonDemand,
			"3 to 7: 0.05 runs/s x 10m0s / 80% = 37.5 slots, but 7 there or coming, 4 waiting and 3 under way, each 10m0s with 5 s left = 7 slots, 1 slot each",
		},
		{
			"as many as a queue lets run", worker(0, 20, 1, 5*time.Second),
			working(2, QueueWork{Queue: "default", Backlog: 40, UnderWay: 2, Limit: 3, Service: time.Second}), watched(), 3, ReasonDemand,
			"2 to 3: 40 waiting and 2 under way x 1 s / 5 s = 8.4 slots, but at most 3 at a time, 1 slot each",
		},
		{
			"what is under way keeps its slot", worker(0, 20, 1, 5*time.Second),
			working(6, QueueWork{Queue: "default", Backlog: 1, UnderWay: 6, Service: time.Second}), watched(), 6, ReasonDemand,
			"stays at 6: 1 waiting and 6 under way x 1 s / 5 s = 1.4 slots, but 6 under way, 1 slot each",
		},
		{
			"the maximum", worker(0, 3, 1, 5*time.Second), working(1, busy), watched(), 3, ReasonMaximum,
			"1 to 3: the maximum; needs 8: 12 runs/s x 500 ms / 80% = 7.5 slots, 30 waiting and 4 under way x 500 ms / 3.2 s = 5.4 slots, 1 slot each",
		},
		{
			"below the minimum", worker(2, 4, 1, 5*time.Second), working(0, idle), watched(), 2, ReasonMinimum,
			"0 to 2: the minimum is 2",
		},
		{
			"at the minimum", worker(2, 4, 1, 5*time.Second), working(2, idle), watched(), 2, ReasonMinimum,
			"stays at 2: the minimum",
		},
		{
			"at zero", worker(0, 4, 1, 5*time.Second), working(0, idle), watched(), 0, ReasonIdle,
			"stays at 0: no run waits",
		},
		{
			"at zero, while the runs that arrive are done elsewhere", worker(0, 4, 1, 5*time.Second),
			working(0, QueueWork{Queue: "default", Rate: 3, UnderWay: 2}), watched(), 0, ReasonIdle,
			"stays at 0: no run waits",
		},
		{
			"idle, but not for long", worker(0, 4, 1, 5*time.Second), working(1, idle), watched(), 1, ReasonIdle,
			"stays at 1: it stops after 5m0s without a run",
		},
		{
			"idle for long enough", worker(0, 4, 1, 5*time.Second), working(1, idle),
			with(watched(), func(h *WorkHistory) { h.LastWork = noon.Add(-5 * time.Minute) }), 0, ReasonIdle,
			"1 to 0: no run for 5m0s",
		},
		{
			"less is needed", worker(0, 20, 1, 5*time.Second), working(9, QueueWork{Queue: "default", UnderWay: 2}),
			with(watched(), func(h *WorkHistory) { h.Needed = 4 }), 8, ReasonLess,
			"9 to 8: needed at most 4 in the last 1m30s; at most 1 fewer every 5 s",
		},
		{
			"less is needed, but not for long", worker(0, 20, 1, 5*time.Second), working(9, QueueWork{Queue: "default", UnderWay: 2}),
			with(watched(), func(h *WorkHistory) { h.Needed = 9 }), 9, ReasonWaiting,
			"stays at 9: needs 2 now, and needed up to 9 in the last 1m30s",
		},
		{
			"after a scale-out", worker(0, 20, 1, 5*time.Second), working(9, idle),
			with(watched(), func(h *WorkHistory) { h.LastOut = noon.Add(-time.Minute) }), 9, ReasonWaiting,
			"stays at 9: needs 1, but the last scale-out was less than 1m30s ago",
		},
		{
			"the ledger is silent", worker(0, 20, 1, 5*time.Second),
			with(working(3, busy), func(o *WorkObservation) { o.Known = false }), watched(), 3, ReasonBlind,
			"stays at 3: nothing is known of its queues",
		},
		{
			"a full machine", worker(0, 20, 2, 5*time.Second),
			with(working(2, busy), func(o *WorkObservation) { o.Capacity = "no memory for one more" }), watched(), 2, ReasonCapacity,
			"stays at 2: capacity: no memory for one more; needs 4: 12 runs/s x 500 ms / 80% = 7.5 slots, 30 waiting and 4 under way x 500 ms / 3.2 s = 5.4 slots, 2 slots each",
		},
	}
	for _, test := range cases {
		t.Run(test.name, func(t *testing.T) {
			v := DecideWork(noon, test.spec, test.o, test.h)
			if v.To != test.to || v.Reason != test.reason || v.Sentence != test.sentence {
				t.Errorf("got  %d %s %q\nwant %d %s %q", v.To, v.Reason, v.Sentence, test.to, test.reason, test.sentence)
			}
			if v.From != test.o.Replicas || v.Group != test.spec.Group || !v.Time.Equal(noon) {
				t.Errorf("the decision is %+v", v.Decision)
			}
		})
	}
}

func TestADecisionOnWorkersIsDueOnlyWhileSomethingMayChange(t *testing.T) {
	idle := QueueWork{Queue: "default"}
	h := watched()
	h.LastWork = noon.Add(-time.Minute)
	for name, test := range map[string]struct {
		spec Spec
		o    WorkObservation
		due  time.Time
	}{
		"at zero":            {worker(0, 4, 1, time.Second), working(0, idle), time.Time{}},
		"at the minimum":     {worker(1, 4, 1, time.Second), working(1, idle), time.Time{}},
		"before it stops":    {worker(0, 4, 1, time.Second), working(1, idle), noon.Add(4 * time.Minute)},
		"above the minimum":  {worker(1, 4, 1, time.Second), working(2, idle), noon},
		"while runs wait":    {worker(1, 1, 1, time.Second), working(1, QueueWork{Backlog: 1}), noon},
		"nothing is told":    {worker(0, 4, 1, time.Second), with(working(1), func(o *WorkObservation) { o.Known = false }), noon.Add(workLost)},
		"nothing, and zero":  {worker(0, 4, 1, time.Second), with(working(0), func(o *WorkObservation) { o.Known = false }), time.Time{}},
		"it has just fallen": {worker(0, 1, 1, time.Second), working(2, idle), noon},
	} {
		if v := DecideWork(noon, test.spec, test.o, h); !v.Due.Equal(test.due) {
			t.Errorf("%s: due %s, want %s: %s", name, v.Due, test.due, v.Sentence)
		}
	}
}

func drawWork(t *rapid.T) WorkObservation {
	o := working(rapid.IntRange(0, 30).Draw(t, "replicas"))
	o.Known = rapid.IntRange(0, 9).Draw(t, "known") > 0
	if rapid.IntRange(0, 9).Draw(t, "full") == 0 {
		o.Capacity = "no memory for one more"
	}
	for i := range o.Instances {
		o.Instances[i].Ready = noon.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "age")) * time.Second)
	}
	for _, name := range []springtide.QueueName{"default", "mail"}[:rapid.IntRange(0, 2).Draw(t, "queues")] {
		o.Queues = append(o.Queues, QueueWork{
			Queue:    name,
			Backlog:  max(rapid.IntRange(-100, 5000).Draw(t, "backlog"), 0),
			Oldest:   time.Duration(rapid.Int64Range(0, int64(20*time.Second)).Draw(t, "oldest")),
			UnderWay: rapid.IntRange(0, 40).Draw(t, "under way"),
			Limit:    max(rapid.IntRange(-20, 20).Draw(t, "limit"), 0),
			Rate:     max(rapid.Float64Range(-10, 300).Draw(t, "rate"), 0),
			Service:  time.Duration(rapid.Int64Range(0, int64(2*time.Minute)).Draw(t, "service")),
		})
	}
	return o
}

func drawWorkers(t *rapid.T) (Spec, WorkHistory) {
	spec := worker(rapid.IntRange(0, 4).Draw(t, "min"), rapid.IntRange(0, 40).Draw(t, "max"),
		rapid.IntRange(0, 8).Draw(t, "slots"), time.Duration(rapid.IntRange(0, 12_000).Draw(t, "wait"))*time.Millisecond)
	ago := func(name string) time.Time {
		return noon.Add(-time.Duration(rapid.IntRange(0, 1000).Draw(t, name)) * time.Second)
	}
	return spec, WorkHistory{
		Since: ago("since"), LastWork: ago("last work"), LastOut: ago("last out"), LastIn: ago("last in"),
		ColdStart: time.Duration(rapid.IntRange(0, 8000).Draw(t, "cold start")) * time.Millisecond,
		SlowStart: 10 * time.Second, Needed: rapid.IntRange(0, 30).Draw(t, "needed"),
	}
}

func TestSentencesOnWorkersRecomputeToTheDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, h := drawWorkers(t)
		o := drawWork(t)
		v := DecideWork(noon, spec, o, h)
		lowest, highest := spec.limits()
		need := int(v.Inputs["need"])
		underWay := ceil(v.Inputs["under_way"] / v.Inputs["slots_each"])
		switch {
		case v.To > highest:
			t.Fatalf("above the maximum of %d: %s", highest, v.Sentence)
		case o.Known && v.To < lowest && o.Capacity == "":
			t.Fatalf("below the minimum of %d: %s", lowest, v.Sentence)
		case v.To < v.From && v.To < min(underWay, highest):
			t.Fatalf("%d are needed by what is under way: %s", underWay, v.Sentence)
		case o.Known && o.Capacity == "" && v.To < min(need, highest) && v.Inputs["backlog"] > 0:
			t.Fatalf("%d are needed: %s", need, v.Sentence)
		case o.Known && o.Capacity == "" && v.Inputs["backlog"] > 0 && v.To == 0 && highest > 0:
			t.Fatalf("nobody takes what waits: %s", v.Sentence)
		}
		prefix := "stays at " + strconv.Itoa(v.To) + ": "
		if v.To != v.From {
			prefix = strconv.Itoa(v.From) + " to " + strconv.Itoa(v.To) + ": "
		}
		if !strings.HasPrefix(v.Sentence, prefix) {
			t.Fatalf("%d to %d is told as %q", v.From, v.To, v.Sentence)
		}
		if got, ok := recomputeWork(t, v.Sentence); ok && got != need {
			t.Fatalf("the numbers say %d, the inputs %d: %s", got, need, v.Sentence)
		} else if ok && v.Reason == ReasonDemand && got != v.To {
			t.Fatalf("the numbers say %d: %s", got, v.Sentence)
		}
	})
}

func TestMoreThatWaitsNeverNeedsFewerWorkers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, h := drawWorkers(t)
		o := drawWork(t)
		if len(o.Queues) == 0 {
			return
		}
		before := DecideWork(noon, spec, o, h)
		o.Queues[0].Backlog += rapid.IntRange(1, 100).Draw(t, "more")
		after := DecideWork(noon, spec, o, h)
		if after.Inputs["need"] < before.Inputs["need"] || after.To < before.To {
			t.Fatalf("%s\nwith more: %s", before.Sentence, after.Sentence)
		}
	})
}

var (
	slotsEach = regexp.MustCompile(`, (\d+) slots? each`)
	rateTerm  = regexp.MustCompile(`([\d.e+-]+) runs/s x (\S+(?: us| ms| s)?) / 80% = ([\d.]+) slots(?:, but (?:at most )?(\d+) (?:at a time|there or coming))?`)
	waitTerm  = regexp.MustCompile(`(\d+) waiting and (\d+) under way(?: x (\S+(?: us| ms| s)?) / (\S+(?: ms| s)?)|, each \S+(?: us| ms| s)? with \S+(?: us| ms| s)? left) = ([\d.]+) slots(?:, but (?:at most )?(\d+) (?:at a time|there or coming))?(?:, but (\d+) under way)?`)
	noneTerm  = regexp.MustCompile(`\b0 waiting, (\d+) under way`)
)

// recomputeWork gives how many instances the sentence's numbers need.
func recomputeWork(t *rapid.T, sentence string) (int, bool) {
	m := slotsEach.FindStringSubmatch(sentence)
	if m == nil {
		return 0, false
	}
	slots, rate, wait := atof(m[1]), 0.0, 0.0
	for _, m := range rateTerm.FindAllStringSubmatch(sentence, -1) {
		term := atof(m[3])
		if diff := term - atof(m[1])*unspell(t, m[2])/0.8; diff < -1e-6 || diff > 0.1001 {
			t.Fatalf("%s x %s / 80%% is not %s: %s", m[1], m[2], m[3], sentence)
		}
		if m[4] != "" {
			term = atof(m[4])
		}
		rate += term
	}
	for _, m := range waitTerm.FindAllStringSubmatch(sentence, -1) {
		there, term := atof(m[1])+atof(m[2]), atof(m[5])
		expected := there
		if m[3] != "" {
			expected = there * unspell(t, m[3]) / unspell(t, m[4])
		}
		if diff := term - expected; diff < -1e-6 || diff > 0.1001 {
			t.Fatalf("%s is not %v: %s", m[0], expected, sentence)
		}
		if m[6] != "" {
			term = atof(m[6])
		}
		if m[7] != "" {
			term = atof(m[7])
		}
		wait += term
	}
	for _, m := range noneTerm.FindAllStringSubmatch(sentence, -1) {
		wait += atof(m[1])
	}
	return max(ceil(rate/slots), ceil(wait/slots)), true
}

// unspell reads a duration, in seconds.
func unspell(t *rapid.T, spelled string) float64 {
	d, err := time.ParseDuration(strings.ReplaceAll(spelled, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return d.Seconds()
}
