package control

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/calendar"
	"github.com/springtide/springtide/internal/deploy"
)

const (
	// mostOccasions is how many an environment keeps.
	mostOccasions = 1000
	// longestName is how many bytes the ID and the name of one may have.
	longestName = 300
	// toldNext is how many times of each are told.
	toldNext = 5
	// overFor is how long one is kept that is over.
	overFor = 30 * 24 * time.Hour
)

// occasions implements api.Announcements.
type occasions struct {
	fleet *deploy.Fleet
	now   func() time.Time
}

// Announced implements api.Announcements.
func (o occasions) Announced(_ context.Context, id springtide.EnvironmentID) ([]api.Announced, error) {
	environment, release, err := o.fleet.Environment(id)
	if err != nil {
		return nil, err
	}
	processes := o.processes(id)
	all := []api.Announced{}
	for _, occasion := range inManifest(release.App) {
		all = append(all, o.tell(occasion, processes, true))
	}
	for _, occasion := range environment.Occasions {
		all = append(all, o.tell(occasion, processes, false))
	}
	slices.SortStableFunc(all, func(a, b api.Announced) int {
		if over := cmp.Compare(min(len(b.Next), 1), min(len(a.Next), 1)); over != 0 || len(a.Next) == 0 {
			return over
		}
		return a.Next[0].From.Compare(b.Next[0].From)
	})
	return all, nil
}

// processes are those of the active release, with the scale in force.
func (o occasions) processes(id springtide.EnvironmentID) map[springtide.ProcessName]springtide.Process {
	all := map[springtide.ProcessName]springtide.Process{}
	for _, active := range o.fleet.ActiveOf(id) {
		all[active.Group.ID.Process] = active.Process
	}
	return all
}

// inManifest gathers what a manifest announces of several processes at once.
func inManifest(app springtide.App) (all []springtide.Occasion) {
	for _, process := range app.ProcessNames() {
		for _, a := range app.Processes[process].Announcements {
			same := slices.IndexFunc(all, func(o springtide.Occasion) bool {
				return o.Name == a.Name && o.From.Equal(a.From) && o.Until.Equal(a.Until) && o.Repeat == a.Repeat
			})
			if same < 0 {
				same = len(all)
				all = append(all, springtide.Occasion{
					ID: a.Name, Name: a.Name, From: a.From, Until: a.Until, Repetition: a.Repetition, Min: map[springtide.ProcessName]int{},
				})
			}
			all[same].Min[process] = a.Instances
		}
	}
	return all
}

// tell says what becomes of one.
func (o occasions) tell(occasion springtide.Occasion, processes map[springtide.ProcessName]springtide.Process, manifest bool) api.Announced {
	told := api.Announced{Occasion: occasion, Manifest: manifest, Next: []api.Period{}, Reserves: map[springtide.ProcessName]api.Reserved{}}
	now := o.now()
	for _, name := range slices.Sorted(maps.Keys(occasion.Min)) {
		a, _ := occasion.Announcement(name)
		if len(told.Next) == 0 {
			ahead := now
			if a.From.After(now) {
				ahead = a.From
			}
			coming, err := calendar.Coming(a, now, ahead.AddDate(2, 0, 0), toldNext)
			if err != nil {
				told.Warnings = append(told.Warnings, err.Error())
			}
			for _, one := range coming {
				told.Next = append(told.Next, api.Period(one))
			}
		}
		process, known := processes[name]
		n := occasion.Min[name]
		switch {
		case !known:
			told.Warnings = append(told.Warnings, fmt.Sprintf("the active release has no process %q", name))
			continue
		case n > process.Scale.Max:
			told.Warnings = append(told.Warnings, fmt.Sprintf("%s may have %d instances at most, not %d: see `tide scale`", name, process.Scale.Max, n))
			n = process.Scale.Max
		}
		told.Reserves[name] = api.Reserved{Instances: n, Memory: int64(n) * process.Limits.Memory, CPU: float64(n) * process.Limits.CPU}
	}
	return told
}

// Announce implements api.Announcements.
func (o occasions) Announce(ctx context.Context, id springtide.EnvironmentID, change api.AnnouncementsChange) ([]api.Announced, error) {
	if _, _, err := o.fleet.Environment(id); err != nil {
		return nil, err
	}
	processes := o.processes(id)
	for i := range change.Add {
		change.Add[i].Calendar = change.Calendar
		if err := o.check(change.Add[i], processes); err != nil {
			return nil, err
		}
	}
	err := o.fleet.SetOccasions(ctx, id, func(before []springtide.Occasion) ([]springtide.Occasion, error) {
		return changed(before, change, o.now())
	})
	if err != nil {
		return nil, err
	}
	return o.Announced(ctx, id)
}

