package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	sealing "filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/moving"
)

func (s *session) export() *cobra.Command {
	var recipients []string
	var passphrase, output string
	command := &cobra.Command{
		Use:   "export [APP...]",
		Short: "Write apps with all that is theirs to an encrypted file, for another platform",
		Long: `Write apps with all that is theirs to an encrypted file, for another platform: their
environments, releases with artifacts, config, secrets and what else was set. Without APP
all apps. What services and shared files hold moves by backups.`,
		Example: "  tide export quiz --to age1… --output quiz.tide",
		RunE: runs(func(ctx context.Context, args []string) error {
			if output == "" && isTerminal(s.stdout) {
				return springtide.Errorf(springtide.Invalid, "an export is no text to be shown").WithHint("name a file with --output")
			}
			c, err := s.platform()
			if err != nil {
				return err
			}
			if (passphrase == "") == (len(recipients) == 0) {
				return springtide.Errorf(springtide.Invalid, "say who may read the export: --to, or --passphrase-file").
					WithHint("age-keygen makes a key and prints its recipient, like age1…")
			}
			written := func(w io.Writer) error {
				if passphrase != "" {
					return s.exportByPassphrase(ctx, w, args, passphrase)
				}
				sealed, err := c.Export(ctx, appNames(args), recipients)
				if err != nil {
					return err
				}
				defer sealed.Close()
				return copied(w, sealed)
			}
			if output == "" {
				return written(s.stdout)
			}
			size, err := writeWhole(output, written)
			if err != nil {
				return err
			}
			return s.printResult(output, fmt.Sprintf("written, %.1f MiB", float64(size)/(1<<20)))
		}),
	}
	command.Flags().StringArrayVar(&recipients, "to", nil, "an age recipient, like age1…; may be given several times")
	command.Flags().StringVar(&passphrase, "passphrase-file", "", "a file with the passphrase to encrypt with; - is stdin")
	command.Flags().StringVarP(&output, "output", "o", "", "the file to write; default: stdout")
	return command
}

// exportByPassphrase has the platform encrypt to a key of this moment: deriving one
// from a passphrase takes memory that a platform should not spend.
func (s *session) exportByPassphrase(ctx context.Context, w io.Writer, args []string, file string) error {
	phrase, err := s.passphrase(file)
	if err != nil {
		return err
	}
	recipient, err := sealing.NewScryptRecipient(phrase)
	if err != nil {
		return err
	}
	key, err := sealing.GenerateX25519Identity()
	if err != nil {
		return err
	}
	sealed, err := s.client.Export(ctx, appNames(args), []string{key.Recipient().String()})
	if err != nil {
		return err
	}
	defer sealed.Close()
	plain, err := moving.Unseal(sealed, key)
	if err != nil {
		return err
	}
	again, err := moving.Seal(w, recipient)
	if err != nil {
		return err
	}
	return errors.Join(copied(again, plain), again.Close())
}

func copied(w io.Writer, r io.Reader) error {
	if _, err := io.Copy(w, r); err != nil {
		return springtide.Errorf(springtide.Unavailable, "the export broke off: %w", err).WithHint("try again; the platform's log may say why")
	}
	return nil
}

// writeWhole writes a file that has its name only when it is whole, and is read by
// its owner alone. It gives the size.
func writeWhole(path string, write func(io.Writer) error) (size int64, err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return 0, springtide.Errorf(springtide.Invalid, "%s cannot be written: %w", path, err)
	}
	defer os.Remove(file.Name()) // unless it was renamed
	err = write(file)
	if err == nil {
		size, err = file.Seek(0, io.SeekCurrent)
	}
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return 0, err
	}
	return size, os.Rename(file.Name(), path)
}

// passphrase reads the first line of a file.
func (s *session) passphrase(file string) (string, error) {
	read := s.stdin
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return "", springtide.Errorf(springtide.Invalid, "--passphrase-file: %w", err)
		}
		defer opened.Close()
		read = opened
	}
	text, err := io.ReadAll(io.LimitReader(read, 4<<10))
	phrase, _, _ := strings.Cut(string(text), "\n")
	if phrase = strings.TrimRight(phrase, "\r"); phrase == "" && err == nil {
		return "", springtide.Errorf(springtide.Invalid, "the passphrase is empty")
	}
	return phrase, err
}

// exportKeys say by what a file is opened.
type exportKeys struct{ identity, passphrase string }

func (k *exportKeys) add(command *cobra.Command) {
	command.Flags().StringVar(&k.identity, "identity", "", "the file with the age key that an export was made for")
	command.Flags().StringVar(&k.passphrase, "passphrase-file", "", "a file with an export's passphrase; - is stdin")
}

// identities reads them.
func (s *session) identities(k exportKeys) ([]sealing.Identity, error) {
	if (k.identity == "") == (k.passphrase == "") {
		return nil, springtide.Errorf(springtide.Invalid, "say by what the export is opened: --identity, or --passphrase-file")
	}
	if k.passphrase != "" {
		phrase, err := s.passphrase(k.passphrase)
		if err != nil {
			return nil, err
		}
		identity, err := sealing.NewScryptIdentity(phrase)
		return []sealing.Identity{identity}, err
	}
	file, err := os.Open(k.identity)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "--identity: %w", err)
	}
	defer file.Close()
	identities, err := sealing.ParseIdentities(file)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%s holds no age key: %w", k.identity, err)
	}
	return identities, nil
}

