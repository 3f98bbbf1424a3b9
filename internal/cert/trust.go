package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/durable"
)

// Trust installs an authority where the programs of this machine look for whom
// to trust: the system's store (curl, Go, Python, …) and the NSS databases of
// the user (Firefox, Chrome). Its zero value is the machine as it is.
type Trust struct {
	// Root is the folder that the system's paths are under; empty: /.
	Root string
	// Home is the user's folder; empty: the user's.
	Home string
	// DryRun says what would be done and does nothing.
	DryRun bool
	// PrintCommand is a command line that prints the authority in PEM, for the
	// hint to a user without the right to change the system's store.
	// Default: "tide trust --print".
	PrintCommand string
}

// systemStore is how a family of distributions keeps whom it trusts.
type systemStore struct {
	folder string
	update []string
}

func systemStores() []systemStore {
	return []systemStore{
		{"/usr/local/share/ca-certificates", []string{"update-ca-certificates"}}, // Debian
		{"/etc/pki/ca-trust/source/anchors", []string{"update-ca-trust"}},        // RHEL
	}
}

// Install makes the machine trust the authority. The report says, a line each,
// what was done and what could not be. Stores that have it already stay as they
// are. The error is that of the system's store; the user's databases are done
// all the same.
func (t Trust) Install(ctx context.Context, authority []byte) (report []string, err error) {
	certificate, err := parseCertificate(authority)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "the authority: %w", err)
	}
	system, err := t.installInSystem(ctx, certificate)
	return append(system, t.installInNSS(ctx, certificate)...), err
}

// Uninstall is the reverse of Install.
func (t Trust) Uninstall(ctx context.Context, authority []byte) (report []string, err error) {
	certificate, err := parseCertificate(authority)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "the authority: %w", err)
	}
	system, err := t.uninstallFromSystem(ctx, certificate)
	return append(system, t.uninstallFromNSS(ctx, certificate)...), err
}

func (t Trust) installInSystem(ctx context.Context, certificate *x509.Certificate) ([]string, error) {
	store, command, err := t.findSystemStore()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(store.folder, fileName(certificate))
	text := encodeCertificate(certificate)
	if present, err := os.ReadFile(t.under(path)); err == nil && bytes.Equal(present, text) {
		return []string{"system: " + path + " is there already"}, nil
	}
	if t.DryRun {
		return []string{"system: would write " + path, "system: would run " + strings.Join(store.update, " ")}, nil
	}
	if err := durable.WriteFile(t.under(path), text, 0o644); err != nil {
		return nil, denied(err, "%s | sudo tee %s > /dev/null && sudo %s", t.printCommand(), path, strings.Join(store.update, " "))
	}
	if err := run(ctx, nil, command, store.update[1:]...); err != nil {
		// Without the update the file has no effect; without the file, trying again
		// is not mistaken for having succeeded.
		return nil, errors.Join(err, os.Remove(t.under(path)))
	}
	return []string{"system: trusted by " + path}, nil
}

func (t Trust) uninstallFromSystem(ctx context.Context, certificate *x509.Certificate) ([]string, error) {
	store, command, err := t.findSystemStore()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(store.folder, fileName(certificate))
	if _, err := os.Stat(t.under(path)); errors.Is(err, fs.ErrNotExist) {
		return []string{"system: " + path + " is not there"}, nil
	}
	if t.DryRun {
		return []string{"system: would remove " + path, "system: would run " + strings.Join(store.update, " ")}, nil
	}
	if err := os.Remove(t.under(path)); err != nil {
		return nil, denied(err, "sudo rm %s && sudo %s", path, strings.Join(store.update, " "))
	}
	if err := run(ctx, nil, command, store.update[1:]...); err != nil {
		return nil, err
	}
	return []string{"system: removed " + path}, nil
}

// findSystemStore gives the store that this system has, and the path of its
// command.
func (t Trust) findSystemStore() (systemStore, string, error) {
	for _, store := range systemStores() {
		if info, err := os.Stat(t.under(store.folder)); err != nil || !info.IsDir() {
			continue
		}
		if command, ok := t.findCommand(store.update[0]); ok {
			return store, command, nil
		}
	}
	return systemStore{}, "", springtide.Errorf(springtide.Failed, "this system's store of trusted authorities is not known").
		WithHint("add by hand what this prints: %s", t.printCommand())
}

// findCommand looks where administrators' commands are, too: they are not in
// the PATH of ordinary users everywhere.
func (t Trust) findCommand(name string) (string, bool) {
	for _, folder := range []string{"/usr/sbin", "/sbin", "/usr/bin"} {
		path := t.under(filepath.Join(folder, name))
		if info, err := os.Stat(path); err == nil && info.Mode()&0o111 != 0 {
			return path, true
		}
	}
	if t.Root != "" {
		return "", false
	}
	path, err := exec.LookPath(name)
	return path, err == nil
}

func (t Trust) under(path string) string { return filepath.Join("/", t.Root, path) }

func (t Trust) printCommand() string {
	if t.PrintCommand == "" {
		return "tide trust --print"
	}
	return t.PrintCommand
}

// denied says which command would be allowed to do it.
func denied(err error, format string, args ...any) error {
	if !errors.Is(err, fs.ErrPermission) {
		return springtide.Errorf(springtide.Failed, "the system's store of trusted authorities: %w", err)
	}
	return springtide.Errorf(springtide.Denied, "the system's store of trusted authorities: %w", err).
		WithHint("run: "+format, args...)
}

// fileName is unique to the authority, so that those of several machines have
// room beside each other.
func fileName(certificate *x509.Certificate) string {
	return "springtide-" + strings.ToLower(strings.ReplaceAll(fingerprint(certificate), ":", ""))[:16] + ".crt"
}

// run runs a command and gives its output with the error.
func run(ctx context.Context, input []byte, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Stdin = bytes.NewReader(input)
	output, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	failed := springtide.Errorf(springtide.Failed, "%s: %w", filepath.Base(name), err)
	if text := strings.TrimSpace(string(output)); text != "" {
		failed.Lines = strings.Split(text, "\n")
		failed.Message = fmt.Sprintf("%s: %s", failed.Message, failed.Lines[len(failed.Lines)-1])
	}
	return failed
}
