package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

func (s *session) releases() *cobra.Command {
	var images bool
	command := &cobra.Command{
		Use:   "releases",
		Short: "List the releases that are kept",
		Args:  cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, id, err := s.target()
			if err != nil {
				return err
			}
			releases, err := c.Releases(ctx, id)
			if err != nil {
				return err
			}
			empty := fmt.Sprintf("%s has no release yet", id)
			if images {
				return printList(s, releases, empty, "RELEASE|STATE|IMAGE", func(r api.ListedRelease) []string {
					return []string{version(r.Number), string(r.State), cmp.Or(r.Image, string(r.Artifact))}
				})
			}
			return printList(s, releases, empty, "RELEASE|STATE|AGE|DESCRIPTION", func(r api.ListedRelease) []string {
				description := r.Description
				if r.Reason != "" {
					description = strings.TrimPrefix(description+": "+r.Reason, ": ")
				}
				return []string{version(r.Number), string(r.State), age(s.now(), r.Created), description}
			})
		}),
	}
	command.Flags().BoolVar(&images, "images", false, "show the image of each, with its digest")
	return command
}

func (s *session) rollback() *cobra.Command {
	return &cobra.Command{
		Use:   "rollback [RELEASE]",
		Short: "Bring an earlier release back, by default the one before",
		Args:  cobra.MaximumNArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			number := 0
			if len(args) == 1 {
				var err error
				if number, err = strconv.Atoi(strings.TrimPrefix(args[0], "v")); err != nil || number < 1 {
					return springtide.Errorf(springtide.Invalid, "%q is not the number of a release", args[0]).WithHint("`tide releases` lists them")
				}
			}
			c, id, err := s.target()
			if err != nil {
				return err
			}
			started, err := c.Rollback(ctx, id, number)
			if err != nil {
				return err
			}
			return s.goesOn(ctx, s.followDeploy(ctx, c, started))
		}),
	}
}

func (s *session) restart() *cobra.Command {
	return &cobra.Command{
		Use:   "restart",
		Short: "Replace every instance by a new one, without a gap",
		Args:  cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, id, err := s.target()
			if err != nil {
				return err
			}
			started, err := c.Restart(ctx, id)
			if err != nil {
				return err
			}
			return s.goesOn(ctx, s.followDeploy(ctx, c, started))
		}),
	}
}
