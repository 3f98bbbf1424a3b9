package moving

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"time"

	"github.com/springtide/springtide"
)

// The entries of a file, in this order, and how large the documents may be.
const (
	inventoryEntry = "inventory.json"
	secretsEntry   = "secrets.json"
	blobFolder     = "blobs/sha256/"
	largestText    = 64 << 20
)

// Secret is one version of a secret, in the clear.
type Secret struct {
	Name    springtide.SecretName `json:"name"`
	Version int                   `json:"version"`
	Created time.Time             `json:"created"`
	// Value is nil where the secret was unset.
	Value []byte `json:"value"`
}

// Secrets are those of one environment.
type Secrets struct {
	Environment springtide.EnvironmentID `json:"environment"`
	Versions    []Secret                 `json:"versions"`
}

// Write writes a file; open gives the blobs.
func Write(w io.Writer, inventory Inventory, secrets []Secrets, open func(springtide.Digest) (io.ReadSeekCloser, error)) error {
	archive := tar.NewWriter(w)
	for _, document := range []struct {
		name  string
		value any
	}{{inventoryEntry, inventory}, {secretsEntry, secrets}} {
		text, err := json.Marshal(document.value)
		if err != nil {
			return err
		}
		if err := archive.WriteHeader(header(document.name, int64(len(text)))); err != nil {
			return err
		}
		if _, err := archive.Write(text); err != nil {
			return err
		}
	}
	for _, blob := range inventory.Blobs {
		if err := writeBlob(archive, blob, open); err != nil {
			return err
		}
	}
	return archive.Close()
}

func header(name string, size int64) *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600}
}

func writeBlob(archive *tar.Writer, blob Blob, open func(springtide.Digest) (io.ReadSeekCloser, error)) error {
	content, err := open(blob.Digest)
	if err != nil {
		return err
	}
	defer content.Close()
	if err := archive.WriteHeader(header(blobFolder+hexOf(blob.Digest), blob.Size)); err != nil {
		return err
	}
	_, err = io.CopyN(archive, content, blob.Size)
	return err
}

func hexOf(digest springtide.Digest) string { return string(digest[len("sha256:"):]) }

// Reader reads a file.
type Reader struct {
	source  io.Reader
	archive *tar.Reader
	blobs   map[string]Blob // by entry
}

// Open reads a file as far as its inventory. What is no file of this format is of
// kind Invalid.
func Open(r io.Reader) (*Reader, Inventory, error) {
	reader := &Reader{source: r, archive: tar.NewReader(r), blobs: map[string]Blob{}}
	var inventory Inventory
	if err := reader.document(inventoryEntry, &inventory); err != nil {
		return nil, Inventory{}, err
	}
	if err := inventory.Validate(); err != nil {
		return nil, Inventory{}, err
	}
	for _, blob := range inventory.Blobs {
		reader.blobs[blobFolder+hexOf(blob.Digest)] = blob
	}
	return reader, inventory, nil
}

// document reads the next entry, which has to be of that name.
func (r *Reader) document(name string, into any) error {
	next, err := r.archive.Next()
	if err != nil {
		return brokenOff(err)
	}
	if next.Name != name || next.Size > largestText {
		return damaged(fmt.Sprintf("%.60q is where %s should be", next.Name, name))
	}
	text, err := io.ReadAll(r.archive)
	if err != nil {
		return brokenOff(err)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return damaged(name + ": " + err.Error())
	}
	return nil
}

// Secrets reads what comes after the inventory.
func (r *Reader) Secrets() (map[springtide.EnvironmentID][]Secret, error) {
	var all []Secrets
	if err := r.document(secretsEntry, &all); err != nil {
		return nil, err
	}
	secrets := map[springtide.EnvironmentID][]Secret{}
	for _, one := range all {
		secrets[one.Environment] = one.Versions
	}
	return secrets, nil
}

// Blobs calls take with each blob, and returns without an error only when all have
// come and the file is read to its end.
func (r *Reader) Blobs(take func(blob Blob, content io.Reader) error) error {
	for {
		next, err := r.archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return brokenOff(err)
		}
		blob, wanted := r.blobs[next.Name]
		if !wanted || blob.Size != next.Size {
			return damaged(fmt.Sprintf("%.100q does not belong to it", path.Clean(next.Name)))
		}
		delete(r.blobs, next.Name)
		if err := take(blob, r.archive); errors.Is(err, io.ErrUnexpectedEOF) {
			return brokenOff(err)
		} else if err != nil {
			return err
		}
	}
	if len(r.blobs) > 0 {
		return damaged(fmt.Sprintf("it lacks %d parts of its artifacts", len(r.blobs)))
	}
	if _, err := io.Copy(io.Discard, r.source); err != nil { // whether it is whole shows at its end
		return brokenOff(err)
	}
	return nil
}

// brokenOff keeps an error that says more than that the file ends.
func brokenOff(err error) error {
	if _, told := errors.AsType[*springtide.Error](err); told {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return damaged("it breaks off")
	}
	return damaged(err.Error())
}
