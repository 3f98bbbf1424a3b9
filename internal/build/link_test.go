package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLeaves compares the answer with that of the kernel.
func FuzzLeaves(f *testing.F) {
	f.Add("a", "b", "d/up", "..", "x/y/z", "../../d/up/..")
	f.Add("a", "a", "b", "/etc", "c", "b/passwd")
	f.Add("a", "./b//c", "b/c", "../a", "d", "...")
	f.Fuzz(func(t *testing.T, name1, target1, name2, target2, name3, target3 string) {
		outer, err := os.MkdirTemp("", "fuzz")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(outer)
		tree := filepath.Join(outer, "tree")
		if err := os.Mkdir(tree, 0o755); err != nil {
			t.Fatal(err)
		}
		links := map[string]string{}
		for _, link := range [][2]string{{name1, target1}, {name2, target2}, {name3, target3}} {
			name, err := cleanName(link[0])
			if err != nil || name == "" || throughLink(links, name) {
				return
			}
			path := filepath.Join(tree, name)
			if os.MkdirAll(filepath.Dir(path), 0o755) != nil || os.Symlink(link[1], path) != nil {
				return
			}
			links[name] = link[1]
		}
		for name := range links {
			if leaves(links, name) {
				continue
			}
			real, err := filepath.EvalSymlinks(filepath.Join(tree, name))
			if err == nil && real != tree && !strings.HasPrefix(real, tree+"/") {
				t.Fatalf("%s of %q leads to %s", name, links, real)
			}
		}
	})
}

// throughLink reports whether a part of the name is a link.
func throughLink(links map[string]string, name string) bool {
	for ; name != "."; name = filepath.Dir(name) {
		if _, ok := links[name]; ok {
			return true
		}
	}
	return false
}

func TestALinkThatIsTooIntricateIsTakenToLeave(t *testing.T) {
	links := map[string]string{"a": strings.Repeat("x/../", 1000)}
	if !leaves(links, "a") {
		t.Error("it was followed for ever")
	}
}
