package build

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"

	"github.com/springtide/springtide"
)

// The largest source that [Unpack] takes.
const (
	largestSource = 2 << 30
	mostFiles     = 200_000
)

// Unpack writes the files of a tar, which may be compressed with gzip, into a
// folder that must be empty. It trusts nothing: it refuses names and links that
// lead out of the folder, whatever is not a file, a folder or a symbolic link,
// names that come twice, and sources that are too large. After an error the
// content of the folder is of no use.
func Unpack(ctx context.Context, r io.Reader, folder string) error {
	return unpack(ctx, r, folder, bounds{bytes: largestSource, files: mostFiles})
}

func unpack(ctx context.Context, r io.Reader, folder string, most bounds) error {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return springtide.Errorf(springtide.Internal, "unpack the source: %w", err)
	}
	defer root.Close()
	plain, err := decompress(r)
	if err != nil {
		return brokenSource(err)
	}
	x := newExtractor(root)
	x.most, x.bounded = most, true
	if err := x.extract(ctx, plain); err != nil {
		if _, told := errors.AsType[*springtide.Error](err); told || ctx.Err() != nil {
			return err
		}
		if full := noSpace(folder, err); full != nil {
			return full
		}
		return brokenSource(err)
	}
	if err := refuseLeaving(ctx, x.links); err != nil {
		return err
	}
	if len(x.kinds) == 0 {
		return springtide.Errorf(springtide.Invalid, "the source is empty")
	}
	return nil
}

// decompress takes gzip and plain tar alike.
func decompress(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 256<<10)
	magic, err := buffered.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic) != "\x1f\x8b" {
		return buffered, nil
	}
	return gzip.NewReader(buffered)
}

func brokenSource(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return springtide.Errorf(springtide.Invalid, "the source did not arrive whole: %w", err).WithHint("send it again")
	}
	return springtide.Errorf(springtide.Invalid, "the source cannot be unpacked: %w", err)
}
