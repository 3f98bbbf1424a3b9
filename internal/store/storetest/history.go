package storetest

import (
	"bytes"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

var historyTests = []test{
	{"Decisions come back with the newest first, of one process or all", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		var want []springtide.Decision
		for i, process := range []springtide.ProcessName{"web", "worker", "web"} {
			d := springtide.Decision{
				Time:  time.Date(2026, 1, 2, 3, 4, i, 5, time.UTC),
				Group: springtide.GroupID{Environment: production, Release: 1, Process: process, Generation: 2},
				From:  i, To: i + 1, Sentence: fmt.Sprintf("decision %d", i), Inputs: map[string]float64{"lambda": 1.5},
			}
			f.check(f.AddDecision(ctx, d))
			want = append([]springtide.Decision{d}, want...)
		}
		f.reopen()
		all, err := f.Decisions(ctx, production, "", 0)
		f.check(err)
		if diff := cmp.Diff(want, all); diff != "" {
			f.Error(diff)
		}
		web, err := f.Decisions(ctx, production, springtide.Web, 1)
		f.check(err)
		if diff := cmp.Diff(want[:1], web); diff != "" {
			f.Error(diff)
		}
	}},
	{"The evidence of the newest decisions of each environment is kept", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		evidence := []byte{0, 1, 0xff}
		f.check(f.AddDecision(ctx, springtide.Decision{Group: springtide.GroupID{Environment: blog}, Evidence: evidence}))
		for i := range store.KeepEvidence + 3 {
			f.check(f.AddDecision(ctx, springtide.Decision{Group: springtide.GroupID{Environment: production}, To: i, Evidence: evidence}))
		}
		f.reopen()
		kept, err := f.Decisions(ctx, production, "", 0)
		f.check(err)
		if len(kept) != store.KeepEvidence+3 {
			f.Fatalf("%d decisions", len(kept))
		}
		for i, d := range kept {
			if with := d.Evidence != nil; with != (i < store.KeepEvidence) || with && !bytes.Equal(d.Evidence, evidence) {
				f.Errorf("decision %d, counted from the newest, has %v", i, d.Evidence)
			}
		}
		others, err := f.Decisions(ctx, blog, "", 0)
		f.check(err)
		if len(others) != 1 || !bytes.Equal(others[0].Evidence, evidence) {
			f.Errorf("of another environment: %v", others)
		}
	}},
	{"A decision of an environment that there is not is refused", func(f *fixture) {
		f.wantKind(f.AddDecision(f.Context(), springtide.Decision{Group: springtide.GroupID{Environment: nowhere}}), springtide.NotFound)
	}},
	{"A decision made of no number is refused", func(f *fixture) {
		f.environment(production)
		err := f.AddDecision(f.Context(), springtide.Decision{
			Group: springtide.GroupID{Environment: production}, Inputs: map[string]float64{"lambda": math.NaN()},
		})
		f.wantKind(err, springtide.Invalid)
	}},
	{"The newest decisions of each environment are kept", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		f.check(f.AddDecision(ctx, springtide.Decision{Group: springtide.GroupID{Environment: blog}}))
		for i := range store.KeepDecisions + 10 {
			f.check(f.AddDecision(ctx, springtide.Decision{Group: springtide.GroupID{Environment: production}, To: i}))
		}
		kept, err := f.Decisions(ctx, production, "", 0)
		f.check(err)
		if len(kept) != store.KeepDecisions || kept[0].To != store.KeepDecisions+9 {
			f.Errorf("kept %d", len(kept))
		}
		others, err := f.Decisions(ctx, blog, "", 0)
		f.check(err)
		if len(others) != 1 {
			f.Errorf("%d left of another environment", len(others))
		}
	}},
	{"Events get growing sequences and come back in order", func(f *fixture) {
		ctx := f.Context()
		when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
		added, err := f.AddEvents(ctx, []springtide.Event{
			{Time: when, Environment: production, Kind: "rollout.step", Message: "a", Fields: map[string]string{"release": "1"}},
			{Time: when, Environment: blog, Kind: "rollout.step", Message: "b"},
			{Time: when, Kind: "edge.started", Message: "c"},
		})
		f.check(err)
		f.reopen()
		more, err := f.AddEvents(ctx, []springtide.Event{{Time: when, Environment: production, Message: "d"}})
		f.check(err)
		added = append(added, more...)
		for i := range added[1:] {
			if added[i].Sequence <= 0 || added[i+1].Sequence <= added[i].Sequence {
				f.Errorf("sequences %d, %d", added[i].Sequence, added[i+1].Sequence)
			}
		}
		for _, query := range []struct {
			after       int64
			environment *springtide.EnvironmentID
			limit       int
			want        []springtide.Event
		}{
			{0, nil, 0, added},
			{added[0].Sequence, nil, 2, added[1:3]},
			{0, &blog, 0, added[1:2]},
			{added[0].Sequence, &production, 0, added[3:]},
			{added[3].Sequence, nil, 0, nil},
		} {
			got, err := f.Events(ctx, query.after, query.environment, query.limit)
			f.check(err)
			if diff := cmp.Diff(query.want, got); diff != "" {
				f.Errorf("after %d of %v, at most %d:\n%s", query.after, query.environment, query.limit, diff)
			}
		}
	}},
	{"The last sequence outlives its event", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		last, err := f.LastSequence(ctx)
		f.check(err)
		if last != 0 {
			f.Errorf("before any event it is %d", last)
		}
		added, err := f.AddEvents(ctx, []springtide.Event{{Environment: blog}, {Environment: production}})
		f.check(err)
		f.check(f.DestroyEnvironment(ctx, production))
		f.reopen()
		last, err = f.LastSequence(ctx)
		f.check(err)
		if last != added[1].Sequence {
			f.Errorf("got %d, want %d", last, added[1].Sequence)
		}
	}},
	{"The newest events are kept", func(f *fixture) {
		ctx := f.Context()
		batch := make([]springtide.Event, store.KeepEvents/2)
		var last []springtide.Event
		for range 3 {
			var err error
			last, err = f.AddEvents(ctx, batch)
			f.check(err)
		}
		kept, err := f.Events(ctx, 0, nil, 0)
		f.check(err)
		if len(kept) != store.KeepEvents || kept[len(kept)-1].Sequence != last[len(last)-1].Sequence {
			f.Errorf("kept %d", len(kept))
		}
	}},
	{"No events are no change", func(f *fixture) {
		added, err := f.AddEvents(f.Context(), nil)
		f.check(err)
		if len(added) > 0 {
			f.Errorf("got %v", added)
		}
	}},
}

