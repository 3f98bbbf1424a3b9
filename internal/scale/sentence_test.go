package scale

import (
	"cmp"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSentencesRecomputeToTheDecision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		spec, o, h := drawSpec(t), drawObservation(t), drawHistory(t)
		v := Decide(noon, spec, o, h)
		lowest, highest := spec.limits()
		if v.To > highest && v.To != 0 {
			t.Fatalf("above the maximum of %d: %s", highest, v.Sentence)
		}
		if v.To < lowest {
			t.Fatalf("below the minimum of %d: %s", lowest, v.Sentence)
		}
		if v.To != v.From && !strings.HasPrefix(v.Sentence, strconv.Itoa(v.From)+" to "+strconv.Itoa(v.To)+": ") {
			t.Fatalf("%d to %d is told as %q", v.From, v.To, v.Sentence)
		}
		if v.To == v.From && !strings.HasPrefix(v.Sentence, "stays at "+strconv.Itoa(v.To)+": ") {
			t.Fatalf("%d is told as %q", v.To, v.Sentence)
		}
		if need, ok := recompute(t, v); ok {
			said := v.To
			if strings.Contains(v.Sentence, "needs ") { // and cannot have it
				said = int(numberAfter(t, v.Sentence, "needs "))
			}
			// A group that has requests keeps its last instance.
			if need != said && (need != 0 || said != 1) || float64(need) != v.Inputs["need"] {
				t.Fatalf("the numbers say %d, the inputs %v: %s", need, v.Inputs["need"], v.Sentence)
			}
		}
		if v.Reason == ReasonLess {
			if got := recomputeLess(t, v, lowest); got != v.To {
				t.Fatalf("the numbers say %d: %s", got, v.Sentence)
			}
		}
	})
}

var (
	known = regexp.MustCompile(`([\d.]+) req/s(?:, ([\d.]+) expected in [^(]+ \(a cold start\),)? x ([\d.]+) (us|ms|s) = ([\d.]+) busy slots, (\d+) held(?:, (\d+) in [^,x]+?)?(?: x [\d.]+ \w+ / 2 s = ([\d.]+) more or, if that is more)?, ([\d.]+) slots of head-room( \(half of it is enough\))?(?:, but (\d+) being served)?, (\d+) slots each`)
	early = regexp.MustCompile(`(\d+) being served and (\d+) held, none answered yet, (\d+) slots each`)
	less  = regexp.MustCompile(`needed at most ([\d.]+) in the last \S+(?: s)?, (\d+) at 95% fill(?:, (\d+) spare)?(?:; at most (\d+) fewer every|; (\d+) may go|; needs (\d+) now|; the minimum is (\d+))?`)
)

// recompute gives how many instances the sentence's numbers need.
func recompute(t *rapid.T, v Verdict) (int, bool) {
	extra := 0
	if m := spares.FindStringSubmatch(v.Sentence); m != nil {
		extra = int(atof(m[1]))
	}
	if need, ok := recomputeAim(t, v, extra); ok {
		return need + extra, true
	}
	if m := early.FindStringSubmatch(v.Sentence); m != nil {
		return ceil((atof(m[1])+atof(m[2]))/atof(m[3])) + extra, true
	}
	m := known.FindStringSubmatch(v.Sentence)
	if m == nil {
		return 0, false
	}
	unit := map[string]float64{"us": 1e-6, "ms": 1e-3, "s": 1}[m[4]]
	rate, service, busy, later, heldNeed, headroom, serving, slots := atof(m[1]), atof(m[3])*unit, atof(m[5]), atof(m[6]), atof(m[8]), atof(m[9]), atof(m[11]), atof(m[12])
	if m[2] != "" {
		rate = atof(m[2])
	}
	if m[7] != "" {
		later = atof(m[7])
	}
	if math.Abs(rate*service-busy) > 0.0501 {
		t.Fatalf("%v x %v is not %v: %s", rate, service, busy, v.Sentence)
	}
	if diff := heldNeed - later*service/2; diff < -1e-6 || diff > 0.1001 {
		t.Fatalf("%v held are not %v: %s", later, heldNeed, v.Sentence)
	}
	need := max(ceil((busy+max(heldNeed, headroom))/slots), ceil(serving/slots))
	if m[10] != "" { // then it is what there is
		if half := ceil((busy + headroom/2) / slots); half > v.From-extra || need <= v.From-extra {
			t.Fatalf("%d with half of the head-room, %d with all: %s", half, need, v.Sentence)
		}
		return v.From, true
	}
	return need + extra, true
}

