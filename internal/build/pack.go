package build

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/springtide/springtide"
)

// Summary tells what [Pack] found.
type Summary struct {
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Commit is the short hash of the commit that is checked out; empty if there
	// is none.
	Commit string `json:"commit,omitempty"`
	// Subject is the first line of its message.
	Subject string `json:"subject,omitempty"`
	// Dirty says that the folder differs from the commit.
	Dirty bool `json:"dirty,omitempty"`
	// How says in words how the files were chosen.
	How string `json:"how"`
}

// String describes the source for people: `1a2b3c4 Fix the thing (modified)`.
// It is empty if there is no commit.
func (s Summary) String() string {
	if s.Commit == "" {
		return ""
	}
	text := s.Commit + " " + s.Subject
	if s.Dirty {
		text += " (modified)"
	}
	return text
}

// Pack writes the source in the folder as a tar: the files that git tracks or
// does not ignore; without git all but what is never a source. Empty folders
// are left out, as git does. The same files give the same bytes: names are in
// order, and times and owners are not written.
func Pack(ctx context.Context, folder string, w io.Writer) (Summary, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return Summary{}, springtide.Errorf(springtide.NotFound, "the source cannot be opened: %w", err)
	}
	defer root.Close()
	chosen, err := choose(ctx, folder)
	if err != nil {
		return Summary{}, err
	}
	p := packer{root: root, tar: tar.NewWriter(w), summary: chosen.summary, links: map[string]string{}}
	for _, name := range chosen.names {
		if err := ctx.Err(); err != nil {
			return Summary{}, err
		}
		if err := p.add(name); err != nil {
			return Summary{}, err
		}
	}
	if err := refuseLeaving(ctx, p.links); err != nil {
		return Summary{}, err
	}
	return p.summary, p.tar.Close()
}

type packer struct {
	root    *os.Root
	tar     *tar.Writer
	summary Summary
	links   map[string]string
}

func (p *packer) add(name string) error {
	info, err := p.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil // Deleted, but git still has it.
	}
	if err != nil {
		return springtide.Errorf(springtide.Failed, "read the source: %w", err)
	}
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return p.addLink(name)
	case info.Mode().IsRegular():
		return p.addFile(name)
	}
	return nil
}

func (p *packer) addLink(name string) error {
	target, err := p.root.Readlink(name)
	if err != nil {
		return springtide.Errorf(springtide.Failed, "read the source: %w", err)
	}
	p.links[name] = target
	p.summary.Files++
	// Most are told here, before gigabytes were sent; the rest at the end.
	if path.IsAbs(target) || leaves(map[string]string{name: target}, name) {
		return refuseLink(name, target)
	}
	return p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777})
}

func (p *packer) addFile(name string) error {
	// Not to be led elsewhere, nor to wait, if it is no file any more.
	file, err := p.root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return springtide.Errorf(springtide.Failed, "read the source: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return changed(name)
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: fileMode(info.Mode())}
	if err := p.tar.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.CopyN(p.tar, file, info.Size()); errors.Is(err, io.EOF) {
		return changed(name)
	} else if err != nil {
		return err
	}
	p.summary.Files++
	p.summary.Bytes += info.Size()
	return nil
}

// fileMode keeps of a mode what git keeps: whether the file can be executed.
func fileMode(mode fs.FileMode) int64 {
	if mode&0o100 != 0 {
		return 0o755
	}
	return 0o644
}

func changed(name string) error {
	return springtide.Errorf(springtide.Conflict, "the source file %s changed while it was read", clip(name)).WithHint("try again")
}

// clip keeps names from strangers short and printable.
func clip(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, name)
	if runes := []rune(name); len(runes) > 200 {
		return string(runes[:200]) + "…"
	}
	return name
}
