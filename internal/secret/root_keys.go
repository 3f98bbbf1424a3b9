package secret

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// rootKeyFile is the name of the file in the data folder.
const rootKeyFile = "root-key"

// rootKeys is what the file of the root key has in it, a line each.
type rootKeys struct {
	// backup opens backups.
	backup *age.X25519Identity
	// roots are the root key, and those before it that something may still be
	// sealed with.
	roots []key
}

func newRootKeys() (rootKeys, error) {
	backup, err := age.GenerateX25519Identity()
	return rootKeys{backup: backup, roots: []key{newKey()}}, err
}

func (r rootKeys) lines() []string {
	lines := []string{r.backup.String()}
	for _, root := range r.roots {
		lines = append(lines, base64.StdEncoding.EncodeToString(root[:]))
	}
	return lines
}

// parseRootKeys reads lines as they are in the file.
func parseRootKeys(lines []string) (r rootKeys, err error) {
	for _, line := range lines {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "AGE-SECRET-KEY-"):
			if r.backup, err = age.ParseX25519Identity(line); err != nil {
				return rootKeys{}, err
			}
		default:
			bytes, err := base64.StdEncoding.DecodeString(line)
			if err != nil || len(bytes) != len(key{}) {
				return rootKeys{}, errors.New("a line is no key")
			}
			r.roots = append(r.roots, key(bytes))
		}
	}
	if r.backup == nil || len(r.roots) == 0 {
		return rootKeys{}, errors.New("it does not have both kinds of keys")
	}
	return r, nil
}

// readRootKeys gives fs.ErrNotExist if there is no file.
func readRootKeys(folder string) (rootKeys, error) {
	path := filepath.Join(folder, rootKeyFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return rootKeys{}, err
	}
	var r rootKeys
	if err == nil {
		r, err = parseRootKeys(strings.Split(string(data), "\n"))
	}
	if err == nil {
		err = os.Chmod(path, 0o600) // whoever copied it here may have been careless
	}
	if err != nil {
		return rootKeys{}, springtide.Errorf(springtide.Failed, "the root key %s cannot be read: %w", path, err).
			WithHint("bring it back with the recovery key")
	}
	return r, nil
}

func (r rootKeys) write(folder string) error {
	text := "# Whoever has this file can read everything that this platform keeps secret.\n" + strings.Join(r.lines(), "\n") + "\n"
	return durable.WriteFile(filepath.Join(folder, rootKeyFile), []byte(text), 0o600)
}
