// Package embedded holds the program tide-files, compressed, which `make` puts
// into its folder: it serves shared folders as S3. In the binary itself it
// would cost each process of the platform memory, used or not.
package embedded

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/springtide/springtide"
)

// The pattern fits README too, so that the package compiles without the program.
//
//go:embed [Rt]*
var embedded embed.FS

// Install puts the program into a folder, unless it is there, and gives its
// path, which is another one for each version; what other versions left there
// is removed. The error is of kind Internal if this binary was built without it.
func Install(folder string) (string, error) {
	packed, err := embedded.ReadFile("tide-files.gz")
	if err != nil {
		return "", springtide.Errorf(springtide.Internal, "this tide binary was built without its program for shared files").WithHint("build it with `make build`")
	}
	sum := sha256.Sum256(packed)
	path := filepath.Join(folder, "tide-files-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	others, err := filepath.Glob(filepath.Join(folder, "tide-files-*"))
	for _, other := range others {
		err = errors.Join(err, os.Remove(other))
	}
	if err != nil {
		return "", err
	}
	return path, unpack(packed, path)
}

// unpack writes the program, whole or not at all under its name.
func unpack(packed []byte, path string) error {
	program, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	temporary := path + ".new" // goes with the next version, if this is cut off
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, program)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
