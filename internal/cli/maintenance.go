package cli

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) maintenance() *cobra.Command {
	show := s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
		status, err := c.Environment(ctx, id)
		if err != nil {
			return err
		}
		return s.printMaintenance(id, status.Maintenance)
	})
	command := &cobra.Command{
		Use: "maintenance", Short: "Answer an app's requests with a page for a while", Args: cobra.NoArgs, RunE: show,
		Long: `Answer an app's requests with 503 and a page for a while.

The edges do so by themselves, also while the platform is down. What runs goes on: jobs,
health checks and deploys are as ever.`,
	}
	off := &cobra.Command{
		Use: "off", Short: "Serve the app again", Args: cobra.NoArgs,
		RunE: s.onEnvironment((*client.Client).EndMaintenance, "served again"),
	}
	command.AddCommand(s.maintenanceOn(), off)
	return command
}

func (s *session) maintenanceOn() *cobra.Command {
	var page string
	var allow []string
	var retryAfter time.Duration
	command := &cobra.Command{
		Use: "on", Short: "Begin maintenance, or change its page", Args: cobra.NoArgs,
		Example: "  tide maintenance on --page maintenance.html --retry-after 30m --allow 198.51.100.7",
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, _ []string) error {
			change := api.MaintenanceChange{RetryAfterSeconds: int(retryAfter / time.Second)}
			if page != "" {
				text, err := os.ReadFile(page)
				if err != nil {
					return springtide.Errorf(springtide.Invalid, "--page: %w", err)
				}
				change.Page = string(text)
			}
			for _, network := range allow {
				if address, err := netip.ParseAddr(network); err == nil {
					network = netip.PrefixFrom(address, address.BitLen()).String()
				}
				change.Allow = append(change.Allow, network)
			}
			maintenance, err := c.BeginMaintenance(ctx, id, change)
			if err != nil {
				return err
			}
			return s.printMaintenance(id, &maintenance)
		}),
	}
	flags := command.Flags()
	flags.StringVar(&page, "page", "", "a file with the page, HTML; the edge has one of its own")
	flags.DurationVar(&retryAfter, "retry-after", 10*time.Minute, "when clients are asked to come again")
	flags.StringSliceVar(&allow, "allow", nil, "an address or a network whose clients are served all the same; may be given several times")
	return command
}

func (s *session) printMaintenance(id springtide.EnvironmentID, m *springtide.Maintenance) error {
	if s.json {
		return s.printJSON(map[string]any{"app": id.App, "environment": id.Name, "maintenance": m})
	}
	if m == nil {
		return s.print("%s is served", id)
	}
	return s.print("%s is in maintenance since %s%s", id, m.Since.UTC().Format(time.DateTime), maintenanceNote(m))
}

// maintenanceNote says what holds meanwhile.
func maintenanceNote(m *springtide.Maintenance) string {
	note := fmt.Sprintf(" UTC: 503, come again after %s", m.RetryAfter)
	if len(m.Allow) == 0 {
		return note
	}
	networks := make([]string, len(m.Allow))
	for i, network := range m.Allow {
		networks[i] = network.String()
	}
	return note + "; served all the same: " + strings.Join(networks, ", ")
}
