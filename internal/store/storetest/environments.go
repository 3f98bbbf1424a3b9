package storetest

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

var environmentTests = []test{
	{"Creating an environment twice gives the same one", func(f *fixture) {
		before := time.Now()
		first := f.environment(production)
		if first.ID != production || first.Created.Before(before.Add(-time.Second)) || first.Active != 0 || first.Stopped {
			f.Errorf("got %+v", first)
		}
		_, err := f.SetStopped(f.Context(), production, true)
		f.check(err)
		if second := f.environment(production); !second.Created.Equal(first.Created) || !second.Stopped {
			f.Errorf("the second time: %+v, the first time: %+v", second, first)
		}
	}},
	{"A name with a slash or none is refused", func(f *fixture) {
		for _, id := range []springtide.EnvironmentID{{}, {App: "quiz"}, {Name: "staging"}, {App: "a/b", Name: "staging"}} {
			_, err := f.CreateEnvironment(f.Context(), id)
			f.wantKind(err, springtide.Invalid)
		}
	}},
	{"What is asked of an environment that is not there is not found", func(f *fixture) {
		ctx := f.Context()
		for name, err := range map[string]error{
			"Environment":        second(f.Environment(ctx, nowhere)),
			"DestroyEnvironment": f.DestroyEnvironment(ctx, nowhere),
			"SetConfig":          second(f.SetConfig(ctx, nowhere, map[string]string{"A": "b"}, nil)),
			"SetDomains":         second(f.SetDomains(ctx, nowhere, []string{"example.com"}, nil)),
			"SetScale":           second(f.SetScale(ctx, nowhere, springtide.Web, &springtide.ScaleRange{Min: 1, Max: 1})),
			"SetOccasions":       second(f.SetOccasions(ctx, nowhere, nil)),
			"SetStopped":         second(f.SetStopped(ctx, nowhere, true)),
			"SetMaintenance":     second(f.SetMaintenance(ctx, nowhere, nil)),
			"AddRelease":         second(f.AddRelease(ctx, springtide.Release{Environment: nowhere, Artifact: digest})),
			"LastRollout":        second(f.LastRollout(ctx, nowhere)),
			"AddSecrets":         f.AddSecrets(ctx, nowhere, nil),
			"AddSecretKey":       second(f.AddSecretKey(ctx, nowhere, []byte("key"))),
			"AddDecision":        f.AddDecision(ctx, springtide.Decision{Group: springtide.GroupID{Environment: nowhere}}),
		} {
			f.Run(name, func(t *testing.T) {
				if springtide.KindOf(err) != springtide.NotFound {
					t.Errorf("got %v, want an error of kind not_found", err)
				}
			})
		}
	}},
	{"Environments are listed in order", func(f *fixture) {
		for _, id := range []springtide.EnvironmentID{staging, blog, production} {
			f.environment(id)
		}
		got, err := f.Environments(f.Context())
		f.check(err)
		var ids []springtide.EnvironmentID
		for _, e := range got {
			ids = append(ids, e.ID)
		}
		if want := []springtide.EnvironmentID{blog, production, staging}; !slices.Equal(ids, want) {
			f.Errorf("got %v, want %v", ids, want)
		}
	}},
	{"Config is set and unset, and outlives a reopening", func(f *fixture) {
		f.environment(production)
		_, err := f.SetConfig(f.Context(), production, map[string]string{"A": "1", "B": "2", "C": "3"}, nil)
		f.check(err)
		e, err := f.SetConfig(f.Context(), production, map[string]string{"A": "one", "C": "three"}, []string{"B", "C", "never"})
		f.check(err)
		want := map[string]string{"A": "one", "C": "three"}
		if !maps.Equal(e.Config, want) {
			f.Errorf("got %v, want %v", e.Config, want)
		}
		f.reopen()
		e, err = f.Environment(f.Context(), production)
		f.check(err)
		if !maps.Equal(e.Config, want) {
			f.Errorf("after reopening: %v, want %v", e.Config, want)
		}
	}},
	{"Maintenance begins, outlives a reopening and ends", func(f *fixture) {
		f.environment(production)
		want := &springtide.Maintenance{
			Since: time.Now().UTC().Round(0), Page: "<p>soon", RetryAfter: time.Minute, Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		}
		_, err := f.SetMaintenance(f.Context(), production, want)
		f.check(err)
		f.reopen()
		e, err := f.Environment(f.Context(), production)
		f.check(err)
		if diff := cmp.Diff(want, e.Maintenance, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			f.Error(diff)
		}
		if e, err = f.SetMaintenance(f.Context(), production, nil); err != nil || e.Maintenance != nil {
			f.Errorf("it ended as %+v, %v", e.Maintenance, err)
		}
	}},
	{"What is announced is changed as a whole, or stays", func(f *fixture) {
		f.environment(production)
		at := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
		want := []springtide.Occasion{{ID: "a", Name: "A", From: at, Until: at.Add(time.Hour), Min: map[springtide.ProcessName]int{springtide.Web: 3}}}
		set := func(add []springtide.Occasion, err error) error {
			_, got := f.SetOccasions(f.Context(), production, func(before []springtide.Occasion) ([]springtide.Occasion, error) {
				return append(before, add...), err
			})
			return got
		}
		f.check(set(want, nil))
		f.wantKind(set(want, springtide.Errorf(springtide.Conflict, "it is there")), springtide.Conflict)
		f.reopen()
		e, err := f.Environment(f.Context(), production)
		f.check(err)
		if diff := cmp.Diff(want, e.Occasions); diff != "" {
			f.Error(diff)
		}
	}},
	{"A scale is set, replaced and removed", func(f *fixture) {
		f.environment(production)
		e, err := f.SetScale(f.Context(), production, springtide.Web, &springtide.ScaleRange{Min: 2, Max: 10})
		f.check(err)
		if got := e.Scale[springtide.Web]; got != (springtide.ScaleRange{Min: 2, Max: 10}) {
			f.Errorf("got %v", got)
		}
		e, err = f.SetScale(f.Context(), production, springtide.Web, &springtide.ScaleRange{})
		f.check(err)
		if got, ok := e.Scale[springtide.Web]; !ok || got != (springtide.ScaleRange{}) {
			f.Errorf("got %v %v, want a range of none", got, ok)
		}
		e, err = f.SetScale(f.Context(), production, springtide.Web, nil)
		f.check(err)
		if len(e.Scale) > 0 {
			f.Errorf("got %v, want none", e.Scale)
		}
	}},
	{"A scale that makes no sense is refused", func(f *fixture) {
		f.environment(production)
		for _, scale := range []springtide.ScaleRange{{Min: -1, Max: 1}, {Min: 3, Max: 2}} {
			_, err := f.SetScale(f.Context(), production, springtide.Web, &scale)
			f.wantKind(err, springtide.Invalid)
		}
	}},
	{"A destroyed environment leaves nothing but its numbers", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		r := f.release(production, "quiz.example.com")
		f.roll(r)
		f.check(f.PutGroup(ctx, group(r, 2)))
		f.check(f.AddDecision(ctx, springtide.Decision{Group: group(r, 2).ID, Time: time.Now(), Sentence: "why"}))
		_, err := f.AddEvents(ctx, []springtide.Event{{Environment: production, Kind: "a"}, {Environment: blog, Kind: "b"}})
		f.check(err)
		open := f.begin(f.release(production))

		f.check(f.DestroyEnvironment(ctx, production))

		f.wantKind(second(f.Environment(ctx, production)), springtide.NotFound)
		f.wantKind(f.SaveRollout(ctx, open), springtide.NotFound)
		releases, err := f.Releases(ctx, production)
		f.check(err)
		groups, err := f.Groups(ctx)
		f.check(err)
		rollouts, err := f.OpenRollouts(ctx)
		f.check(err)
		decisions, err := f.Decisions(ctx, production, "", 0)
		f.check(err)
		events, err := f.Events(ctx, 0, nil, 0)
		f.check(err)
		if len(releases)+len(groups)+len(rollouts)+len(decisions) > 0 || len(events) != 1 || events[0].Kind != "b" {
			f.Errorf("left: %v %v %v %v %v", releases, groups, rollouts, decisions, events)
		}
		f.check(f.CheckDomains(ctx, blog, []string{"quiz.example.com"}))

		f.environment(production)
		again := f.release(production)
		if again.Number != 3 {
			f.Errorf("the next release is number %d, want 3", again.Number)
		}
		if rollout := f.begin(again); rollout.Generation != 3 {
			f.Errorf("the next generation is %d, want 3", rollout.Generation)
		}
	}},
}