// check refuses what cannot be kept.
func (o occasions) check(occasion springtide.Occasion, processes map[springtide.ProcessName]springtide.Process) error {
	for _, text := range []string{occasion.ID, occasion.Name} {
		if text == "" || len(text) > longestName || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return springtide.Errorf(springtide.Invalid, "%q cannot name an event", text).WithHint("one line of at most %d bytes", longestName)
		}
	}
	if len(occasion.Min) == 0 {
		return springtide.Errorf(springtide.Invalid, "event %q does not say how many instances it wants", occasion.Name).WithHint("for example --min web=12")
	}
	for _, name := range slices.Sorted(maps.Keys(occasion.Min)) {
		a, _ := occasion.Announcement(name)
		if err := calendar.Check(a, o.now()); err != nil {
			return err
		}
		process, known := processes[name]
		switch {
		case len(processes) == 0: // there is no release yet
		case !known:
			return springtide.Errorf(springtide.NotFound, "event %q: there is no process %q", occasion.Name, name).
				WithHint("it has %v", slices.Sorted(maps.Keys(processes)))
		case !process.HTTP:
			return springtide.Errorf(springtide.Invalid, "event %q: %s is given no requests", occasion.Name, name)
		case a.Instances > process.Scale.Max:
			return springtide.Errorf(springtide.Invalid, "event %q wants %d of %s, which may have %d", occasion.Name, a.Instances, name, process.Scale.Max).
				WithHint("raise the maximum first: tide scale %s=%d..%d", name, process.Scale.Min, a.Instances)
		}
	}
	return nil
}

// changed gives what is announced after a change.
func changed(before []springtide.Occasion, change api.AnnouncementsChange, now time.Time) ([]springtide.Occasion, error) {
	after := slices.DeleteFunc(slices.Clone(before), func(o springtide.Occasion) bool {
		return change.Calendar != "" && o.Calendar == change.Calendar || o.Repeat == "" && now.Sub(o.Until) > overFor
	})
	for _, name := range change.Remove {
		left := slices.DeleteFunc(slices.Clone(after), func(o springtide.Occasion) bool { return o.ID == name || o.Name == name })
		if len(left) == len(after) {
			return nil, springtide.Errorf(springtide.NotFound, "there is no event %q besides those of the manifest", name).WithHint("see `tide events ls`")
		}
		after = left
	}
	for _, added := range change.Add {
		if slices.ContainsFunc(after, func(o springtide.Occasion) bool { return o.ID == added.ID }) {
			return nil, springtide.Errorf(springtide.Conflict, "there is an event %q already", added.ID).
				WithHint("remove it with `tide events rm`, or give this one another name")
		}
		after = append(after, added)
	}
	if len(after) > mostOccasions {
		return nil, springtide.Errorf(springtide.Invalid, "that would be %d events; an environment has at most %d", len(after), mostOccasions).
			WithHint("choose those that matter: tide events import --match TEXT")
	}
	slices.SortFunc(after, func(a, b springtide.Occasion) int { return cmp.Compare(a.ID, b.ID) })
	return after, nil
}

const (
	// horizon is how far ahead the scaler is told when something happens; lookAgain
	// is how often.
	horizon   = 24 * time.Hour
	lookAgain = time.Hour
)

// lookAhead has the scaler told what comes, until ctx ends.
func (p *plane) lookAhead(ctx context.Context) error {
	for pauseFor(ctx, lookAgain) == nil {
		ring(p.targets)
	}
	return nil
}

// coming tells the scaler when what is announced happens next. What repeats is
// expanded once in a while only.
type coming struct {
	mu    sync.Mutex
	known map[string]expanded
}

type expanded struct {
	at          time.Time
	occurrences []calendar.Occurrence
}

// of gives what the manifest and `tide events` announce of a process, each time
// that it happens within the horizon.
func (c *coming) of(now time.Time, process springtide.ProcessName, manifest []springtide.Announcement, occasions []springtide.Occasion) []springtide.Announcement {
	all := slices.Clone(manifest)
	for _, occasion := range occasions {
		if a, named := occasion.Announcement(process); named {
			all = append(all, a)
		}
	}
	var next []springtide.Announcement
	for _, a := range all {
		for _, occurrence := range c.expand(now, a) {
			next = append(next, springtide.Announcement{Name: a.Name, From: occurrence.From, Until: occurrence.Until, Instances: a.Instances})
		}
	}
	return next
}

func (c *coming) expand(now time.Time, a springtide.Announcement) []calendar.Occurrence {
	const most = 100 // within a day
	if a.Repeat == "" {
		once, _ := calendar.Coming(a, now, now.Add(horizon), most) // one that happens once is never wrong
		return once
	}
	key := fmt.Sprint(a.From.Unix(), a.Until.Unix(), a.Repeat, a.Timezone, a.Except)
	c.mu.Lock()
	defer c.mu.Unlock()
	if known, have := c.known[key]; have && now.Sub(known.at).Abs() < lookAgain {
		return known.occurrences
	}
	occurrences, err := calendar.Coming(a, now, now.Add(horizon+2*lookAgain), most)
	if err != nil {
		occurrences = nil // it was checked when it was announced; this zone is gone
	}
	if c.known == nil {
		c.known = map[string]expanded{}
	}
	maps.DeleteFunc(c.known, func(_ string, old expanded) bool { return now.Sub(old.at) > 2*lookAgain })
	c.known[key] = expanded{now, occurrences}
	return occurrences
}