var tokenTests = []test{
	{"A token is found by its hash until it is deleted", func(f *fixture) {
		ctx := f.Context()
		laptop := store.Token{Name: "laptop", Hash: [32]byte{1}, Created: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
		ci := store.Token{Name: "ci", Hash: [32]byte{2}, Created: laptop.Created}
		f.check(f.AddToken(ctx, laptop))
		f.check(f.AddToken(ctx, ci))
		f.reopen()
		found, err := f.TokenByHash(ctx, laptop.Hash)
		f.check(err)
		if found != laptop {
			f.Errorf("got %v, want %v", found, laptop)
		}
		laptop.LastUsed = laptop.Created.Add(time.Hour)
		f.check(f.TouchToken(ctx, laptop.Name, laptop.LastUsed))
		tokens, err := f.Tokens(ctx)
		f.check(err)
		if diff := cmp.Diff([]store.Token{ci, laptop}, tokens); diff != "" {
			f.Error(diff)
		}
		f.check(f.DeleteToken(ctx, laptop.Name))
		f.wantKind(second(f.TokenByHash(ctx, laptop.Hash)), springtide.NotFound)
	}},
	{"A token's name and hash are its own", func(f *fixture) {
		ctx := f.Context()
		f.check(f.AddToken(ctx, store.Token{Name: "laptop", Hash: [32]byte{1}}))
		f.wantKind(f.AddToken(ctx, store.Token{Name: "laptop", Hash: [32]byte{2}}), springtide.Conflict)
		f.wantKind(f.AddToken(ctx, store.Token{Name: "phone", Hash: [32]byte{1}}), springtide.Conflict)
		f.wantKind(f.AddToken(ctx, store.Token{Hash: [32]byte{3}}), springtide.Invalid)
	}},
	{"A token that is not there is not found", func(f *fixture) {
		f.wantKind(f.DeleteToken(f.Context(), "nobody"), springtide.NotFound)
		f.wantKind(f.TouchToken(f.Context(), "nobody", time.Now()), springtide.NotFound)
		f.wantKind(second(f.TokenByHash(f.Context(), [32]byte{9})), springtide.NotFound)
	}},
}

var durabilityTests = []test{
	{"Table versions grow, also over reopenings", func(f *fixture) {
		var last int64
		for i := range 2500 {
			if i%700 == 699 {
				f.reopen()
			}
			version, err := f.NextTableVersion(f.Context())
			f.check(err)
			if version <= last {
				f.Fatalf("%d after %d", version, last)
			}
			last = version
		}
	}},
	{"Everybody may read and write at the same time", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		const workers, each = 8, 20
		var group sync.WaitGroup
		for range workers {
			group.Go(func() {
				for range each {
					if _, err := f.AddRelease(ctx, springtide.Release{Environment: production, Artifact: digest}); err != nil {
						f.Error(err)
					}
					if _, err := f.AddEvents(ctx, []springtide.Event{{Environment: production}}); err != nil {
						f.Error(err)
					}
					if _, err := f.Environments(ctx); err != nil {
						f.Error(err)
					}
				}
			})
		}
		group.Wait()
		releases, err := f.Releases(ctx, production)
		f.check(err)
		if len(releases) != workers*each || releases[0].Number != workers*each {
			f.Errorf("%d releases, the last is number %d", len(releases), releases[0].Number)
		}
	}},
	{"Closing twice is no error", func(f *fixture) {
		f.check(f.Close())
	}},
}
