package demand

import (
	"context"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
	"github.com/springtide/springtide/internal/store/sqlite"
)

var (
	quiz  = springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	web   = springtide.GroupID{Environment: quiz, Release: 1, Process: springtide.Web, Generation: 1}
	ofWeb = store.ProcessID{Environment: quiz, Process: springtide.Web}
	noon  = time.Date(2026, 11, 2, 12, 0, 0, 0, time.UTC)
)

// clock is a time that tests set.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func openStore(t *testing.T, folder string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(folder, "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateEnvironment(t.Context(), quiz); err != nil {
		t.Fatal(err)
	}
	return s
}

func newRecorder(t *testing.T, s store.Demand, at *clock) *Recorder {
	t.Helper()
	return New(Options{Store: s, Limits: func(springtide.GroupID) springtide.Limits { return springtide.Limits{Memory: 64 << 20} }, Logger: slog.New(slog.DiscardHandler), Now: at.now})
}

func report(edge string, arrived, busy, held int) springtide.EdgeReport {
	d := springtide.Demand{Group: web, Interval: time.Second, Arrived: arrived, Completed: arrived, Service: time.Duration(arrived) * 100 * time.Millisecond, Busy: busy, Held: held, BusyTime: time.Duration(busy) * time.Second}
	for range arrived {
		d.Latencies.Add(150 * time.Millisecond)
	}
	return springtide.EdgeReport{Edge: edge, Demand: []springtide.Demand{d}}
}

func TestAMinuteIsWhatAllEdgesSawOfIt(t *testing.T) {
	at := &clock{noon}
	s := openStore(t, t.TempDir())
	defer s.Close()
	r := newRecorder(t, s, at)
	for range 30 {
		r.Report(report("one", 4, 2, 0))
		r.Report(report("two", 2, 1, 3))
		at.Time = at.Add(time.Second)
	}
	r.Report(springtide.EdgeReport{Edge: "two"}) // nothing is under way there any more
	r.Report(report("one", 0, 4, 0))
	r.Needed(at.Time, web, 5.5)
	r.Needed(at.Time, web, 4)
	got, err := r.History(t.Context(), ofWeb, noon)
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	want := springtide.Minute{Time: noon, Requests: 180, Concurrency: 1.57, Peak: 6, Held: 3, Service: 100 * time.Millisecond, P95: got[0].P95, Need: 5.5}
	if got[0] != want || got[0].P95 < 150*time.Millisecond || got[0].P95 > 180*time.Millisecond {
		t.Errorf("%+v\nwant %+v", got[0], want)
	}
}

