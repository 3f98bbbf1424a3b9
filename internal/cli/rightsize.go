package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) rightsize() *cobra.Command {
	return &cobra.Command{
		Use: "rightsize [PROCESS]", Short: "Recommend limits, by what instances used", Args: cobra.MaximumNArgs(1),
		Long: `Recommend limits of processor and memory for one instance, by what instances used.
Nothing is changed: the lines are for the manifest.`,
		RunE: s.at(func(ctx context.Context, c *client.Client, id springtide.EnvironmentID, args []string) error {
			all, err := c.Recommendations(ctx, id)
			if err != nil {
				return err
			}
			if len(args) > 0 {
				var own []api.Recommendation
				for _, one := range all {
					if string(one.Process) == args[0] {
						own = append(own, one)
					}
				}
				if all = own; len(own) == 0 {
					return springtide.Errorf(springtide.NotFound, "%s has no process %q", id, args[0])
				}
			}
			if s.json {
				return s.printJSON(all)
			}
			for _, one := range all {
				if err := s.printRecommendation(one); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

// printRecommendation says what was seen, and then what to write.
func (s *session) printRecommendation(r api.Recommendation) error {
	lines := []string{s.colours.bold(string(r.Process))}
	if r.Samples > 0 {
		lines = append(lines,
			fmt.Sprintf("  %d samples in %s, until %s", r.Samples, r.Until.Sub(r.Since).Round(time.Minute), r.Until.Local().Format(time.DateTime)),
			fmt.Sprintf("  cores   median %.2f, 90%% below %.2f, 95%% below %.2f, peak %.2f; limit %s", r.CPU.Median, r.CPU.P90, r.CPU.P95, r.CPU.Peak, limitText(r.Limits.CPU > 0, fmt.Sprintf("%g", r.Limits.CPU))),
			fmt.Sprintf("  memory  median %s, 90%% below %s, 95%% below %s, peak %s; limit %s", size(int64(r.Memory.Median)), size(int64(r.Memory.P90)), size(int64(r.Memory.P95)), size(int64(r.Memory.Peak)), limitText(r.Limits.Memory > 0, size(r.Limits.Memory))))
	}
	if r.OutOfMemory > 0 {
		lines = append(lines, fmt.Sprintf("  out of memory %d times, last %s", r.OutOfMemory, r.LastOutOfMemory.Local().Format(time.DateTime)))
	}
	for _, note := range r.Notes {
		lines = append(lines, "  "+note)
	}
	if r.Recommended.CPU > 0 && r.Recommended.Memory > 0 {
		lines = append(lines, fmt.Sprintf("    processes:\n      %s:\n        limits: { cpu: %g, memory: %dMiB }", r.Process, r.Recommended.CPU, r.Recommended.Memory>>20))
	}
	for _, line := range lines {
		if err := s.print("%s", line); err != nil {
			return err
		}
	}
	return nil
}

func limitText(limited bool, text string) string {
	if !limited {
		return "none"
	}
	return text
}
