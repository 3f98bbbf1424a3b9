package cli

import (
	"context"

	"github.com/spf13/cobra"
)

func (s *session) registry() *cobra.Command {
	var config bool
	command := &cobra.Command{
		Use:   "registry",
		Short: "Tell how the images of releases are pulled from here",
		Long: `Tell how the images of releases are pulled from here, with a token that is good for
nothing else. It takes the platform's own socket.`,
		Example: `  tide registry --docker-config > config.json
  kubectl create secret docker-registry tide --from-file=.dockerconfigjson=config.json`,
		Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, err := s.platform()
			if err != nil {
				return err
			}
			access, err := c.Registry(ctx)
			if err != nil {
				return err
			}
			if config {
				return s.printJSON(access.DockerConfig)
			}
			if s.json {
				return s.printJSON(access)
			}
			return table(s.stdout, [][]string{{"registry", access.Registry}, {"user", access.Username}, {"password", access.Password}})
		}),
	}
	command.Flags().BoolVar(&config, "docker-config", false, "write it as a config.json of docker, for container runtimes and clusters")
	return command
}
