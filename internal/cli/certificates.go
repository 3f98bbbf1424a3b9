package cli

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) certificates() *cobra.Command {
	list := runs(func(ctx context.Context, _ []string) error {
		c, err := s.platform()
		if err != nil {
			return err
		}
		all, err := c.Certificates(ctx)
		if err != nil {
			return err
		}
		return s.printCertificates(all)
	})
	command := &cobra.Command{
		Use: "certificates", Short: "Show or change what host names are served with", Args: cobra.NoArgs, RunE: list,
		Long: `Show or change what host names are served with: a file of one's own, a certificate of an
ACME server (tide serve --acme-email), or one of the platform's own authority.`,
	}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List the certificates of all apps", Args: cobra.NoArgs, RunE: list},
		s.addCertificate(),
		&cobra.Command{
			Use: "rm DOMAIN", Short: "Forget a certificate of one's own", Args: cobra.ExactArgs(1),
			RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
				if err := c.RemoveCertificate(ctx, id, args[0]); err != nil {
					return err
				}
				return s.printResult("the certificate of "+args[0], "forgotten")
			}),
		},
		&cobra.Command{
			Use: "renew DOMAIN", Short: "Ask the ACME server for a certificate now", Args: cobra.ExactArgs(1),
			RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
				if err := c.RenewCertificate(ctx, id, args[0]); err != nil {
					return err
				}
				return s.printResult("the certificate of "+args[0], "new")
			}),
		},
	)
	return command
}

func (s *session) addCertificate() *cobra.Command {
	var chain, key string
	command := &cobra.Command{
		Use: "add --chain FILE --key FILE DOMAIN...", Short: "Serve host names of an app with a certificate of one's own", Args: cobra.MinimumNArgs(1),
		Long: `Serve host names of an app with a certificate of one's own, both files in PEM. One that
does not match the names or the key, or has run out, is refused, and what was served
before stays.`,
		Example: "  tide certificates add --chain fullchain.pem --key privkey.pem quiz.example.com",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			file := api.CertificateFile{Names: args}
			for path, into := range map[string]*string{chain: &file.Chain, key: &file.Key} {
				text, err := os.ReadFile(path)
				if err != nil {
					return springtide.Errorf(springtide.Invalid, "%w", err)
				}
				*into = string(text)
			}
			all, err := c.AddCertificate(ctx, id, file)
			if err != nil {
				return err
			}
			return s.printCertificates(slices.DeleteFunc(all, func(v api.Certificate) bool { return v.Environment != id }))
		}),
	}
	command.Flags().StringVar(&chain, "chain", "", "the certificates, that of the site first")
	command.Flags().StringVar(&key, "key", "", "the private key")
	for _, flag := range []string{"chain", "key"} {
		if err := command.MarkFlagRequired(flag); err != nil {
			panic(err) // the flag is added above
		}
	}
	return command
}

func (s *session) printCertificates(all []api.Certificate) error {
	day := func(at time.Time) string {
		if at.IsZero() {
			return "-"
		}
		return at.UTC().Format(time.DateOnly)
	}
	return printList(s, all, "no app is served", "NAME|ENVIRONMENT|ISSUER|NOT AFTER|NEXT RENEWAL|", func(v api.Certificate) []string {
		note := v.Trouble
		if note == "" && v.Failure != "" {
			note = "failed " + age(s.now(), v.Failed) + " ago: " + v.Failure
		}
		return []string{v.Name, v.Environment.String(), v.Issuer, day(v.NotAfter), day(v.Renewal), note}
	})
}

// certificateRows are those of `tide status`: how many there are, and each that
// somebody should see to.
func certificateRows(all []api.Certificate) [][]string {
	trouble := slices.DeleteFunc(slices.Clone(all), func(v api.Certificate) bool { return v.Trouble == "" })
	rows := [][]string{{"certificates", fmt.Sprintf("%d names, %d to see to", len(all), len(trouble))}}
	for _, v := range trouble {
		rows = append(rows, []string{"", v.Name + ": " + v.Trouble})
	}
	return rows
}
