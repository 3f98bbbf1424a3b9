package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// DrillOptions are what drills need.
type DrillOptions struct {
	// Folder keeps what was proven.
	Folder string
	// Smoke has the app's own command look at a restored service, which is reached at
	// the URL. An error of kind Failed is the command's own word. nil: the platform has
	// no way to run one.
	Smoke func(ctx context.Context, of Subject, command, url string) error
	// Host is where an app reaches a restored service. Default: the loopback interface
	Host netip.Addr
}

// drillReady is how long a restored server may take to do its changes again.
const drillReady = 3 * time.Hour

// proved is what a drill has shown.
type proved struct {
	rows    map[string]int64
	checked string
}

// drill restores the newest backup of a subject into a scratch place, looks at
// it, and removes it. A scratch place that a killed drill has left is emptied by
// the next one.
func (k *Keeper) drill(ctx context.Context, _ springtide.Run, of Subject) (any, error) {
	began := time.Now().UTC()
	proof, err := k.Proof(of)
	if err != nil {
		return nil, err
	}
	m, err := k.newest(ctx, of)
	if err == nil {
		proof.Backup, proof.Taken = m.ID, m.Begun
		proof.lost(began, m, k.note(of, func(*Standing) {}))
		var shown proved
		if shown, err = k.tryOut(ctx, m); err == nil {
			proof.Proven, proof.Took, proof.Rows, proof.Checked = began, time.Since(began), shown.rows, shown.checked
		}
	}
	if ctx.Err() != nil || springtide.KindOf(err) == springtide.Unavailable {
		return nil, err // nothing was shown: neither this nor that
	}
	proof.Tried, proof.Problem = began, ""
	if err != nil {
		proof.Problem = err.Error()
	}
	return proof, errors.Join(err, k.keepProof(of, proof))
}

// newest gives the backup that a drill is about.
func (k *Keeper) newest(ctx context.Context, of Subject) (Manifest, error) {
	all, err := k.List(ctx, of)
	for _, m := range slices.Backward(all) {
		if m.Kind != KindDump {
			return m, err
		}
	}
	return Manifest{}, cmp.Or(err, error(springtide.Errorf(springtide.NotFound, "there is no backup of %s", of)))
}

// tryOut restores a backup where nobody sees it.
func (k *Keeper) tryOut(ctx context.Context, m Manifest) (shown proved, err error) {
	scratch := filepath.Join(k.options.Scratch, "drill-"+strings.ReplaceAll(m.Subject.String(), "/", "."))
	// The users of servers must get there, and see nothing on the way.
	if err := cmp.Or(os.RemoveAll(scratch), os.MkdirAll(scratch, 0o711), os.Chmod(k.options.Scratch, 0o711)); err != nil {
		return shown, unavailable(err)
	}
	defer func() { err = errors.Join(err, unavailable(os.RemoveAll(scratch))) }()
	switch {
	case m.Kind == KindWhole:
		return k.drillService(ctx, m, scratch)
	case m.Kind == KindFiles && k.files != nil:
		return k.drillFiles(ctx, m, scratch)
	case m.Kind == KindPlatform && k.options.State != nil:
		return k.drillPlatform(ctx, m, scratch)
	}
	return shown, springtide.Errorf(springtide.Invalid, "a backup of kind %s is not drilled here", m.Kind)
}

