package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/secret"
)

func (s *session) secrets() *cobra.Command {
	list := s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
		secrets, err := c.Secrets(ctx, id)
		if err != nil {
			return err
		}
		return s.printSecrets(id, secrets)
	})
	command := &cobra.Command{
		Use: "secrets", Short: "Show or change what only the app may read", Args: cobra.NoArgs, RunE: list,
		Long: `Show or change what only the app may read. Its instances find each secret in a variable
and in a file of $CREDENTIALS_DIRECTORY; no command shows it again. A change makes a
new release with it at once.`,
	}
	command.AddCommand(
		&cobra.Command{Use: "ls", Short: "List the secrets, without what they hold", Args: cobra.NoArgs, RunE: list},
		s.setSecrets(), s.unsetSecrets(), s.importSecrets(), s.exportSecrets(), s.secretSource(),
		&cobra.Command{
			Use: "rotate", Short: "Seal every key of the platform with a new root key", Args: cobra.NoArgs,
			RunE: runs(func(ctx context.Context, _ []string) error {
				c, err := s.platform()
				if err != nil {
					return err
				}
				if err := c.RotateRootKey(ctx); err != nil {
					return err
				}
				return s.printResult("root key", "rotated")
			}),
		},
	)
	return command
}

func (s *session) printSecrets(id springtide.EnvironmentID, secrets []api.Secret) error {
	return printList(s, secrets, fmt.Sprintf("%s has no secrets", id), "SECRET|VERSION|AGE|", func(v api.Secret) []string {
		note := ""
		if v.Version == 0 {
			note = "not set: tide secrets set " + string(v.Name)
		}
		return []string{string(v.Name), fmt.Sprint(v.Version), age(s.now(), v.Created), note}
	})
}

func (s *session) changeSecrets(ctx context.Context, c *client.Client, id springtide.EnvironmentID, change api.SecretsChange) error {
	secrets, err := c.ChangeSecrets(ctx, id, change)
	if err != nil {
		return err
	}
	return s.printSecrets(id, secrets)
}

func (s *session) setSecrets() *cobra.Command {
	return &cobra.Command{
		Use:   "set NAME | NAME=VALUE...",
		Short: "Set secrets; the value of NAME alone is read from stdin",
		Long: `Set secrets. The value of NAME alone is read from stdin, where no other user of this
machine and no history of a shell can see it. A value like vault://secret/quiz#key or
aws-sm://quiz#key refers to a secret elsewhere, which is asked for at each start.`,
		Example: "  pass show stripe | tide secrets set STRIPE_KEY",
		Args:    cobra.MinimumNArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			change := api.SecretsChange{Set: map[springtide.SecretName]string{}}
			for _, arg := range args {
				name, value, has := strings.Cut(arg, "=")
				if !has && len(args) > 1 {
					return springtide.Errorf(springtide.Invalid, "%s has no value", name).WithHint("only the value of one secret can be read from stdin")
				}
				if !has {
					text, err := io.ReadAll(io.LimitReader(s.stdin, secret.ValueLimit+1))
					if err != nil {
						return err
					}
					if len(text) > secret.ValueLimit {
						return springtide.Errorf(springtide.Invalid, "the secret exceeds %d KiB", secret.ValueLimit>>10)
					}
					value = strings.TrimSuffix(string(text), "\n")
				}
				change.Set[springtide.SecretName(name)] = value
			}
			return s.changeSecrets(ctx, c, id, change)
		}),
	}
}

func (s *session) unsetSecrets() *cobra.Command {
	return &cobra.Command{
		Use: "unset NAME...", Short: "Remove secrets", Args: cobra.MinimumNArgs(1),
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			var change api.SecretsChange
			for _, name := range args {
				change.Remove = append(change.Remove, springtide.SecretName(name))
			}
			return s.changeSecrets(ctx, c, id, change)
		}),
	}
}

func (s *session) importSecrets() *cobra.Command {
	var keys string
	command := &cobra.Command{
		Use: "import FILE", Short: "Set all secrets of a .env file, or one that SOPS encrypted; - reads stdin", Args: cobra.ExactArgs(1),
		Long: `Set all secrets of a .env file. With --sops-keys the file is one that SOPS encrypted to an
age recipient, as YAML, JSON or .env; others can be piped through sops itself.`,
		Example: "  tide secrets import .env\n  sops -d secrets.yaml --output-type dotenv | tide secrets import -",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			values, err := s.readSecrets(args[0], keys)
			if err != nil {
				return err
			}
			change := api.SecretsChange{Set: map[springtide.SecretName]string{}}
			for name, value := range values {
				change.Set[name] = string(value)
			}
			return s.changeSecrets(ctx, c, id, change)
		}),
	}
	command.Flags().StringVar(&keys, "sops-keys", "", "a file with age keys, as age-keygen writes it")
	return command
}

