package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

func (s *session) plan() *cobra.Command {
	var keys exportKeys
	command := &cobra.Command{
		Use:   "plan [DIR | FILE]",
		Short: "Show what a deploy, or the import of a file, would change, without changing it",
		Args:  cobra.MaximumNArgs(1),
		RunE: runs(func(ctx context.Context, args []string) error {
			if info, err := os.Stat(folderOf(args)); err == nil && info.Mode().IsRegular() {
				return s.planImport(ctx, args[0], nil, keys)
			}
			app, err := s.readApp(folderOf(args))
			if err != nil {
				return err
			}
			c, err := s.platform()
			if err != nil {
				return err
			}
			id := springtide.EnvironmentID{App: app.Name, Name: springtide.EnvironmentName(s.environment)}
			plan, err := c.Plan(ctx, id, app)
			if err != nil {
				return err
			}
			return s.printPlan(plan)
		}),
	}
	keys.add(command)
	return command
}

func (s *session) printPlan(plan api.Plan) error {
	if s.json {
		return s.printJSON(plan)
	}
	for _, warning := range plan.Warnings {
		s.tell("warning: %s", warning)
	}
	switch {
	case len(plan.Changes) == 0:
		return s.print("%s runs %s: the manifest asks for nothing else", plan.Environment, version(plan.Release))
	case plan.Release == 0:
		s.tell("%s runs nothing yet; a deploy would make:", plan.Environment)
	default:
		s.tell("%s runs %s; a deploy would change:", plan.Environment, version(plan.Release))
	}
	for _, change := range plan.Changes {
		effect := ""
		if change.Effect != "" {
			effect = " (" + change.Effect + ")"
		}
		var line string
		switch change.Action {
		case api.ChangeAdd:
			line = s.colours.green("+ " + oneLine(change.What+": "+change.To+effect))
		case api.ChangeRemove:
			line = s.colours.red("- " + oneLine(change.What+": "+change.From+effect))
		default:
			line = "~ " + oneLine(change.What+": "+change.From+" → "+change.To+effect)
		}
		if err := s.print("%s", line); err != nil {
			return err
		}
	}
	return nil
}
