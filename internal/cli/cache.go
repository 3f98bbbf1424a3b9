package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) cache() *cobra.Command {
	command := &cobra.Command{
		Use: "cache", Short: "Tell what edges keep of an app's answers, or have them forget", Args: cobra.NoArgs,
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
			status, err := c.Cache(ctx, id)
			if err != nil {
				return err
			}
			return s.printCache(id, status)
		}),
	}
	command.AddCommand(s.purgeCache())
	return command
}

func (s *session) purgeCache() *cobra.Command {
	var what api.PurgeRequest
	command := &cobra.Command{
		Use: "purge", Short: "Have the edges forget what they keep", Args: cobra.NoArgs,
		Long: `Have the edges forget what they keep of an app's answers: what carries a tag
(Cache-Tag, Surrogate-Key, release-N), what is at a path, or all. Returns when
every edge has it in force.`,
		Example: "  tide cache purge --path '/assets/*'\n  tide cache purge --tag product-17\n  tide cache purge --all",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
			purge, err := c.Purge(ctx, id, what)
			if err != nil {
				return err
			}
			if s.json {
				return s.printJSON(purge)
			}
			return s.print("%s of %s is forgotten", purged(purge), id)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&what.Tag, "tag", "", "what carries this tag")
	flags.StringVar(&what.Path, "path", "", "what is at this path, whatever its query; a star at its end stands for all below")
	flags.BoolVar(&what.All, "all", false, "all")
	command.MarkFlagsMutuallyExclusive("tag", "path", "all")
	command.MarkFlagsOneRequired("tag", "path", "all")
	return command
}

// purged says what a purge is about.
func purged(purge springtide.Purge) string {
	switch {
	case purge.Tag != "":
		return "what carries " + purge.Tag
	case purge.Path != "":
		return purge.Path
	}
	return "all"
}

func (s *session) printCache(id springtide.EnvironmentID, status api.CacheStatus) error {
	if s.json {
		return s.printJSON(status)
	}
	if len(status.Rules) == 0 {
		return s.print("nothing of %s is cached: its manifest has no cache", id)
	}
	total, saved, parts := savedBy(status.Requests)
	if total == 0 {
		return s.print("%s is cached; no request yet", id)
	}
	return s.print("%s: %d %% of %d requests were answered from the cache (%s); the edges keep %s in memory and %s on disk",
		id, 100*saved/total, total, strings.Join(parts, ", "), size(status.Memory), size(status.Disk))
}

// savedBy adds up requests, and those that were answered from the cache; parts tells
// of each result.
func savedBy(requests map[springtide.CacheResult]int64) (total, saved int64, parts []string) {
	for _, result := range springtide.CacheResults() {
		count := requests[result]
		if total += count; count > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count, result))
		}
		if result == springtide.CacheHit || result == springtide.CacheStale || result == springtide.CacheCollapsed {
			saved += count
		}
	}
	return total, saved, parts
}

// cacheTotals is the line of `tide status`.
func cacheTotals(all api.CacheTotals) string {
	line := fmt.Sprintf("%s in memory, %s on disk", size(all.Memory), size(all.Disk))
	if total, saved, _ := savedBy(all.Requests); total > 0 {
		line += fmt.Sprintf("; %d %% of %d requests were answered from it", 100*saved/total, total)
	}
	if all.DiskErrors > 0 {
		line += fmt.Sprintf("; the disk refused %d writes", all.DiskErrors)
	}
	return line
}
