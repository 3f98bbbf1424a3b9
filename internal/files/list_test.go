package files

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

// TestAnyListingGivesTheNamesInOrderPageByPage compares with a plain one.
func TestAnyListingGivesTheNamesInOrderPageByPage(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	random := rand.New(rand.NewPCG(1, 2))
	names := map[string]bool{}
	for len(names) < 300 {
		var parts []string
		for range 1 + random.IntN(4) {
			parts = append(parts, []string{"a", "a-b", "a.b", "a0", "b", "B", "ü", "z z"}[random.IntN(8)])
		}
		name := strings.Join(parts, "/")
		if os.MkdirAll(filepath.Dir(direct(store, name)), 0o755) != nil {
			continue // a file is in the way
		}
		if os.WriteFile(direct(store, name), []byte(name), 0o600) == nil {
			names[name] = true
		}
	}
	var all []string
	for name := range names {
		all = append(all, name)
	}
	slices.Sort(all)
	for _, prefix := range []string{"", "a", "a/", "a-", "a/a", "a/a-b/", "b/ü", "nothing", "../", "/", "a//"} {
		for _, delimiter := range []string{"", "/", "-", "a/"} {
			want := plainly(all, prefix, delimiter)
			for _, limit := range []int{1, 3, 1000} {
				if got := pages(t, folder, prefix, delimiter, limit); !slices.Equal(got, want) {
					t.Errorf("prefix %q, delimiter %q, %d a page: %q, want %q", prefix, delimiter, limit, got, want)
				}
			}
		}
	}
}

func plainly(all []string, prefix, delimiter string) []string {
	var want []string
	for _, name := range all {
		rest, ok := strings.CutPrefix(name, prefix)
		if !ok {
			continue
		}
		if at := strings.Index(rest, delimiter); delimiter != "" && at >= 0 {
			name = prefix + rest[:at] + delimiter
		}
		if len(want) == 0 || want[len(want)-1] != name {
			want = append(want, name)
		}
	}
	return want
}

func pages(t *testing.T, folder *Folder, prefix, delimiter string, limit int) []string {
	t.Helper()
	var got []string
	for after := ""; ; {
		page, err := folder.List(t.Context(), ListOptions{Prefix: prefix, Delimiter: delimiter, After: after, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) > limit {
			t.Fatalf("%d entries on a page of %d", len(page.Entries), limit)
		}
		for _, entry := range page.Entries {
			got = append(got, entry.Name)
		}
		if after = page.Next; after == "" {
			return got
		}
	}
}

func TestASyncSendsWhatDiffersAndDeletesWhatIsGone(t *testing.T) {
	store, folder := newFolder(t, springtide.Files{})
	for _, name := range []string{"same", "shorter", "newer", "gone/x"} {
		put(t, folder, name, "content")
	}
	there, err := folder.List(t.Context(), ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, folder, "newer", "CONTENT")
	put(t, folder, "shorter", "cont")
	put(t, folder, "added", "new")
	if err := os.RemoveAll(direct(store, "gone")); err != nil {
		t.Fatal(err)
	}
	here, err := folder.List(t.Context(), ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	plan := PlanSync(here.Entries, there.Entries, true)
	if !slices.Equal(plan.Send, []string{"added", "newer", "shorter"}) || !slices.Equal(plan.Delete, []string{"gone/x"}) || plan.Bytes != 14 {
		t.Errorf("got %+v", plan)
	}
	if plan := PlanSync(here.Entries, here.Entries, true); len(plan.Send)+len(plan.Delete) > 0 {
		t.Errorf("nothing differs, but %+v", plan)
	}
	if plan := PlanSync(nil, there.Entries, false); len(plan.Delete) > 0 {
		t.Errorf("deleted without being told: %+v", plan)
	}
}

func TestASyncByDigestGoesByTheContentAlone(t *testing.T) {
	_, folder := newFolder(t, springtide.Files{})
	list := func() []Entry {
		page, err := folder.List(t.Context(), ListOptions{Digests: true})
		if err != nil {
			t.Fatal(err)
		}
		return page.Entries
	}
	put(t, folder, "a", "content")
	put(t, folder, "b", "content")
	before := list()
	put(t, folder, "a", "content") // again, and newer
	put(t, folder, "b", "CONTENT")
	if plan := PlanSync(list(), before, true); !slices.Equal(plan.Send, []string{"b"}) {
		t.Errorf("got %+v", plan)
	}
}