func (s *session) readSecrets(from, keys string) (map[springtide.SecretName][]byte, error) {
	input := s.stdin
	if from != "-" {
		file, err := os.Open(from)
		if err != nil {
			return nil, springtide.Errorf(springtide.Invalid, "%w", err)
		}
		defer file.Close()
		input = file
	}
	if keys == "" {
		return secret.ImportEnv(input)
	}
	text, err := os.ReadFile(keys)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "%w", err)
	}
	return secret.ImportSOPS(input, string(text))
}

func (s *session) exportSecrets() *cobra.Command {
	var to string
	command := &cobra.Command{
		Use: "export --to RECIPIENT", Short: "Write all secrets as a .env file that only an age recipient can read", Args: cobra.NoArgs,
		Example: "  tide secrets export --to age1… > quiz.env.age",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
			sealed, err := c.ExportSecrets(ctx, id, to)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(api.SealedFile{Text: sealed})
			}
			_, err = io.WriteString(s.stdout, sealed)
			return err
		}),
	}
	command.Flags().StringVar(&to, "to", "", "who can read it, like age1…")
	if err := command.MarkFlagRequired("to"); err != nil {
		panic(err) // the flag is added above
	}
	return command
}

func (s *session) secretSource() *cobra.Command {
	command := &cobra.Command{Use: "source", Short: "Say how the places are reached that secrets may refer to", Args: knownCommand, RunE: helpOf}
	var vault api.VaultSource
	toVault := &cobra.Command{
		Use: "vault --address URL", Short: "Use a Vault for vault://MOUNT/PATH#KEY; its token is read from stdin", Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) (err error) {
			if vault.Token, err = s.readLine(); err != nil {
				return err
			}
			return s.setSource(ctx, "vault", api.SecretSources{Vault: &vault})
		}),
	}
	toVault.Flags().StringVar(&vault.Address, "address", "", "like https://vault.example.com:8200")
	toVault.Flags().StringVar(&vault.Namespace, "namespace", "", "one of Vault Enterprise")
	var aws api.AWSSource
	toAWS := &cobra.Command{
		Use: "aws-sm --region REGION --access-key ID", Short: "Use AWS Secrets Manager for aws-sm://NAME#KEY; its secret key is read from stdin", Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) (err error) {
			if aws.SecretKey, err = s.readLine(); err != nil {
				return err
			}
			return s.setSource(ctx, "aws-sm", api.SecretSources{AWS: &aws})
		}),
	}
	toAWS.Flags().StringVar(&aws.Region, "region", "", "like eu-central-1")
	toAWS.Flags().StringVar(&aws.AccessKey, "access-key", "", "its ID")
	toAWS.Flags().StringVar(&aws.Endpoint, "endpoint", "", "a URL other than AWS's own")
	command.AddCommand(toVault, toAWS)
	return command
}

// readLine reads a secret of one line from stdin.
func (s *session) readLine() (string, error) {
	text, err := io.ReadAll(io.LimitReader(s.stdin, secret.ValueLimit))
	return strings.TrimSpace(string(text)), err
}

func (s *session) setSource(ctx context.Context, name string, sources api.SecretSources) error {
	c, err := s.platform()
	if err != nil {
		return err
	}
	if err := c.SetSources(ctx, sources); err != nil {
		return err
	}
	return s.printResult(name, "set")
}

func (s *session) recoveryKey() *cobra.Command {
	var renew bool
	command := &cobra.Command{
		Use: "recovery-key", Short: "Make the key by which all can be brought back on an empty machine", Args: cobra.NoArgs,
		Long: `Make the key by which all that is backed up can be brought back on an empty machine:
tide restore --from TARGET. It is shown this once and kept nowhere: keep it where this
machine's loss does not reach it.`,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, err := s.platform()
			if err != nil {
				return err
			}
			key, err := c.RecoveryKey(ctx, renew)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(api.RecoveryKey{Key: key})
			}
			s.tell("keep this key where the loss of this machine does not reach it; it is not shown again")
			return s.print("%s", key)
		}),
	}
	command.Flags().BoolVar(&renew, "renew", false, "make another one; the one before opens only earlier backups")
	return command
}
