package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/cron"
)

// importedSchedule is a line of a crontab file as a schedule of a manifest.
type importedSchedule struct {
	Name     string `json:"name"`
	Cron     string `json:"cron"`
	Timezone string `json:"timezone,omitempty"`
	Command  string `json:"command"`
	// Line and User are where it was, and who ran it.
	Line int    `json:"line"`
	User string `json:"user,omitempty"`
}

func (s *session) importCrontab() *cobra.Command {
	var options cron.CrontabOptions
	crontab := &cobra.Command{
		Use: "crontab FILE", Short: "Print the schedules of a crontab file, for tide.yaml", Args: cobra.ExactArgs(1),
		Long: `Print the schedules of a crontab file as a section of tide.yaml; - reads stdin.

Nothing is changed. What does not carry over is told on stderr.`,
		Example: "  crontab -l | tide jobs import crontab - >> tide.yaml\n  tide jobs import crontab --system --timezone Europe/Warsaw /etc/cron.d/shop",
		RunE: runs(func(_ context.Context, args []string) error {
			read, err := s.readCrontab(args[0], options)
			if err != nil {
				return err
			}
			return s.printSchedules(schedulesOf(read), read.Warnings)
		}),
	}
	crontab.Flags().BoolVar(&options.System, "system", false, "it has a column for the user, as /etc/crontab and /etc/cron.d")
	crontab.Flags().StringVar(&options.Timezone, "timezone", "", "that of the machine it is from, as Europe/Warsaw; default: UTC")
	command := &cobra.Command{
		Use: "import", Short: "Take over what another system does at certain times", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	command.AddCommand(crontab)
	return command
}

func (s *session) readCrontab(name string, options cron.CrontabOptions) (cron.Crontab, error) {
	if name == "-" {
		return cron.ReadCrontab(s.stdin, options)
	}
	file, err := os.Open(name)
	if err != nil {
		return cron.Crontab{}, springtide.Errorf(springtide.NotFound, "%w", err)
	}
	defer file.Close()
	options.File = path.Base(name)
	return cron.ReadCrontab(file, options)
}

// schedulesOf names the entries, each differently.
func schedulesOf(crontab cron.Crontab) []importedSchedule {
	var all []importedSchedule
	taken := map[string]bool{}
	for _, entry := range crontab.Entries {
		base := scheduleName(entry.Command)
		name := base
		for i := 2; taken[name]; i++ {
			name = fmt.Sprintf("%s-%d", base, i)
		}
		taken[name] = true
		all = append(all, importedSchedule{
			Name: name, Cron: entry.Cron, Timezone: entry.Timezone, Command: commandOf(entry), Line: entry.Line, User: entry.User,
		})
	}
	return all
}

// commandOf is the line for sh that does what cron does with an entry.
func commandOf(entry cron.Entry) string {
	command := entry.Command
	if entry.Stdin != "" {
		command = "printf %s " + quote(entry.Stdin) + " | { " + command + "; }"
	}
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(entry.Env))) {
		command = "export " + name + "=" + quote(entry.Env[name]) + "; " + command
	}
	return command
}

// carrier is a word that only carries out the one behind it.
var carrier = regexp.MustCompile(`^(cd|env|sh|bash|nice|ionice|flock|timeout|sudo|exec|test|php[0-9.]*|python[0-9.]*|node|ruby|perl|bundle|&&|\|\||;|-.*|[A-Za-z_][A-Za-z0-9_]*=.*|[0-9]+[smh]?)$`)

// between are what names do not hold.
var between = regexp.MustCompile(`[^a-z0-9]+`)

// scheduleName makes a name of the first telling word of a command.
func scheduleName(command string) string {
	previous := ""
	for word := range strings.FieldsSeq(command) {
		base := path.Base(strings.Trim(word, `"'();`))
		skip := carrier.MatchString(base) || previous == "cd"
		previous = base
		if skip {
			continue
		}
		base, _, _ = strings.Cut(base, ".")
		name := strings.Trim(between.ReplaceAllString(strings.ToLower(base), "-"), "-")
		if name = strings.Trim(name[:min(len(name), 36)], "-"); name != "" {
			return name
		}
	}
	return "job"
}

func (s *session) printSchedules(all []importedSchedule, warnings []cron.Warning) error {
	if s.json {
		told := []string{}
		for _, warning := range warnings {
			told = append(told, warning.String())
		}
		return s.printJSON(map[string]any{"schedules": all, "warnings": told})
	}
	for _, warning := range warnings {
		fmt.Fprintf(s.stderr, "%s\n", warning)
	}
	if len(all) == 0 {
		s.tell("there is no schedule in it")
		return nil
	}
	_, err := io.WriteString(s.stdout, schedulesSection(all))
	return err
}

// schedulesSection is the section of a manifest.
func schedulesSection(all []importedSchedule) string {
	var text strings.Builder
	text.WriteString("schedules:\n")
	for _, v := range all {
		if v.User != "" {
			fmt.Fprintf(&text, "  # ran as %s\n", oneLine(v.User))
		}
		fmt.Fprintf(&text, "  %s:\n    cron: %s\n", v.Name, yamlString(v.Cron))
		if v.Timezone != "" && v.Timezone != "UTC" {
			fmt.Fprintf(&text, "    timezone: %s\n", v.Timezone)
		}
		fmt.Fprintf(&text, "    command: %s\n", yamlString(v.Command))
	}
	return text.String()
}

// yamlString writes a string as JSON does, which is YAML as well.
func yamlString(text string) string {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string can be written
	return strings.TrimSpace(out.String())
}
