package build

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/springtide/springtide"
)

// ignoreFile names what is not to be sent, in the syntax of .gitignore, even if
// git tracks it.
const ignoreFile = ".tideignore"

// junk is never a source.
func junk() []string { return []string{".git", "node_modules", "__pycache__", ".venv"} }

// choice is which files of a folder are its source.
type choice struct {
	names   []string // in order, relative to the folder, with slashes
	summary Summary  // all but the counts
}

// choose finds the source in a folder.
func choose(ctx context.Context, folder string) (choice, error) {
	var made choice
	var names []string
	var err error
	if _, missing := exec.LookPath("git"); missing != nil {
		names, err = walk(folder)
		made.summary.How = "all files but " + strings.Join(junk(), ", ") + " (there is no git here)"
	} else {
		var about sync.WaitGroup
		about.Go(func() { made.summary.Commit, made.summary.Subject, made.summary.Dirty = commit(ctx, folder) })
		var tracked bool
		names, tracked, err = list(ctx, folder)
		about.Wait()
		if tracked {
			made.summary.How = "what git tracks or does not ignore"
		} else {
			made.summary.Commit, made.summary.Subject, made.summary.Dirty = "", "", false
			made.summary.How = "all files but those that .gitignore names and " + strings.Join(junk(), ", ") + " (git does not track this folder)"
		}
	}
	if ctx.Err() != nil {
		return choice{}, ctx.Err()
	}
	if err != nil {
		return choice{}, springtide.Errorf(springtide.Failed, "list the source: %w", err)
	}
	made.names = reachable(names)
	return made, nil
}

// list gives what git would have in the folder, that of repositories inside of
// it (submodules, for example) included. Tracked says that the folder is part
// of a repository.
func list(ctx context.Context, folder string) (names []string, tracked bool, err error) {
	git := gitIn(folder)
	found, err := git.files(ctx, "--cached", "--others", "--exclude-standard")
	tracked = err == nil && len(found) > 0
	if !tracked { // No repository, one that git refuses to trust, or a folder that it ignores.
		scratch, err := os.MkdirTemp("", "tide-source-")
		if err != nil {
			return nil, false, err
		}
		defer os.RemoveAll(scratch)
		if git, err = gitOver(ctx, folder, scratch); err != nil {
			return nil, false, err
		}
		options := []string{"--others", "--exclude-standard"}
		for _, name := range junk() {
			options = append(options, "--exclude="+name)
		}
		if found, err = git.files(ctx, options...); err != nil {
			return nil, false, err
		}
	}
	if slices.ContainsFunc(found, func(name string) bool { return path.Base(name) == ignoreFile }) {
		options := []string{"--others", "--ignored", "--exclude-per-directory=" + ignoreFile}
		if tracked {
			options = append(options, "--cached")
		}
		ignored, err := git.files(ctx, options...)
		if err != nil {
			return nil, false, err
		}
		found = without(found, ignored)
	}
	for _, name := range found {
		inner := filepath.Join(folder, name)
		if info, err := os.Lstat(inner); err != nil || !info.IsDir() {
			names = append(names, name)
			continue
		}
		if _, err := os.Lstat(filepath.Join(inner, ".git")); err != nil {
			continue // A submodule that is not checked out.
		}
		more, _, err := list(ctx, inner)
		if err != nil {
			return nil, false, err
		}
		for _, deeper := range more {
			names = append(names, path.Join(name, deeper))
		}
	}
	return names, tracked, nil
}

// walk gives the files of a folder where there is no git to ask.
func walk(folder string) ([]string, error) {
	var names []string
	err := filepath.WalkDir(folder, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if file != folder && slices.Contains(junk(), entry.Name()) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		if entry.IsDir() {
			return nil
		}
		name, err := filepath.Rel(folder, file)
		names = append(names, filepath.ToSlash(name))
		return err
	})
	return names, err
}

// reachable puts names in order, each once, without those whose folder is
// itself in the list: what was a folder when git looked is a link now.
func reachable(names []string) []string {
	slices.Sort(names)
	names = slices.Compact(names)
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[name] = true
	}
	return slices.DeleteFunc(names, func(name string) bool {
		for parent := path.Dir(name); parent != "."; parent = path.Dir(parent) {
			if known[parent] {
				return true
			}
		}
		return false
	})
}

func without(names, removed []string) []string {
	gone := make(map[string]bool, len(removed))
	for _, name := range removed {
		gone[name] = true
	}
	return slices.DeleteFunc(names, func(name string) bool { return gone[name] })
}

// commit describes what is checked out; an empty hash if nothing is.
func commit(ctx context.Context, folder string) (hash, subject string, dirty bool) {
	git := gitIn(folder)
	var changes []byte
	var status sync.WaitGroup
	status.Go(func() {
		changes, _ = git.run(ctx, "--no-optional-locks", "status", "--porcelain", "-z", "--", ".")
	})
	head, err := git.run(ctx, "log", "-1", "--no-show-signature", "--format=%h%x00%s")
	status.Wait()
	if err != nil {
		return "", "", false
	}
	hash, subject, _ = strings.Cut(strings.TrimSpace(string(head)), "\x00")
	return hash, clip(strings.ToValidUTF8(subject, "?")), len(changes) > 0
}

// git runs git in a folder.
type git struct {
	folder string
	// options come before the command.
	options []string
}

// gitIn asks the repository that the folder is in. Hooks of a repository that
// may be a stranger's stay off.
func gitIn(folder string) git {
	return git{folder: folder, options: []string{"-c", "core.fsmonitor=false", "-c", "core.quotepath=false"}}
}

// gitOver asks an empty repository, made in scratch, about the folder.
func gitOver(ctx context.Context, folder, scratch string) (git, error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return git{}, err
	}
	if _, err := gitIn(scratch).run(ctx, "init", "--quiet", "--template="); err != nil {
		return git{}, err
	}
	over := gitIn(folder)
	over.options = append(over.options, "--git-dir="+filepath.Join(scratch, ".git"), "--work-tree="+absolute)
	return over, nil
}

func (g git) run(ctx context.Context, arguments ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "git", append(slices.Clone(g.options), arguments...)...)
	cmd.Dir = g.folder
	// A hook that calls us has set variables about its own repository.
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "GIT_") })
	cmd.Env = append(cmd.Env, "LC_ALL=C", "GIT_OPTIONAL_LOCKS=0")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		line, _, _ := strings.Cut(string(exit.Stderr), "\n")
		return nil, springtide.Errorf(springtide.Failed, "git %s: %s", arguments[0], clip(line))
	}
	return out, err
}

// files lists files; a repository inside of the folder is one name.
func (g git) files(ctx context.Context, options ...string) ([]string, error) {
	out, err := g.run(ctx, append([]string{"ls-files", "-z"}, options...)...)
	if err != nil {
		return nil, err
	}
	var names []string
	for name := range bytes.SplitSeq(out, []byte{0}) {
		if cut := strings.TrimSuffix(string(name), "/"); cut != "" {
			names = append(names, cut)
		}
	}
	return names, nil
}