var domainTests = []test{
	{"Domains are added and removed by hand", func(f *fixture) {
		f.environment(production)
		_, err := f.SetDomains(f.Context(), production, []string{"B.example.com", "a.example.com", "a.example.com"}, nil)
		f.check(err)
		e, err := f.SetDomains(f.Context(), production, []string{"c.example.com"}, []string{"a.example.com"})
		f.check(err)
		if want := []string{"b.example.com", "c.example.com"}; !slices.Equal(e.Domains, want) {
			f.Errorf("got %v, want %v", e.Domains, want)
		}
	}},
	{"A domain belongs to one environment, and the error names it", func(f *fixture) {
		f.environment(production)
		f.environment(blog)
		_, err := f.SetDomains(f.Context(), blog, []string{"example.com"}, nil)
		f.check(err)
		_, err = f.SetDomains(f.Context(), production, []string{"new.example.com", "EXAMPLE.com."}, nil)
		f.wantKind(err, springtide.Conflict)
		if !strings.Contains(err.Error(), blog.String()) {
			f.Errorf("%q does not name %s", err, blog)
		}
		f.wantKind(f.CheckDomains(f.Context(), production, []string{"example.com"}), springtide.Conflict)
		f.check(f.CheckDomains(f.Context(), blog, []string{"example.com", "new.example.com"}))
		e, err := f.Environment(f.Context(), production)
		f.check(err)
		if len(e.Domains) > 0 {
			f.Errorf("a refused change left %v", e.Domains)
		}
	}},
	{"A domain that was not added by hand cannot be removed by hand", func(f *fixture) {
		f.environment(production)
		f.roll(f.release(production, "example.com"))
		_, err := f.SetDomains(f.Context(), production, nil, []string{"example.com"})
		f.wantKind(err, springtide.NotFound)
	}},
	{"A domain may be added by hand and be in the manifest", func(f *fixture) {
		f.environment(production)
		f.environment(blog)
		f.roll(f.release(production, "example.com"))
		_, err := f.SetDomains(f.Context(), production, []string{"example.com"}, nil)
		f.check(err)
		e, err := f.SetDomains(f.Context(), production, nil, []string{"example.com"})
		f.check(err)
		if len(e.Domains) > 0 {
			f.Errorf("got %v, want none", e.Domains)
		}
		f.wantKind(f.CheckDomains(f.Context(), blog, []string{"example.com"}), springtide.Conflict)
	}},
	{"A rollout claims the manifest's domains, and gives up those of the release before once it has switched", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		f.roll(f.release(production, "old.example.com"))
		rollout := f.begin(f.release(production, "new.example.com"))
		for _, domain := range []string{"old.example.com", "new.example.com"} {
			f.wantKind(f.CheckDomains(ctx, blog, []string{domain}), springtide.Conflict)
		}
		f.check(f.SwitchRollout(ctx, rollout))
		f.check(f.CheckDomains(ctx, blog, []string{"old.example.com"}))
		f.wantKind(f.CheckDomains(ctx, blog, []string{"new.example.com"}), springtide.Conflict)
		e, err := f.Environment(ctx, production)
		f.check(err)
		if len(e.Domains) > 0 {
			f.Errorf("the manifest's domains are shown as added by hand: %v", e.Domains)
		}
	}},
	{"A failed rollout gives up the domains it claimed", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		f.roll(f.release(production, "old.example.com"))
		rollout := f.begin(f.release(production, "new.example.com"))
		f.check(f.FailRollout(ctx, rollout))
		f.check(f.CheckDomains(ctx, blog, []string{"new.example.com"}))
		f.wantKind(f.CheckDomains(ctx, blog, []string{"old.example.com"}), springtide.Conflict)
	}},
	{"A rollout does not begin if one of its domains belongs to another environment", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		f.roll(f.release(blog, "example.com"))
		r := f.release(production, "new.example.com", "example.com")
		_, err := f.BeginRollout(ctx, springtide.Rollout{Release: r.ID()})
		f.wantKind(err, springtide.Conflict)
		f.check(f.CheckDomains(ctx, blog, []string{"new.example.com"}))
		open, err := f.OpenRollouts(ctx)
		f.check(err)
		if diff := cmp.Diff([]springtide.Rollout(nil), open); diff != "" {
			f.Error(diff)
		}
	}},
}

// second gives the error of a call with two results.
func second[T any](_ T, err error) error { return err }
