package cli

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/manifest"
)

func (s *session) ps() *cobra.Command {
	var all bool
	command := &cobra.Command{
		Use:   "ps",
		Short: "List the instances of an app, or all apps",
		Long: `List the instances of an app. In a folder without a manifest, and with --all,
list the environments of all apps.`,
		Args: cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			if all || s.app == "" && noManifest() {
				return s.listEnvironments(ctx)
			}
			return s.listInstances(ctx)
		}),
	}
	command.Flags().BoolVar(&all, "all", false, "list the environments of all apps")
	return command
}

func noManifest() bool {
	_, err := manifest.Read(".")
	return springtide.KindOf(err) == springtide.NotFound
}

func (s *session) listInstances(ctx context.Context) error {
	c, id, err := s.target()
	if err != nil {
		return err
	}
	instances, err := c.Instances(ctx, id)
	if err != nil {
		return err
	}
	if status, err := c.Environment(ctx, id); err == nil && status.Maintenance != nil {
		s.tell("note: %s is in maintenance; `tide maintenance off` ends it", id)
	}
	header := "INSTANCE|PROCESS|RELEASE|STATE|AGE|RESTARTS|ADDRESS|REASON"
	return printList(s, instances, fmt.Sprintf("%s has no instance", id), header, func(i springtide.Instance) []string {
		state := string(i.State)
		switch {
		case i.CrashLoop:
			state = "crash loop"
		case !i.Ejected.IsZero():
			state = "ejected"
		}
		return []string{
			string(i.ID), string(i.Group.Process), version(i.Group.Release), state,
			age(s.now(), i.Ordered), strconv.Itoa(i.Restarts), dash(i.Address), i.Reason,
		}
	})
}

func (s *session) listEnvironments(ctx context.Context) error {
	c, err := s.platform()
	if err != nil {
		return err
	}
	environments, err := c.Environments(ctx, springtide.AppName(s.app))
	if err != nil {
		return err
	}
	header := "APP|ENVIRONMENT|RELEASE|INSTANCES|STATE|URL"
	return printList(s, environments, "no app yet; `tide deploy` in an app's folder makes one", header, func(e api.EnvironmentStatus) []string {
		ready, wanted := 0, 0
		for _, process := range e.Processes {
			ready += process.Ready
			wanted += process.Wanted
		}
		state := "up"
		switch {
		case e.Stopped:
			state = "stopped"
		case e.Maintenance != nil:
			state = "maintenance"
		case e.Active == 0:
			state = "no release"
		case ready < wanted:
			state = "coming"
		}
		url := "-"
		if len(e.URLs) > 0 {
			url = e.URLs[0]
		}
		return []string{string(e.ID.App), string(e.ID.Name), version(e.Active), fmt.Sprintf("%d/%d", ready, wanted), state, url}
	})
}

func dash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
