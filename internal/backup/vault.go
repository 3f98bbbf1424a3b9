package backup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"log/slog"
	"path"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/springtide/springtide"
)

// manifestLimit bounds a manifest, in bytes.
const manifestLimit = 64 << 20

// vault is a target on which everything is sealed and has its place.
type vault struct {
	target     Target
	platform   string
	recipients []age.Recipient
	identities []age.Identity
	logger     *slog.Logger
}

func (v *vault) folder(of Subject) string { return path.Join(v.platform, of.path()) }

func (v *vault) manifestName(of Subject, id string) string {
	return path.Join(v.folder(of), "manifests", id)
}

func (v *vault) objectName(of Subject, id, name string) string {
	return path.Join(v.folder(of), "objects", id, name)
}

func (v *vault) changesFolder(of Subject, lineage string) string {
	return path.Join(v.folder(of), "changes", lineage) + "/"
}

// put seals what produce writes, puts it on the target and reads it back. What
// is not whole, or comes back otherwise, is not left there.
func (v *vault) put(ctx context.Context, name string, produce func(io.Writer) error) (Entry, error) {
	entry := Entry{Name: name}
	if err := checkName(name); err != nil {
		return entry, err
	}
	reader, writer := io.Pipe()
	sum := &summer{Hash: sha256.New()}
	produced := make(chan error, 1)
	go nicely(func() {
		err := v.sealInto(io.MultiWriter(writer, sum), &entry, produce)
		produced <- err
		writer.CloseWithError(err)
	})
	err := v.target.Put(ctx, name, reader)
	select {
	case failed := <-produced:
		err = cmp.Or(failed, err)
	default: // the target has ended first
		err = cmp.Or(err, error(springtide.Errorf(springtide.Failed, "the target has not read all of %s", name)))
		reader.CloseWithError(err)
		err = cmp.Or(err, <-produced) // which ends with that error
	}
	if err != nil {
		return entry, err
	}
	entry.Size, entry.SHA256 = sum.size, hex.EncodeToString(sum.Sum(nil))
	if err := v.check(ctx, entry); err != nil {
		if ctx.Err() == nil && springtide.KindOf(err) != springtide.Unavailable {
			err = errors.Join(err, v.target.Delete(ctx, name))
		}
		return entry, err
	}
	return entry, nil
}

func (v *vault) sealInto(to io.Writer, entry *Entry, produce func(io.Writer) error) error {
	sealed, err := seal(to, entry.Name, v.recipients)
	if err != nil {
		return err
	}
	plain := &counter{Writer: sealed}
	if err := produce(plain); err != nil {
		return err
	}
	entry.Plain = plain.size
	return sealed.Close()
}

// summer is a hash that knows of how much.
type summer struct {
	hash.Hash
	size int64
}

func (s *summer) Write(p []byte) (int, error) {
	s.size += int64(len(p))
	return s.Hash.Write(p)
}

type counter struct {
	io.Writer
	size int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.size += int64(n)
	return n, err
}

// check reads a sealed object and compares it with its entry.
func (v *vault) check(ctx context.Context, entry Entry) error {
	from, err := v.fetch(ctx, entry)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(io.Discard, from)
	return err
}

// fetch reads a sealed object. The read that would be the last fails if it is
// not what the entry says.
func (v *vault) fetch(ctx context.Context, entry Entry) (io.ReadCloser, error) {
	from, err := v.target.Get(ctx, entry.Name)
	if springtide.KindOf(err) == springtide.NotFound {
		return nil, springtide.Errorf(springtide.Failed, "the target has lost %s", entry.Name)
	}
	if err != nil {
		return nil, err
	}
	return &checked{from: stopped{ctx, from}, closer: from, entry: entry, sum: summer{Hash: sha256.New()}}, nil
}

// checked reads an object that must be as its entry says.
type checked struct {
	from   io.Reader
	closer io.Closer
	entry  Entry
	sum    summer
}

func (c *checked) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	_, _ = c.sum.Write(p[:n])
	if errors.Is(err, io.EOF) && (c.sum.size != c.entry.Size || hex.EncodeToString(c.sum.Sum(nil)) != c.entry.SHA256) {
		err = springtide.Errorf(springtide.Failed, "the target gives %s back as %d other bytes; it was put there with %d", c.entry.Name, c.sum.size, c.entry.Size)
	}
	return n, err
}

func (c *checked) Close() error { return c.closer.Close() }

