package storetest

import (
	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide/internal/store"
)

var (
	web   = store.ProcessID{Environment: production, Process: "web"}
	other = store.ProcessID{Environment: production, Process: "other"}
	posts = store.ProcessID{Environment: blog, Process: "web"}
)

func hourOf(of store.ProcessID, hour int64, minutes []byte) store.DemandHour {
	return store.DemandHour{Of: of, Hour: hour, Minutes: minutes}
}

var demandTests = []test{
	{"Hours of demand come back in order, those that are asked for", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		hours := []store.DemandHour{hourOf(web, 12, []byte("c")), hourOf(web, 10, []byte{0, 0xff}), hourOf(other, 11, []byte("o")), hourOf(posts, 11, []byte("p")), hourOf(web, 11, []byte("b"))}
		f.check(f.PutDemand(ctx, hours, nil))
		f.check(f.PutDemand(ctx, []store.DemandHour{hourOf(web, 12, []byte("c, longer"))}, nil))
		f.reopen()
		for _, asked := range []struct {
			from, to int64
			want     []store.DemandHour
		}{
			{10, 12, []store.DemandHour{hourOf(web, 10, []byte{0, 0xff}), hourOf(web, 11, []byte("b")), hourOf(web, 12, []byte("c, longer"))}},
			{11, 11, []store.DemandHour{hourOf(web, 11, []byte("b"))}},
			{13, 20, nil},
			{12, 10, nil},
		} {
			got, err := f.Demand(ctx, web, asked.from, asked.to)
			f.check(err)
			if diff := cmp.Diff(asked.want, got); diff != "" {
				f.Errorf("from %d to %d:\n%s", asked.from, asked.to, diff)
			}
		}
	}},
	{"Hours before one are forgotten, of all processes", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		f.check(f.PutDemand(ctx, []store.DemandHour{hourOf(web, 10, []byte("a")), hourOf(web, 11, []byte("b")), hourOf(posts, 10, []byte("p"))}, nil))
		f.check(f.ForgetDemand(ctx, 11))
		left, err := f.Demand(ctx, web, 0, 100)
		f.check(err)
		gone, err := f.Demand(ctx, posts, 0, 100)
		f.check(err)
		if len(left) != 1 || left[0].Hour != 11 || len(gone) > 0 {
			f.Errorf("left: %v and %v", left, gone)
		}
	}},
	{"A day of hours is forgotten at a time", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		for _, hour := range []int64{1, 24, 25, 60} {
			f.check(f.PutDemand(ctx, []store.DemandHour{hourOf(web, hour, []byte("a"))}, nil))
		}
		for _, want := range []int{2, 1, 0, 0} {
			f.check(f.ForgetDemand(ctx, 1_000_000))
			left, err := f.Demand(ctx, web, 0, 100)
			f.check(err)
			if len(left) != want {
				f.Errorf("left: %v, want %d", left, want)
			}
		}
	}},
	{"What instances used is of a process, the last counts", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		nothing, err := f.Usage(ctx, web)
		f.check(err)
		if nothing != nil {
			f.Errorf("before anything was used: %v", nothing)
		}
		f.check(f.PutDemand(ctx, nil, map[store.ProcessID][]byte{web: []byte("a"), other: []byte("b")}))
		f.check(f.PutDemand(ctx, nil, map[store.ProcessID][]byte{web: {0, 1}}))
		f.reopen()
		for of, want := range map[store.ProcessID][]byte{web: {0, 1}, other: []byte("b")} {
			got, err := f.Usage(ctx, of)
			f.check(err)
			if diff := cmp.Diff(want, got); diff != "" {
				f.Errorf("%s:\n%s", of, diff)
			}
		}
	}},
	{"What was learnt of processes is kept, the last counts", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		f.environment(blog)
		f.check(f.PutLessons(ctx, map[store.ProcessID][]byte{web: []byte("a"), posts: []byte("p")}))
		f.check(f.PutLessons(ctx, map[store.ProcessID][]byte{web: {0, 1}, other: []byte("b")}))
		f.check(f.PutLessons(ctx, nil))
		f.reopen()
		got, err := f.Lessons(ctx)
		f.check(err)
		if diff := cmp.Diff(map[store.ProcessID][]byte{web: {0, 1}, other: []byte("b"), posts: []byte("p")}, got); diff != "" {
			f.Error(diff)
		}
	}},
	{"Demand, use and lessons go with their environment, and none come after it", func(f *fixture) {
		ctx := f.Context()
		f.environment(production)
		put := func() {
			f.check(f.PutDemand(ctx, []store.DemandHour{hourOf(web, 10, []byte("a"))}, map[store.ProcessID][]byte{web: []byte("a")}))
			f.check(f.PutLessons(ctx, map[store.ProcessID][]byte{web: []byte("a")}))
		}
		put()
		f.check(f.DestroyEnvironment(ctx, production))
		put()
		f.environment(production)
		hours, err := f.Demand(ctx, web, 0, 100)
		f.check(err)
		used, err := f.Usage(ctx, web)
		f.check(err)
		learnt, err := f.Lessons(ctx)
		f.check(err)
		if len(hours)+len(used)+len(learnt) > 0 {
			f.Errorf("%v, %v, %v", hours, used, learnt)
		}
	}},
}