func TestAnotherRecorderGoesOnWithTheMinuteThatWasCutShort(t *testing.T) {
	at := &clock{noon}
	folder := t.TempDir()
	for range 3 { // each is killed: nothing is stored but what was flushed
		s := openStore(t, folder)
		r := newRecorder(t, s, at)
		r.Report(report("one", 10, 2, 1))
		r.flush(t.Context(), false)
		r.Observe(springtide.Snapshot{Instances: []springtide.Instance{{ID: "web-1-a", Group: web, State: springtide.InstanceReady}}})
		r.Use(springtide.Usage{Instances: []springtide.InstanceUsage{{Instance: "web-1-a", Group: web, CPU: time.Second, Memory: 20 << 20}}})
		r.flush(t.Context(), true)
		r.Report(report("one", 1000, 0, 0))
		at.Time = at.Add(10 * time.Second)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	s := openStore(t, folder)
	defer s.Close()
	r := newRecorder(t, s, at)
	got, err := r.History(t.Context(), ofWeb, noon)
	if err != nil || len(got) != 1 || got[0].Requests != 30 || got[0].Peak != 3 || got[0].Instances != 1 || got[0].Memory != 20<<20 {
		t.Fatalf("%+v, %v", got, err)
	}
	if needs := r.Needs(web, noon.Unix()/60-1, noon.Unix()/60+1); needs[0] != -1 || needs[1] != 0 {
		t.Errorf("%v", needs)
	}
	observed, err := r.Observed(t.Context(), ofWeb)
	if err != nil || observed.PeakMemory != 20<<20 || observed.Limits().Memory < 20<<20 || observed.Limits().Memory > 34<<20 {
		t.Errorf("%+v, %v, %v", observed.Limits(), observed.PeakMemory, err)
	}
}

func TestTheSameMinuteOfOtherDaysAndWeeksIsExpected(t *testing.T) {
	at := &clock{noon}
	s := openStore(t, t.TempDir())
	defer s.Close()
	for day := 28; day > 0; day-- {
		at.Time = noon.AddDate(0, 0, -day)
		need := 10.0 + float64(day%3)
		if at.Weekday() == noon.Weekday() {
			need = 50
		}
		r := newRecorder(t, s, at)
		r.Needed(at.Time, web, need)
		r.flush(t.Context(), true)
	}
	at.Time = noon
	r := newRecorder(t, s, at)
	ofDays, ofWeeks := r.Expected(web, noon.Unix()/60)
	if ofDays != 11 || ofWeeks != 50 {
		t.Errorf("%v of days and %v of weeks, want 11 and 50", ofDays, ofWeeks)
	}
	if ofDays, ofWeeks := r.Expected(web, noon.Unix()/60+1); ofDays != 0 || ofWeeks != 0 {
		t.Errorf("nothing is known of that minute, but %v and %v", ofDays, ofWeeks)
	}
	other := web
	other.Process = "api"
	if ofDays, _ := r.Expected(other, noon.Unix()/60); ofDays != 0 {
		t.Errorf("another process: %v", ofDays)
	}
}

func TestAMinuteOlderThanNinetyDaysIsForgotten(t *testing.T) {
	at := &clock{noon}
	s := openStore(t, t.TempDir())
	defer s.Close()
	r := newRecorder(t, s, at)
	r.Report(report("one", 1, 0, 0))
	r.flush(t.Context(), true)
	for _, day := range []int{89, 91} {
		at.Time = noon.AddDate(0, 0, day)
		r.flush(t.Context(), true)
		hours, err := s.Demand(t.Context(), ofWeb, 0, math.MaxInt64)
		if err != nil || len(hours) != map[int]int{89: 1, 91: 0}[day] {
			t.Errorf("after %d days: %d hours, %v", day, len(hours), err)
		}
	}
}

// brokenStore refuses to be written to.
type brokenStore struct{ *sqlite.Store }

func (brokenStore) PutDemand(context.Context, []store.DemandHour, map[store.ProcessID][]byte) error {
	return os.ErrClosed
}

func TestWhatCannotBeStoredIsStoredLater(t *testing.T) {
	at := &clock{noon}
	s := openStore(t, t.TempDir())
	defer s.Close()
	r := newRecorder(t, brokenStore{s}, at)
	r.Report(report("one", 7, 0, 0))
	r.flush(t.Context(), true)
	at.Time = at.Add(time.Hour)
	r.Report(report("one", 8, 0, 0))
	r.flush(t.Context(), true)
	r.options.Store = s
	got, err := r.History(t.Context(), ofWeb, noon)
	if err != nil || len(got) != 2 || got[0].Requests != 7 || got[1].Requests != 8 {
		t.Errorf("%+v, %v", got, err)
	}
}

// busyMinute makes up what is asked of a process that serves hundreds of requests a
// second.
func busyMinute(random *rand.Rand, minute int) springtide.Minute {
	level := 400 + 300*math.Sin(float64(minute)/230)
	noise := func(x float64) float64 { return max(x+math.Sqrt(x)*random.NormFloat64(), 0) }
	return springtide.Minute{
		Time: noon.Add(time.Duration(minute) * time.Minute), Requests: int(noise(level * 60)), Concurrency: noise(level / 5), Peak: int(noise(level / 4)), Held: random.IntN(100) / 98,
		Service: time.Duration(noise(2000)) * 100 * time.Microsecond, P95: springtide.LatencyBound(50 + random.IntN(2)), Need: noise(level / 4),
		Instances: int(level / 30), CPU: time.Duration(noise(level*60)) * time.Millisecond, Memory: 200<<20 + int64(random.IntN(20))<<18,
	}
}

func TestADayTakesFewBytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	busy, idle := 0, 0
	for h := range 24 {
		var day, quiet hour
		for i := range day {
			day[i] = busyMinute(random, h*60+i)
			quiet[i] = springtide.Minute{Time: day[i].Time, Instances: 1, Memory: 20 << 20, CPU: time.Duration(random.IntN(3)) * time.Millisecond}
		}
		busy, idle = busy+len(pack(&day)), idle+len(pack(&quiet))
	}
	t.Logf("a busy day takes %d bytes, an idle one %d", busy, idle)
	if busy > 20_000 || idle > 2000 {
		t.Errorf("a busy day takes %d bytes, an idle one %d", busy, idle)
	}
}

func TestNinetyDaysHaveTheirSizeAndItIsNotOutgrown(t *testing.T) {
	folder := t.TempDir()
	busy := make([][]byte, 24) // a busy day, as above
	random := rand.New(rand.NewPCG(1, 1))
	for h := range busy {
		var one hour
		for i := range one {
			one[i] = busyMinute(random, h*60+i)
		}
		busy[h] = pack(&one)
	}
	write := func(from, until int) (bytes int64) { // days of one process
		s := openStore(t, folder)
		var hours []store.DemandHour
		for day := from; day < until; day++ {
			for h, minutes := range busy {
				hours = append(hours, store.DemandHour{Of: ofWeb, Hour: hourOf(noon) + int64(24*day+h), Minutes: minutes})
			}
		}
		if err := s.PutDemand(t.Context(), hours, nil); err != nil {
			t.Fatal(err)
		}
		newRecorder(t, s, &clock{noon.AddDate(0, 0, until)}).flush(t.Context(), true) // forgets what is too old
		kept, err := s.Demand(t.Context(), ofWeb, 0, math.MaxInt64)
		if err != nil || len(kept) != 90*24 {
			t.Errorf("%d hours are kept, %v", len(kept), err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		about, err := os.Stat(filepath.Join(folder, "tide.db"))
		if err != nil {
			t.Fatal(err)
		}
		return about.Size()
	}
	full := write(0, 91)
	later := full
	for day := 91; day < 95; day++ {
		later = write(day, day+1)
	}
	t.Logf("90 days of a busy process take %d bytes, and %d four days later", full, later)
	if full > 2_600_000 || later > full*11/10 { // a hundred of them: 194 MB
		t.Errorf("90 days of a busy process take %d bytes, and %d four days later", full, later)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(pack(&hour{}))
	f.Add(pack(&hour{3: {Time: noon.Add(3 * time.Minute), Requests: 5, Service: time.Second}}))
	f.Fuzz(func(t *testing.T, packed []byte) {
		h, err := unpack(packed, noon)
		if err != nil {
			return
		}
		again, err := unpack(pack(h), noon)
		if err != nil {
			t.Fatal(err)
		}
		for i := range h { // what is not whole in its unit may be rounded
			if again[i].Requests != h[i].Requests || again[i].Time != h[i].Time || again[i].Memory != h[i].Memory {
				t.Fatalf("%+v became %+v", h[i], again[i])
			}
		}
	})
}
