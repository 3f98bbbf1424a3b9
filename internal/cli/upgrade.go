package cli

import (
	"context"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

const (
	// upgradeLimit is how long new processes may take to be there.
	upgradeLimit = time.Minute
	// upgradeLook is how often it is looked whether they are.
	upgradeLook = 20 * time.Millisecond
)

// upgraded is what `tide upgrade --json` prints.
type upgraded struct {
	api.Upgrade
	// Away is for how long the API did not answer, in milliseconds.
	Away int64 `json:"control_away_ms"`
	// Draining is how many edges of before still serve their connections, of those that
	// have told the new control plane already.
	Draining int `json:"edges_draining"`
}

func (s *session) upgrade() *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade [FILE]",
		Short: "Have another version of tide take over, without a gap",
		Long: `Have another version of tide take over, without a gap.

FILE is a tide binary on the platform's machine; it is put in the place of the
one that runs, which is kept beside it with the ending .previous. Without FILE
the binary in that place is taken as it is. Instances are not touched.`,
		Example: `  sudo tide upgrade ./tide-v2`,
		Args:    cobra.MaximumNArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			c, err := s.platform()
			if err != nil {
				return err
			}
			before, err := c.Status(ctx)
			if err != nil {
				return err
			}
			file := ""
			if len(args) == 1 {
				if file, err = filepath.Abs(args[0]); err != nil {
					return err
				}
			}
			var result upgraded
			if result.Upgrade, err = c.Upgrade(ctx, file); err != nil {
				return err
			}
			if err := awaitUpgrade(ctx, c, before, &result); err != nil {
				return err
			}
			if s.json {
				return s.printJSON(result)
			}
			return s.print("%s took over from %s; the control plane was away for %d ms, the edges were not", result.To, result.From, result.Away)
		}),
	}
}

// awaitUpgrade returns when the platform's processes are new ones.
func awaitUpgrade(ctx context.Context, c *client.Client, before api.Status, result *upgraded) error {
	last, away := time.Now(), time.Duration(0)
	for deadline := time.Now().Add(upgradeLimit); ; {
		now, err := c.Status(ctx)
		if err == nil {
			away, last = max(away, time.Since(last)), time.Now()
			fresh := slices.ContainsFunc(now.Processes.Edges, func(pid int) bool { return !slices.Contains(before.Processes.Edges, pid) })
			if now.Processes.Control != before.Processes.Control && fresh {
				result.Away = away.Milliseconds()
				for _, edge := range now.Edges {
					if edge.Leaving {
						result.Draining++
					}
				}
				return nil
			}
		}
		if time.Now().After(deadline) {
			failure := springtide.Errorf(springtide.Unavailable, "%s has not taken over within %s; the edges and instances serve on", result.To, upgradeLimit).
				WithHint("the platform's log says why")
			if result.Previous != "" {
				failure = failure.WithHint("the platform's log says why; to go back: mv %s %s && kill -HUP %d", result.Previous, result.Executable, before.Processes.Supervisor)
			}
			return failure
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(upgradeLook):
		}
	}
}
