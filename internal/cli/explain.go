package cli

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/client"
)

func (s *session) explain() *cobra.Command {
	var limit int
	var replay bool
	command := &cobra.Command{
		Use:   "explain",
		Short: "Say why there are as many instances as there are",
		Long:  "Say why there are as many instances as there are: the last scaling decisions, the newest last.",
		Args:  cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			if limit < 1 || limit > 500 {
				return springtide.Errorf(springtide.Invalid, "--limit %d is not how many decisions can be shown", limit).WithHint("1 to 500")
			}
			c, id, err := s.target()
			if err != nil {
				return err
			}
			decisions, err := c.Decisions(ctx, id, limit)
			if err != nil {
				return err
			}
			slices.Reverse(decisions)
			if s.json {
				return s.printJSON(decisions)
			}
			if len(decisions) == 0 {
				s.tell("no scaling decision was needed yet for %s", id)
			}
			for _, decision := range decisions {
				if err := s.print("%s", s.decisionLine(decision)); err != nil {
					return err
				}
				if replay {
					if err := s.print("%s", replayLine(decision.Replayed)); err != nil {
						return err
					}
				}
			}
			return s.explainComing(ctx, c, id)
		}),
	}
	command.Flags().IntVarP(&limit, "limit", "n", 20, "how many decisions, at most 500")
	command.Flags().BoolVar(&replay, "replay", false, "decide again from what each was made of, by the law of this version")
	return command
}

// explainComing says what events will keep ready within a day.
func (s *session) explainComing(ctx context.Context, c *client.Client, id springtide.EnvironmentID) error {
	announced, err := c.Announced(ctx, id)
	if err != nil {
		return err
	}
	for _, a := range announced {
		if len(a.Next) == 0 || a.Next[0].From.Sub(s.now()) > 24*time.Hour {
			continue
		}
		next := a.Next[0]
		if err := s.print("%s  event %s keeps %s until %s", s.colours.dim(next.From.Local().Format(time.DateTime)), oneLine(a.Name), reservedText(a),
			next.Until.Local().Format(time.DateTime)); err != nil {
			return err
		}
	}
	return nil
}

// replayLine says what becomes of a decision that is made again.
func replayLine(again *springtide.Replay) string {
	switch {
	case again == nil:
		return "    what it was made of is not kept any more"
	case again.Same:
		return "    decided again: the same"
	}
	return "    decided again: " + oneLine(again.Sentence)
}

func (s *session) decisionLine(d springtide.Decision) string {
	return s.colours.dim(d.Time.Local().Format(time.DateTime)) + "  " + oneLine(d.Sentence)
}