// opened is a decrypted export. It remembers what is wrong with it, since who is
// sent it only sees that it breaks off.
type opened struct {
	file  *os.File
	plain io.Reader
	err   error
}

// Read implements io.Reader.
func (o *opened) Read(b []byte) (int, error) {
	n, err := o.plain.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		o.err = springtide.Errorf(springtide.Invalid, "%s is damaged: %w", o.file.Name(), err).WithHint("copy it again, or export again")
		return n, o.err
	}
	return n, err
}

// Close implements io.Closer.
func (o *opened) Close() error { return o.file.Close() }

func (s *session) openExport(path string, keys exportKeys) (*opened, error) {
	identities, err := s.identities(keys)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, springtide.Errorf(springtide.NotFound, "the export: %w", err)
	}
	plain, err := moving.Unseal(file, identities...)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &opened{file: file, plain: plain}, nil
}

// planned reads the beginning of an export, and asks what importing it would do.
func (s *session) planned(ctx context.Context, path string, apps []string, keys exportKeys) (moving.ImportPlan, error) {
	file, err := s.openExport(path, keys)
	if err != nil {
		return moving.ImportPlan{}, err
	}
	defer file.Close()
	_, inventory, err := moving.Open(file)
	if err != nil {
		return moving.ImportPlan{}, err
	}
	if inventory, err = inventory.Only(appNames(apps)); err != nil {
		return moving.ImportPlan{}, err
	}
	c, err := s.platform()
	if err != nil {
		return moving.ImportPlan{}, err
	}
	return c.PlanImport(ctx, inventory)
}

func (s *session) planImport(ctx context.Context, path string, apps []string, keys exportKeys) error {
	plan, err := s.planned(ctx, path, apps, keys)
	if err != nil {
		return err
	}
	if s.json {
		return s.printJSON(plan)
	}
	return s.printSteps(plan)
}

func (s *session) printSteps(plan moving.ImportPlan) error {
	for _, step := range plan.Steps {
		what := fmt.Sprintf("%s: %d releases, %d secrets", step.Environment, step.Releases, step.Secrets)
		if step.Release != 0 {
			what += ", " + version(step.Release) + " is rolled out"
		}
		switch step.Action {
		case moving.Make:
			what = s.colours.green("+ " + what)
		case moving.Replace:
			what = "~ " + what + " (it never served here: its settings and secrets are replaced)"
		case moving.Keep:
			what = fmt.Sprintf("= %s: it is here already", step.Environment)
		default:
			what = s.colours.red(fmt.Sprintf("! %s: %s", step.Environment, oneLine(step.Reason)))
		}
		if err := s.print("%s", what); err != nil {
			return err
		}
		for _, note := range step.Notes {
			if err := s.print("    %s", oneLine(note)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *session) importApps() *cobra.Command {
	var keys exportKeys
	var dry bool
	command := &cobra.Command{
		Use:   "import FILE [APP...]",
		Short: "Take in apps that `tide export` wrote, and roll them out",
		Long: `Take in apps that tide export wrote, and roll them out. Each app comes whole or not at
all; an import that was cut off is run again. tide plan FILE shows what it would do.`,
		Example: "  tide import quiz.tide --identity key.txt",
		Args:    cobra.MinimumNArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			if dry {
				return s.planImport(ctx, args[0], args[1:], keys)
			}
			if keys.passphrase == "-" { // it is read twice
				return springtide.Errorf(springtide.Invalid, "the passphrase cannot be read from stdin").WithHint("put it into a file that only you can read")
			}
			plan, err := s.planned(ctx, args[0], args[1:], keys)
			if err == nil {
				err = plan.Err()
			}
			if err != nil {
				return err
			}
			file, err := s.openExport(args[0], keys)
			if err != nil {
				return err
			}
			defer file.Close()
			done, err := s.client.Import(ctx, appNames(args[1:]), file)
			if file.err != nil {
				return file.err
			}
			if err != nil {
				return err
			}
			return s.followImport(ctx, done)
		}),
	}
	command.Flags().BoolVar(&dry, "dry-run", false, "only show what it would do, like tide plan FILE")
	keys.add(command)
	return command
}

// followImport shows the rollouts of what was taken in, one after the other; the
// first error is given when all are over.
func (s *session) followImport(ctx context.Context, done moving.ImportPlan) error {
	show := s.printSteps
	if s.json {
		show = func(done moving.ImportPlan) error { return s.printJSONLine(done) }
	}
	if err := show(done); err != nil {
		return err
	}
	var first error
	for _, step := range done.Steps {
		if step.Deploy == "" {
			continue
		}
		deploy, err := s.client.DeployStatus(ctx, api.DeployID(step.Deploy))
		if err == nil {
			err = s.goesOn(ctx, s.followDeploy(ctx, s.client, deploy))
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func appNames(args []string) []springtide.AppName {
	apps := []springtide.AppName{}
	for _, arg := range args {
		apps = append(apps, springtide.AppName(arg))
	}
	return apps
}
