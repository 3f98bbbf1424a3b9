package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
)

// RestoreOptions say what platform is to be brought back.
type RestoreOptions struct {
	// Data is the data folder, which is empty.
	Data string
	// From is the URL of the backups, Key what `tide recovery-key` showed.
	From, Key string
	Progress  func(string)
}

// Restored is one thing that was brought back, or not.
type Restored struct {
	Of      string    `json:"of"`
	Taken   time.Time `json:"taken"`
	Problem string    `json:"problem,omitempty"`
}

// backupVariables are told of in the help of commands that reach a target.
const backupVariables = `A target is file:///folder, sftp://user@host/folder or
s3://bucket/prefix?endpoint=https://host. For SFTP the file of the private key is in
TIDE_BACKUP_KEY, that of the hosts' keys in TIDE_BACKUP_KNOWN_HOSTS; for S3 the
credentials are in TIDE_BACKUP_ACCESS_KEY and TIDE_BACKUP_SECRET_KEY.`

func (s *session) restorePlatform() *cobra.Command {
	var options RestoreOptions
	command := &cobra.Command{
		Use: "restore --from TARGET", Short: "Bring a whole platform back onto an empty machine", Args: cobra.NoArgs,
		Long: `Bring a whole platform back into an empty data folder: its state, and of every app the
databases and files as of their newest backups. The recovery key, which
` + "`tide recovery-key`" + ` showed, is read from stdin. It can be repeated until all is back;
then start it: tide serve.

` + backupVariables,
		Example: "  tide restore --from sftp://backup@example.com/tide < recovery-key",
		RunE: runs(func(ctx context.Context, _ []string) (err error) {
			if options.Data, err = s.dataFolder(); err != nil {
				return err
			}
			if options.Key, err = s.readLine(); err != nil {
				return err
			}
			options.Progress = func(line string) { s.tell("%s", line) }
			restored, err := s.program.Restore(ctx, options)
			if err != nil {
				return err
			}
			return s.printRestored(restored)
		}),
	}
	command.Flags().StringVar(&options.From, "from", "", "where its backups are")
	if err := command.MarkFlagRequired("from"); err != nil {
		panic(err) // the flag is added above
	}
	return command
}

func (s *session) printRestored(restored []Restored) error {
	err := printList(s, restored, "it had no databases and no shared files", "WHAT|AS OF|", func(r Restored) []string {
		return []string{r.Of, r.Taken.UTC().Format(time.RFC3339), r.Problem}
	})
	for _, r := range restored {
		if r.Problem != "" && err == nil {
			err = springtide.Errorf(springtide.Failed, "not all was brought back").WithHint("mend what is said, and do it again: what is back stays")
		}
	}
	return err
}