// drillService starts a restored server and reads all of it.
func (k *Keeper) drillService(ctx context.Context, m Manifest, scratch string) (proved, error) {
	server, driver, backuper, err := k.backuper(m.Subject)
	if err != nil {
		return proved{}, err
	}
	server.Folder, server.Version, server.Role = filepath.Join(scratch, "server"), m.Version, service.RolePrimary
	server.Primary, server.PrimaryFolder, server.Standby = netip.AddrPort{}, "", false
	server.Spec.Replica, server.Spec.Synchronous = false, false
	plan, err := k.planOf(ctx, m.Subject)
	if err != nil {
		return proved{}, err
	}
	host := loopback()
	if plan.Smoke != "" && k.options.Drills.Host.IsValid() {
		host = k.options.Drills.Host // nobody else needs to get there
	}
	if server.Address, err = scratchAddress(ctx, host); err != nil {
		return proved{}, err
	}
	if err := server.MakeFolders(); err != nil {
		return proved{}, unavailable(err)
	}
	if err := k.fill(ctx, m, server, backuper, time.Time{}); err != nil {
		return proved{}, err
	}
	ctx, stop, err := startScratch(ctx, server, driver.Process(server))
	if err != nil {
		return proved{}, err
	}
	defer stop()
	if err := waitReady(ctx, server, driver); err != nil {
		return proved{}, err
	}
	shown, err := k.lookAt(ctx, m, server, driver, backuper)
	if err != nil || plan.Smoke == "" || k.options.Drills.Smoke == nil {
		return shown, err
	}
	shown.checked += fmt.Sprintf("; %q was content", plan.Smoke)
	return shown, k.askApp(ctx, m, plan.Smoke, driver.URL(server, server.Logins.Current))
}

// askApp has the app's own command look at a restored server.
func (k *Keeper) askApp(ctx context.Context, m Manifest, command, url string) error {
	err := k.options.Drills.Smoke(ctx, m.Subject, command, url)
	said, is := errors.AsType[*springtide.Error](err)
	if !is || said.Kind != springtide.Failed {
		return err
	}
	failure := springtide.Errorf(springtide.Failed, "the app is not content with backup %s of %s: %w", m.ID, m.Subject, err)
	failure.Lines = said.Lines
	return failure
}

// lookAt reads all of a restored server, and counts.
func (k *Keeper) lookAt(ctx context.Context, m Manifest, server service.Server, driver service.Driver, backuper service.Backuper) (proved, error) {
	if err := driver.Settle(ctx, server); err != nil {
		return proved{}, err
	}
	found, err := backuper.Verify(ctx, server)
	if err != nil {
		return proved{}, err
	}
	problems := append(found.Problems, missingRows(m.Rows, found.Rows, k.rowsNow(ctx, m.Subject, driver))...)
	if len(problems) > 0 {
		e := springtide.Errorf(springtide.Failed, "backup %s of %s does not come back as it was: %s", m.ID, m.Subject, problems[0])
		e.Lines = problems
		return proved{}, e
	}
	return proved{found.Rows, found.Checked}, nil
}

// rowsNow is how many rows the service in use has; nil: nobody knows.
func (k *Keeper) rowsNow(ctx context.Context, of Subject, driver service.Driver) map[string]int64 {
	counter, can := driver.(Counter)
	if !can {
		return nil
	}
	server, _, err := k.options.Services.Server(of.Service())
	if err != nil {
		return nil
	}
	rows, err := counter.Rows(ctx, server)
	if err != nil {
		return nil
	}
	return rows
}

// missingRows says which tables have come back with nothing in them, though they
// had rows when the backup was made and, as far as it is known, have some now.
func missingRows(backup, restored, now map[string]int64) (problems []string) {
	for _, d := range differences(backup, restored) {
		if d.Now > 0 && d.Restored <= 0 && (now == nil || now[d.Table] > 0) {
			problems = append(problems, fmt.Sprintf("table %s had %d rows and has come back with none", d.Table, d.Now))
		}
	}
	return problems
}

func loopback() netip.Addr { return netip.AddrFrom4([4]byte{127, 0, 0, 1}) }

// scratchAddress gives an address of this machine, of that host, that nobody listens on.
func scratchAddress(ctx context.Context, host netip.Addr) (netip.AddrPort, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", netip.AddrPortFrom(host, 0).String())
	if err != nil {
		return netip.AddrPort{}, unavailable(err)
	}
	defer listener.Close()
	return netip.ParseAddrPort(listener.Addr().String())
}

// waitReady waits until a restored server serves, or has ended.
func waitReady(ctx context.Context, server service.Server, driver service.Driver) error {
	ctx, cancel := context.WithTimeout(ctx, drillReady)
	defer cancel()
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := driver.Ready(ctx, server)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			if ended, is := errors.AsType[*springtide.Error](context.Cause(ctx)); is {
				return ended
			}
			return springtide.Errorf(springtide.Failed, "the restored server of %s does not become ready: %w", server.ID, err)
		}
	}
}