// open reads what is in an object of a backup. Only who has read to the end
// knows that it was all as it had been put there.
func (v *vault) open(ctx context.Context, entry Entry) (io.ReadCloser, error) {
	sealed, err := v.fetch(ctx, entry)
	if err != nil {
		return nil, err
	}
	plain, err := unseal(sealed, entry.Name, v.identities)
	if err != nil {
		sealed.Close()
		return nil, err
	}
	return both{plain, plain, sealed}, nil
}

// openNamed reads what is in an object that no manifest knows: the seal alone
// says that it is whole, and that it is the one that was asked for.
func (v *vault) openNamed(ctx context.Context, name string) (io.ReadCloser, error) {
	sealed, err := v.target.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	plain, err := unseal(stopped{ctx, sealed}, name, v.identities)
	if err != nil {
		sealed.Close()
		return nil, err
	}
	return both{plain, plain, sealed}, nil
}

type both struct {
	io.Reader
	first, second io.Closer
}

func (b both) Close() error { return errors.Join(b.first.Close(), b.second.Close()) }

// record writes a backup's manifest: from here on the backup exists.
func (v *vault) record(ctx context.Context, m Manifest) error {
	m.Format = manifestFormat
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = v.put(ctx, v.manifestName(m.Subject, m.ID), func(to io.Writer) error {
		_, err := to.Write(data)
		return err
	})
	return err
}

// manifest reads one.
func (v *vault) manifest(ctx context.Context, of Subject, id string) (Manifest, error) {
	from, err := v.openNamed(ctx, v.manifestName(of, id))
	if err != nil {
		return Manifest{}, err
	}
	defer from.Close()
	var data bytes.Buffer
	if _, err := io.Copy(&data, io.LimitReader(from, manifestLimit)); err != nil {
		return Manifest{}, err
	}
	return decodeManifest(data.Bytes(), of, id)
}

// manifests lists the backups of a subject, the oldest first. One whose manifest
// is damaged is none, but its name is in all: it may be mended.
func (v *vault) manifests(ctx context.Context, of Subject) (readable []Manifest, all []string, err error) {
	objects, err := v.target.List(ctx, path.Join(v.folder(of), "manifests")+"/")
	if err != nil {
		return nil, nil, err
	}
	for _, object := range objects {
		id := path.Base(object.Name)
		all = append(all, id)
		m, err := v.manifest(ctx, of, id)
		switch springtide.KindOf(err) {
		case "":
			readable = append(readable, m)
		case springtide.Failed, springtide.Conflict:
			v.logger.Warn("a backup's manifest is damaged", "of", of, "id", id, "error", err)
		case springtide.NotFound: // deleted meanwhile
		default:
			return nil, nil, err
		}
	}
	slices.SortFunc(readable, func(a, b Manifest) int { return strings.Compare(a.ID, b.ID) })
	return readable, all, nil
}

// forget removes a backup: first it is none any more, then its objects go.
func (v *vault) forget(ctx context.Context, m Manifest) error {
	if err := v.target.Delete(ctx, v.manifestName(m.Subject, m.ID)); err != nil {
		return err
	}
	return v.sweep(ctx, m.Subject, m.ID)
}

// sweep removes all objects of a backup that does not exist.
func (v *vault) sweep(ctx context.Context, of Subject, id string) error {
	return v.empty(ctx, path.Join(v.folder(of), "objects", id)+"/")
}

func (v *vault) empty(ctx context.Context, prefix string) error {
	objects, err := v.target.List(ctx, prefix)
	if err != nil {
		return err
	}
	for _, object := range objects {
		if err := v.target.Delete(ctx, object.Name); err != nil {
			return err
		}
	}
	return nil
}

// subjects lists all that there are backups of on the target.
func (v *vault) subjects(ctx context.Context) ([]Subject, error) {
	objects, err := v.target.List(ctx, v.platform+"/")
	if err != nil {
		return nil, err
	}
	var all []Subject
	for _, object := range objects {
		parts := strings.Split(strings.TrimPrefix(object.Name, v.platform+"/"), "/")
		if len(parts) != 5 || parts[3] != "manifests" {
			continue
		}
		of := Subject{springtide.EnvironmentID{App: springtide.AppName(parts[0]), Name: springtide.EnvironmentName(parts[1])}, parts[2]}
		if parts[0] == "_" {
			of.Environment = springtide.EnvironmentID{}
		}
		if !slices.Contains(all, of) {
			all = append(all, of)
		}
	}
	return all, nil
}
