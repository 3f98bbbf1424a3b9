package mail

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"mime"
	netmail "net/mail"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

const (
	// mostCaught and mostCaughtBytes are how much is kept of an environment's mail;
	// the oldest goes first.
	mostCaught      = 1000
	mostCaughtBytes = 200 << 20
	// messageLimit is how long a mail to the catcher is at most, in bytes.
	messageLimit = 25 << 20
)

// CatcherOptions are what a Catcher needs.
type CatcherOptions struct {
	// Folder is where mails are kept, in a folder of each app and environment.
	Folder string
	// Verify tells whether a token is one of the environment's instances. nil:
	// nobody may send over the network.
	Verify func(id springtide.EnvironmentID, token string) bool
	// Logger is told of mails that could not be kept. nil: nobody is.
	Logger *slog.Logger
}

// Catcher keeps mails instead of sending them. Each is a file that mail programs
// can read, with the envelope in two headers before the rest.
type Catcher struct {
	options CatcherOptions
	mutex   sync.Mutex
}

// Caught is a mail that was kept.
type Caught struct {
	// Name is what to read it by.
	Name    string    `json:"name"`
	Time    time.Time `json:"time"`
	From    string    `json:"from"`
	To      []string  `json:"to"`
	Subject string    `json:"subject"`
	// Size is in bytes.
	Size int64 `json:"size"`
}

// The headers that tell the envelope, blind copies included.
const (
	envelopeFrom = "X-Envelope-From"
	envelopeTo   = "X-Envelope-To"
)

// nameLayout makes names that sort by time.
const nameLayout = "20060102T150405.000000000Z"

// NewCatcher makes a Catcher.
func NewCatcher(options CatcherOptions) *Catcher {
	options.Logger = cmp.Or(options.Logger, slog.New(slog.DiscardHandler))
	return &Catcher{options: options}
}

func (c *Catcher) folder(id springtide.EnvironmentID) string {
	return filepath.Join(c.options.Folder, string(id.App), string(id.Name))
}

// Keep keeps a mail, durably, and gives the name to read it by.
func (c *Catcher) Keep(id springtide.EnvironmentID, from string, to []string, message io.WriterTo) (name string, err error) {
	folder := c.folder(id)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(folder, ".*")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	fmt.Fprintf(file, "%s: <%s>\r\n%s: <%s>\r\n", envelopeFrom, from, envelopeTo, strings.Join(to, ">,\r\n <"))
	if _, err := message.WriteTo(file); err != nil {
		return "", err
	}
	if err := file.Sync(); err != nil {
		return "", err
	}
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err := makeRoom(folder, info.Size()); err != nil {
		return "", err
	}
	name = time.Now().UTC().Format(nameLayout) + "-" + rand.Text()[:6] + ".eml"
	if err := os.Rename(file.Name(), filepath.Join(folder, name)); err != nil {
		return "", err
	}
	return name, durable.SyncFolder(folder)
}

// makeRoom removes the oldest until there is room for one more.
func makeRoom(folder string, size int64) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	left, room := mostCaught-1, mostCaughtBytes-size
	for _, entry := range slices.Backward(entries) { // the newest first
		info, err := entry.Info()
		if err != nil {
			continue // it was being written, and is there by now
		}
		if entry.Name()[0] == '.' && time.Since(info.ModTime()) < time.Hour {
			continue
		}
		left--
		room -= info.Size()
		if left >= 0 && room >= 0 {
			continue
		}
		if err := os.Remove(filepath.Join(folder, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

// List gives the mails that are kept of an environment, the newest first.
func (c *Catcher) List(id springtide.EnvironmentID) ([]Caught, error) {
	entries, err := os.ReadDir(c.folder(id))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []Caught
	for _, entry := range slices.Backward(entries) {
		at, err := time.Parse(nameLayout, strings.SplitN(entry.Name(), "-", 2)[0])
		if err != nil {
			continue // it is being written
		}
		one := Caught{Name: entry.Name(), Time: at, To: []string{}}
		if err := c.describe(id, &one); err == nil {
			all = append(all, one)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return all, nil
}

// describe reads the head of a mail. What cannot be read is left empty: apps may
// send anything.
func (c *Catcher) describe(id springtide.EnvironmentID, one *Caught) error {
	file, err := os.Open(filepath.Join(c.folder(id), one.Name))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	one.Size = info.Size()
	message, err := netmail.ReadMessage(bufio.NewReader(io.LimitReader(file, 256<<10)))
	if err != nil {
		one.Subject = "(its head cannot be read)"
		return nil
	}
	one.From = strings.Trim(message.Header.Get(envelopeFrom), "<>")
	for to := range strings.SplitSeq(message.Header.Get(envelopeTo), ",") {
		one.To = append(one.To, strings.Trim(to, "<> "))
	}
	one.Subject = message.Header.Get("Subject")
	if decoded, err := new(mime.WordDecoder).DecodeHeader(one.Subject); err == nil {
		one.Subject = decoded
	}
	return nil
}

// Read gives a mail as it was kept. If there is none of the name, that is
// NotFound.
func (c *Catcher) Read(id springtide.EnvironmentID, name string) (io.ReadCloser, error) {
	missing := springtide.Errorf(springtide.NotFound, "there is no mail %q of %s", name, id)
	if name == "" || name != filepath.Base(name) || name[0] == '.' {
		return nil, missing
	}
	file, err := os.Open(filepath.Join(c.folder(id), name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, missing
	}
	return file, err
}

// Forget deletes the mails of an environment.
func (c *Catcher) Forget(id springtide.EnvironmentID) error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return os.RemoveAll(c.folder(id))
}
