package storetest

import (
	"fmt"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/store"
)

var purgeTests = []test{
	{"Purges are numbered, and come back in their order", func(f *fixture) {
		var want []springtide.Purge
		for _, purge := range []springtide.Purge{{Environment: production, Tag: "a"}, {Environment: blog, Path: "/x/*"}, {Environment: blog}} {
			added, err := f.AddPurge(f.Context(), purge)
			f.check(err)
			if len(want) > 0 && added.Number <= want[len(want)-1].Number {
				f.Errorf("%d comes after %d", added.Number, want[len(want)-1].Number)
			}
			purge.Number = added.Number
			want = append(want, purge)
		}
		f.reopen()
		since, got, err := f.Purges(f.Context())
		f.check(err)
		if diff := cmp.Diff(want, got); diff != "" || since != 0 {
			f.Error(since, diff)
		}
	}},
	{"The newest purges are kept, and the number of the last that is not", func(f *fixture) {
		var numbers []int64
		for i := range store.KeepPurges + 3 {
			added, err := f.AddPurge(f.Context(), springtide.Purge{Environment: blog, Path: fmt.Sprint("/", i)})
			f.check(err)
			numbers = append(numbers, added.Number)
		}
		since, got, err := f.Purges(f.Context())
		f.check(err)
		if since != numbers[2] || len(got) != store.KeepPurges || got[0].Number != numbers[3] {
			f.Errorf("%d are kept since %d, from %v on", len(got), since, numbers[:4])
		}
	}},
}
