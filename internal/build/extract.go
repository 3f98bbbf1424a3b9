package build

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path"
	"strings"

	"github.com/springtide/springtide"
)

// bounds are what an archive may hold at most.
type bounds struct {
	bytes int64
	files int
}

// extractor writes an archive into a folder. Whatever the archive says, nothing
// is written outside of the folder: os.Root sees to that.
type extractor struct {
	root *os.Root
	// most bounds the archive if bounded is set; used is what was used of it.
	most, used bounds
	bounded    bool
	// prefix is a folder of the archive: only what is in it is written, without it.
	prefix string
	// kinds has what was written, by name.
	kinds map[string]byte
	// links has the targets of symbolic links, by name. They are not judged here.
	links map[string]string
}

func newExtractor(root *os.Root) *extractor {
	return &extractor{root: root, kinds: map[string]byte{}, links: map[string]string{}}
}

// extract reads to the end of the archive, and beyond it to the end of r.
func (x *extractor) extract(ctx context.Context, r io.Reader) error {
	archive := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return drain(r)
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return err
		}
		if header.Typeflag == tar.TypeXGlobalHeader {
			continue // Written by git archive; says nothing about files.
		}
		if err := x.one(archive, header); err != nil {
			return err
		}
	}
}

// drain reads what pads an archive: its checksum comes at the very end.
func drain(r io.Reader) error {
	const padding = 1 << 20
	n, err := io.CopyN(io.Discard, r, padding)
	if n == padding {
		return springtide.Errorf(springtide.Invalid, "there is something else behind the archive")
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func (x *extractor) one(archive io.Reader, header *tar.Header) error {
	name, err := cleanName(header.Name)
	if err != nil {
		return err
	}
	if x.prefix != "" {
		inside, ok := strings.CutPrefix(name+"/", x.prefix+"/")
		if !ok {
			return nil
		}
		name = strings.TrimSuffix(inside, "/")
	}
	if name == "" {
		return nil // The folder itself.
	}
	if before, known := x.kinds[name]; known {
		if before == tar.TypeDir && header.Typeflag == tar.TypeDir {
			return nil
		}
		return springtide.Errorf(springtide.Invalid, "%s comes twice in the archive", clip(name))
	}
	if err := x.parents(name); err != nil {
		return err
	}
	switch header.Typeflag {
	case tar.TypeDir:
		return x.folder(name)
	case tar.TypeSymlink:
		if err := x.count(name, tar.TypeSymlink, 0); err != nil {
			return err
		}
		x.links[name] = header.Linkname
		if header.Linkname == "" || strings.ContainsRune(header.Linkname, 0) {
			return springtide.Errorf(springtide.Invalid, "the link %s has no target", clip(name))
		}
		return x.root.Symlink(header.Linkname, name)
	case tar.TypeReg, tar.TypeGNUSparse:
		return x.file(archive, name, header)
	}
	return springtide.Errorf(springtide.Invalid, "%s is neither a file nor a folder nor a symbolic link", clip(name)).
		WithHint("leave it out of the source")
}

func (x *extractor) file(archive io.Reader, name string, header *tar.Header) error {
	if err := x.count(name, tar.TypeReg, header.Size); err != nil {
		return err
	}
	mode := os.FileMode(0o644)
	if header.Mode&0o100 != 0 {
		mode = 0o755
	}
	file, err := x.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, archive)
	return errors.Join(err, file.Close())
}

func (x *extractor) folder(name string) error {
	if err := x.count(name, tar.TypeDir, 0); err != nil {
		return err
	}
	return x.root.Mkdir(name, 0o755)
}

// parents makes the folders that the name is in, if the archive did not.
func (x *extractor) parents(name string) error {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		parent := name[:i]
		switch kind, known := x.kinds[parent]; {
		case !known:
			if err := x.folder(parent); err != nil {
				return err
			}
		case kind != tar.TypeDir:
			return springtide.Errorf(springtide.Invalid, "%s is in %s, which is no folder", clip(name), clip(parent))
		}
	}
	return nil
}

// count notes what is about to be written, if there is room for it.
func (x *extractor) count(name string, kind byte, size int64) error {
	x.kinds[name] = kind
	if !x.bounded {
		return nil
	}
	x.used.files++
	if x.used.files > x.most.files {
		return tooLarge("more than %d files", x.most.files)
	}
	if size > x.most.bytes-x.used.bytes {
		return tooLarge("more than %d MiB", x.most.bytes>>20)
	}
	x.used.bytes += size
	return nil
}

func tooLarge(format string, limit any) error {
	return springtide.Errorf(springtide.Invalid, "the source is too large: "+format, limit).
		WithHint("leave out what the build can make or fetch: name it in .gitignore or .tideignore")
}

// cleanName gives the name in the one form that it is known by; "" is the
// folder itself. A name has one meaning or is refused.
func cleanName(name string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", springtide.Errorf(springtide.Invalid, "the archive names %q, %s", clip(name), why)
	}
	switch {
	case name == "":
		return refuse("which is nothing")
	case path.IsAbs(name):
		return refuse("an absolute path")
	case strings.ContainsRune(name, 0):
		return refuse("which no file can be called")
	}
	for step := range strings.SplitSeq(name, "/") {
		if step == ".." {
			return refuse("which may lead out of the folder")
		}
		if len(step) > 255 {
			return refuse("which is too long")
		}
	}
	if len(name) > 4000 {
		return refuse("which is too long")
	}
	clean := path.Clean(name)
	if clean == "." {
		return "", nil
	}
	return clean, nil
}
