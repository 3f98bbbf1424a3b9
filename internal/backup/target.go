package backup

import (
	"context"
	"io"
	"path"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Target is a place where objects are kept. Names are paths with slashes; no part
// of them begins with a dot. Errors are of kind Unavailable where it may work
// later. Implemented by [OpenTarget]'s for folders, SFTP and S3.
type Target interface {
	// Put keeps all that is read, whole or not at all, in place of what had the name.
	Put(ctx context.Context, name string, from io.Reader) error
	// Get reads an object; the error is of kind NotFound if there is none.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List gives the objects whose names begin with prefix, in order of their names.
	// The prefix ends with a slash, or is empty.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Delete removes an object; it may be gone already.
	Delete(ctx context.Context, name string) error
}

// Tidier is a [Target] that a killed Put leaves something behind in.
type Tidier interface {
	// Tidy removes what was left before then, by the target's clock.
	Tidy(ctx context.Context, before time.Time) error
}

// Object is what a target has.
type Object struct {
	Name string
	// Size is in bytes.
	Size int64
	// Modified is by the target's clock.
	Modified time.Time
}

// checkName keeps an object's name within its target.
func checkName(name string) error {
	bad := name == "" || path.Clean(name) != name || strings.HasPrefix(name, "/")
	for part := range strings.SplitSeq(name, "/") {
		bad = bad || strings.HasPrefix(part, ".") || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f })
	}
	if bad {
		return springtide.Errorf(springtide.Invalid, "%q is not a name for an object of a backup", name)
	}
	return nil
}

// stopped has a reader end with the context: what copies from it stops.
type stopped struct {
	context.Context
	io.Reader
}

func (s stopped) Read(p []byte) (int, error) {
	if s.Err() != nil {
		return 0, context.Cause(s.Context)
	}
	return s.Reader.Read(p)
}
