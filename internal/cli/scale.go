package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

func (s *session) scale() *cobra.Command {
	return &cobra.Command{
		Use:     "scale [PROCESS=N|PROCESS=MIN..MAX|PROCESS=auto]...",
		Short:   "Show or set how many instances processes have",
		Example: "  tide scale\n  tide scale web=3\n  tide scale web=2..10 worker=0\n  tide scale web=auto    # what the manifest says",
		RunE: runs(func(ctx context.Context, args []string) error {
			change, err := parseScale(args)
			if err != nil {
				return err
			}
			c, id, err := s.target()
			if err != nil {
				return err
			}
			var processes []api.ProcessStatus
			if len(args) == 0 {
				processes, err = c.Scale(ctx, id)
			} else {
				processes, err = c.ChangeScale(ctx, id, change)
			}
			if err != nil {
				return err
			}
			return s.printScale(id, processes)
		}),
	}
}

func (s *session) printScale(id springtide.EnvironmentID, processes []api.ProcessStatus) error {
	header := "PROCESS|READY|WANTED|MIN|MAX|SET BY"
	return printList(s, processes, fmt.Sprintf("%s has no release yet", id), header, func(p api.ProcessStatus) []string {
		by := "manifest"
		if p.Fixed {
			by = "tide scale"
		}
		return []string{string(p.Name), strconv.Itoa(p.Ready), strconv.Itoa(p.Wanted), strconv.Itoa(p.Min), strconv.Itoa(p.Max), by}
	})
}

// parseScale reads "web=3", "web=2..10" and "web=auto".
func parseScale(args []string) (api.ScaleChange, error) {
	change := api.ScaleChange{Set: map[springtide.ProcessName]springtide.ScaleRange{}}
	for _, arg := range args {
		name, wanted, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return change, notScale(arg)
		}
		if _, twice := change.Set[springtide.ProcessName(name)]; twice || slices.Contains(change.Reset, springtide.ProcessName(name)) {
			return change, springtide.Errorf(springtide.Invalid, "%s is named twice", name).WithHint("say once how many instances it is to have")
		}
		if wanted == "auto" {
			change.Reset = append(change.Reset, springtide.ProcessName(name))
			continue
		}
		low, high, isRange := strings.Cut(wanted, "..")
		if !isRange {
			high = low
		}
		least, err1 := strconv.Atoi(low)
		most, err2 := strconv.Atoi(high)
		if err1 != nil || err2 != nil || least < 0 || most < least {
			return change, notScale(arg)
		}
		change.Set[springtide.ProcessName(name)] = springtide.ScaleRange{Min: least, Max: most}
	}
	return change, nil
}

func notScale(arg string) error {
	return springtide.Errorf(springtide.Invalid, "%q does not say how many instances", arg).
		WithHint("for example web=3, web=2..10, worker=0 or web=auto")
}
