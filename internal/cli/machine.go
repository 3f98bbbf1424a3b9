package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/manifest"
)

func (s *session) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show how the platform itself stands",
		Args:  cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, err := s.platform()
			if err != nil {
				return err
			}
			status, err := c.Status(ctx)
			if err != nil {
				return err
			}
			return s.printStatus(status)
		}),
	}
}

func (s *session) printStatus(status api.Status) error {
	if s.json {
		return s.printJSON(status)
	}
	edges := make([]string, 0, len(status.Edges))
	for _, edge := range status.Edges {
		text := fmt.Sprintf("%s (table %d)", edge.Name, edge.Acknowledged)
		if edge.Leaving {
			text = fmt.Sprintf("%s (leaving)", edge.Name)
		}
		edges = append(edges, text)
	}
	processes := fmt.Sprintf("supervisor %d, control %d", status.Processes.Supervisor, status.Processes.Control)
	for _, pid := range status.Processes.Edges {
		processes += fmt.Sprintf(", edge %d", pid)
	}
	ledger := status.Ledger.Location
	if status.Ledger.Trouble != "" {
		ledger += ", which does not answer: " + status.Ledger.Trouble
	}
	rows := [][]string{
		{"version", fmt.Sprintf("%s (API %d)", status.Version, status.APIVersion)},
		{"data", status.Data},
		{"up for", age(s.now(), status.Started)},
		{"listens on", dash(strings.Join(status.Listeners, ", "))},
		{"isolation", status.Isolation},
	}
	for _, note := range status.IsolationNotes {
		rows = append(rows, []string{"", note})
	}
	rows = append(
		rows,
		[]string{"edges", dash(strings.Join(edges, ", "))},
		[]string{"processes", processes},
		[]string{"store", storeLine(status.Store)},
		[]string{"ledger", ledger},
		[]string{"apps", strconv.Itoa(status.Apps)},
		[]string{"environments", strconv.Itoa(status.Environments)},
		[]string{"instances", strconv.Itoa(status.Instances)},
	)
	rows = append(rows, capacityRows(status.Capacity)...)
	for i, queue := range status.OutsideQueues {
		rows = append(rows, []string{[]string{"queues", ""}[min(i, 1)], queueLine(queue)})
	}
	for i, id := range status.Maintenance {
		rows = append(rows, []string{[]string{"maintenance", ""}[min(i, 1)], id.String()})
	}
	if floods := status.Floods; floods.Ended+floods.Refused > 0 {
		rows = append(rows, []string{"floods", fmt.Sprintf("%d connections ended, %d refused", floods.Ended, floods.Refused)})
	}
	for i, safety := range status.Backups {
		rows = append(rows, []string{[]string{"backups", ""}[min(i, 1)], safetyLine(safety)})
	}
	rows = append(rows, []string{"cache", cacheTotals(status.Cache)})
	return table(s.stdout, append(rows, certificateRows(status.Certificates)...))
}

func storeLine(store api.StoreStatus) string {
	switch {
	case store.Trouble != "":
		return store.Location + ", which does not answer: " + store.Trouble
	case !store.Leads:
		return store.Location + "; " + cmp.Or(store.Leader, "nobody") + " leads, this control plane waits for its turn"
	}
	return store.Location
}

func queueLine(queue api.OutsideQueueStatus) string {
	if queue.Trouble != "" {
		return fmt.Sprintf("%s %s cannot be seen: %s", queue.Environment, queue.Process, oneLine(queue.Trouble))
	}
	return fmt.Sprintf("%s %s: %s, %d waiting, %d under way", queue.Environment, queue.Process, oneLine(queue.Queue), queue.Waiting, queue.UnderWay)
}

// programVersion is what `tide version --json` prints.
type programVersion struct {
	Version string `json:"version"`
	API     int    `json:"api_version"`
	// Tables is the version of the store's tables that it knows.
	Tables   int    `json:"tables"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (s *session) version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show the version of this command",
		Args:  cobra.NoArgs,
		RunE: runs(func(context.Context, []string) error {
			v := programVersion{s.program.Version, api.Version, s.program.Tables, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if s.json {
				return s.printJSON(v)
			}
			return s.print("tide %s (API %d, %s, %s)", v.Version, v.API, v.Go, v.Platform)
		}),
	}
}

func (s *session) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of tide.yaml, for editors",
		Args:  cobra.NoArgs,
		RunE: runs(func(context.Context, []string) error {
			_, err := s.stdout.Write(manifest.Schema())
			return err
		}),
	}
}

func (s *session) trust() *cobra.Command {
	var show, uninstall bool
	command := &cobra.Command{
		Use:   "trust",
		Short: "Make this machine's browsers trust the platform's certificates",
		Args:  cobra.NoArgs,
		RunE: runs(func(ctx context.Context, _ []string) error {
			c, err := s.platform()
			if err != nil {
				return err
			}
			authority, err := c.CertificateAuthority(ctx)
			if err != nil {
				return err
			}
			if show {
				_, err := io.WriteString(s.stdout, authority)
				return err
			}
			change := s.program.Trust.Install
			if uninstall {
				change = s.program.Trust.Uninstall
			}
			report, err := change(ctx, []byte(authority))
			if s.json && err == nil {
				return s.printJSON(map[string][]string{"report": report})
			}
			for _, line := range report {
				s.tell("%s", line)
			}
			return err
		}),
	}
	command.Flags().BoolVar(&show, "print", false, "print the authority's certificate instead")
	command.Flags().BoolVar(&uninstall, "uninstall", false, "undo it")
	command.MarkFlagsMutuallyExclusive("print", "uninstall")
	return command
}