// The sentences of the other targets, where one of them needs most.
const soon = `(?:, ([\d.]+) expected in [^(]+ \(a cold start\),?)?`

var (
	spares     = regexp.MustCompile(` each, (\d+) spare`)
	byRequests = regexp.MustCompile(`by requests: ([\d.]+) req/s` + soon + `, ([\d.]+) each`)
	byCPU      = regexp.MustCompile(`by cpu: ([\d.]+) cores in use` + soon + `( \(within 10%\))?, ([\d.]+) each`)
	byP95      = regexp.MustCompile(`by p95: p95 holds [^:]+ up to ([\d.]+) at a time: ([\d.]+) req/s` + soon + ` x ([\d.]+) (us|ms|s) = ([\d.]+) busy slots, ([\d.]+) slots of head-room( \(half of it is enough\))?, ([\d.]+) slots each`)
	byOther    = regexp.MustCompile(`; by \w+ (\d+)`)
)

// recomputeAim gives what the numbers need where another target than the
// concurrency needs most.
func recomputeAim(t *rapid.T, v Verdict, extra int) (need int, ok bool) {
	last := func(first, then string) float64 { return atof(cmp.Or(then, first)) }
	if m := byRequests.FindStringSubmatch(v.Sentence); m != nil {
		need, ok = ceil(last(m[1], m[2])/atof(m[3])), true
	}
	if m := byCPU.FindStringSubmatch(v.Sentence); m != nil {
		need, ok = ceil(last(m[1], m[2])/atof(m[4])), true
		if m[3] != "" {
			if last(m[1], m[2]) > 1.1*atof(m[4])*float64(v.From-extra)+1e-6 {
				t.Fatalf("it is not within 10%%: %s", v.Sentence)
			}
			need = v.From - extra
		}
	}
	if m := byP95.FindStringSubmatch(v.Sentence); m != nil {
		unit := map[string]float64{"us": 1e-6, "ms": 1e-3, "s": 1}[m[5]]
		if busy := atof(m[6]); math.Abs(last(m[2], m[3])*atof(m[4])*unit-busy) > 0.0501 {
			t.Fatalf("%v busy slots are something else: %s", busy, v.Sentence)
		}
		need, ok = ceil((atof(m[6])+atof(m[7]))/atof(m[9])), true
		if m[8] != "" {
			need = v.From - extra
		}
	}
	if !ok {
		return 0, false
	}
	for _, m := range byOther.FindAllStringSubmatch(v.Sentence, -1) {
		if int(atof(m[1])) > need {
			t.Fatalf("another needs more than %d: %s", need, v.Sentence)
		}
	}
	return need, true
}

// recomputeLess does the sums of a scale-in.
func recomputeLess(t *rapid.T, v Verdict, lowest int) int {
	m := less.FindStringSubmatch(v.Sentence)
	if m == nil {
		t.Fatalf("not understood: %s", v.Sentence)
	}
	if filled := ceil(atof(m[1]) / 0.95); filled != int(atof(m[2])) {
		t.Fatalf("%s at 95%% fill is not %s: %s", m[1], m[2], v.Sentence)
	}
	switch {
	case m[4] != "":
		return v.From - int(atof(m[4]))
	case m[5] != "":
		return v.From - int(atof(m[5]))
	case m[6] != "":
		return int(atof(m[6]))
	case m[7] != "":
		return max(int(atof(m[7])), lowest)
	case strings.Contains(v.Sentence, "; the show keeps") || strings.Contains(v.Sentence, "; past hours needed"):
		return int(v.Inputs["floor"])
	}
	return int(atof(m[2]) + atof(m[3]))
}

func numberAfter(t *rapid.T, s, word string) float64 {
	m := regexp.MustCompile(regexp.QuoteMeta(word) + `(\d+)`).FindStringSubmatch(s)
	if m == nil {
		t.Fatalf("no number after %q: %s", word, s)
	}
	return atof(m[1])
}

func atof(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}

func ceil(x float64) int { return int(math.Ceil(x - 1e-9)) }
