package control

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/observe"
	"github.com/springtide/springtide/internal/routing"
	"github.com/springtide/springtide/internal/scale"
	"github.com/springtide/springtide/internal/supervisor"
)

// machine implements api.Machine.
type machine struct {
	options   Options
	started   time.Time
	fleet     *deploy.Fleet
	kept      *state
	publisher *routing.Publisher
	scaler    *scale.Scaler
	authority string // its certificate, in PEM
	isolation string
	notes     []string
	ledger    string // where it is
	// ask fails if the ledger does not answer.
	ask func(context.Context) error
	// safety tells how safe everything is.
	safety       func() []api.Safety
	certificates certificates
	outside      *outsideQueues
	metrics      *observe.Metrics
}

// askLimit is how long the ledger may take to answer.
const askLimit = 2 * time.Second

// ledgerPlace says where a ledger is, but not how one is let in.
func ledgerPlace(location string) string {
	if !strings.Contains(location, "://") {
		return location
	}
	where, err := url.Parse(location)
	if err != nil { // PostgreSQL knows more kinds of addresses; there may be a password in it
		return "PostgreSQL"
	}
	return "postgres://" + cmp.Or(where.Host, where.Query().Get("host")) + where.Path
}

func (m machine) ledgerStatus(ctx context.Context) api.LedgerStatus {
	status := api.LedgerStatus{Location: m.ledger}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if err := m.ask(ctx); err != nil {
		status.Trouble = err.Error()
	}
	return status
}

// Status implements api.Machine.
func (m machine) Status(ctx context.Context) (api.Status, error) {
	snapshot, _ := m.fleet.Snapshot()
	status := api.Status{
		Version: m.options.Version, APIVersion: api.Version, Data: m.options.DataFolder, Executable: executable(), Started: m.started,
		Isolation: m.isolation, IsolationNotes: m.notes,
		Edges: []api.EdgeStatus{}, Listeners: []string{},
		Instances: len(snapshot.Instances), Capacity: capacity(m.scaler.Machine(), snapshot.Capacity), Ledger: m.ledgerStatus(ctx), OutsideQueues: m.outside.states(),
		Store: api.StoreStatus{Location: ledgerPlace(cmp.Or(m.options.Store, filepath.Join(m.options.DataFolder, "tide.db"))), Leads: true},
		Processes: api.PlatformProcesses{
			Supervisor: supervisor.Holder(filepath.Join(m.options.DataFolder, "lock")),
			Control:    os.Getpid(),
			Edges:      []int{},
		},
	}
	edges := m.publisher.Edges()
	for _, edge := range edges {
		status.Edges = append(status.Edges, api.EdgeStatus{Name: edge.Name, Acknowledged: edge.Acknowledged, Leaving: edge.Leaving})
	}
	sockets, err := filepath.Glob(filepath.Join(m.options.DataFolder, "run", "edge-*.sock"))
	if err != nil {
		return status, err
	}
	for _, path := range sockets {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "edge-"), ".sock")
		if pid, err := strconv.Atoi(name); err == nil {
			status.Processes.Edges = append(status.Processes.Edges, pid)
		}
	}
	for _, address := range m.options.HTTPS {
		status.Listeners = append(status.Listeners, "https://"+address)
	}
	for _, address := range m.options.HTTP {
		status.Listeners = append(status.Listeners, "http://"+address)
	}
	if m.options.API != "" {
		status.Listeners = append(status.Listeners, "https://"+m.options.API)
	}
	apps := make(map[springtide.AppName]bool)
	for _, environment := range m.fleet.Environments() {
		apps[environment.ID.App] = true
		status.Environments++
		if environment.Maintenance != nil {
			status.Maintenance = append(status.Maintenance, environment.ID)
		}
	}
	status.Apps, status.Backups = len(apps), m.safety()
	requests, size := m.metrics.Cache(nil)
	status.Cache = api.CacheTotals{Memory: size.Memory, Disk: size.Disk, DiskErrors: size.Errors, Requests: requests}
	status.Floods = m.metrics.Floods()
	status.Certificates, err = m.certificates.Certificates(ctx)
	addFaults(status.Certificates, edges)
	return status, err
}

// CertificateAuthority implements api.Machine.
func (m machine) CertificateAuthority(context.Context) (string, error) { return m.authority, nil }

// Drain implements api.Machine: what instances use ends after them. On a cluster they
// live on, and the next control plane finds them.
func (m machine) Drain(ctx context.Context) error {
	if m.kept.cluster == nil {
		if err := m.fleet.Drain(ctx); err != nil {
			return err
		}
	}
	return errors.Join(m.kept.services.Stop(ctx), m.kept.gateway.end())
}
