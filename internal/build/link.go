package build

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/springtide/springtide"
)

// Following a link ends after so many links (as in the kernel) or names.
const (
	mostHops  = 40
	mostSteps = 500
)

// refuseLeaving gives an error if one of a tree's links, by name, leads out of
// the tree.
func refuseLeaving(ctx context.Context, links map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(links)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if leaves(links, name) {
			return refuseLink(name, links[name])
		}
	}
	return nil
}

func refuseLink(name, target string) error {
	return springtide.Errorf(springtide.Invalid, "the link %s points out of the source, to %s", clip(name), clip(target)).
		WithHint("make it a file, or name it in .gitignore and make it in the build")
}

// leaves reports whether following the link of that name leads out of the tree,
// where links are all the links of the tree by name. A link that leads nowhere,
// or round in a circle, does not leave; one that is too intricate to tell does.
func leaves(links map[string]string, name string) bool {
	rest := strings.Split(name, "/")
	at := "" // Where we are; not a link, nor in one.
	hops := 0
	for range mostSteps {
		if len(rest) == 0 {
			return false
		}
		step := rest[0]
		rest = rest[1:]
		switch step {
		case "", ".":
			continue
		case "..":
			if at == "" {
				return true
			}
			at = at[:max(strings.LastIndexByte(at, '/'), 0)]
			continue
		}
		next := path.Join(at, step)
		target, isLink := links[next]
		if !isLink {
			at = next
			continue
		}
		if path.IsAbs(target) {
			return true
		}
		if hops++; hops > mostHops {
			return false
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return true
}
