package backup

import (
	"context"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/postgres"
	"github.com/springtide/springtide/internal/service/servicetest"
)

// openSealer keeps nothing secret.
type openSealer struct{}

func (openSealer) Seal(_ string, plain []byte) ([]byte, error)  { return plain, nil }
func (openSealer) Open(_ string, sealed []byte) ([]byte, error) { return sealed, nil }

// realServices is a manager with a PostgreSQL called as the fake service is.
type realServices struct {
	*service.Manager
	t        testing.TB
	services map[springtide.ServiceName]springtide.Service
}

func newRealServices(t testing.TB) *realServices {
	t.Helper()
	return newRealServicesIn(t, servicetest.Folder(t))
}

func newRealServicesIn(t testing.TB, folder string) *realServices {
	t.Helper()
	manager, err := service.New(service.Options{
		Folder:  filepath.Join(folder, "services"),
		Drivers: map[springtide.ServiceKind]service.Driver{springtide.ServicePostgres: postgres.New(postgres.Options{})},
		Sealer:  openSealer{}, Host: servicetest.Host(), Logger: slog.New(slog.DiscardHandler), FirstPort: 20000, LastPort: 20099,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- manager.Run(ctx) }()
	t.Cleanup(func() {
		_ = manager.Stop(context.Background())
		end()
		<-ended
		manager.Close()
	})
	r := &realServices{manager, t, map[springtide.ServiceName]springtide.Service{fakeID.Name: {Kind: springtide.ServicePostgres, Memory: 64 << 20}}}
	if err := manager.Provision(t.Context(), fakeID.Environment, r.services, func(string) {}); err != nil {
		t.Fatal(err)
	}
	return r
}

// ask asks a service's database something, as the app does.
func (r *realServices) ask(id springtide.ServiceID, query string) (answer string) {
	r.t.Helper()
	server, driver, err := r.Server(id)
	if err != nil {
		r.t.Fatal(err)
	}
	connection, err := pgx.Connect(r.t.Context(), driver.URL(server, server.Logins.Current))
	if err != nil {
		r.t.Fatal(err)
	}
	defer connection.Close(context.WithoutCancel(r.t.Context()))
	rows, err := connection.Query(r.t.Context(), query)
	if err != nil {
		r.t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

func TestADroppedTableComesBackFromTheMomentBefore(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a real server")
	}
	services := newRealServices(t)
	w := newWorld(t, func(o *Options) { o.Services = services })
	services.ask(fakeID, "create table questions as select n from generate_series(1, 1000) n")
	w.back("r1")
	services.ask(fakeID, "insert into questions select n from generate_series(1001, 1234) n")
	moment := time.Now()
	services.ask(fakeID, "drop table questions")
	services.ask(fakeID, "create table scores as select 1 n")

	began := time.Now()
	restored, err := w.Restore(t.Context(), RestoreRequest{From: fakeID, To: moment})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("back after %s", time.Since(began).Round(time.Millisecond))
	if want := []RowDifference{{"public.questions", -1, 1234}, {"public.scores", 1, -1}}; !slices.Equal(restored.Differences, want) {
		t.Errorf("it differs in %+v", restored.Differences)
	}
	if len(restored.Verification.Problems) > 0 || restored.Verification.Rows["public.questions"] != 1234 {
		t.Errorf("verified %+v", restored.Verification)
	}
	if got := services.ask(fakeID, "select count(*)::text from scores"); got != "1" {
		t.Errorf("the service in use has %s", got)
	}
	if err := services.Swap(t.Context(), fakeID, restored.Service); err != nil {
		t.Fatal(err)
	}
	if got := services.ask(fakeID, "select count(*)::text from questions"); got != "1234" {
		t.Errorf("after the promotion there are %s questions", got)
	}
	w.goOn(services)
	if err := services.Swap(t.Context(), fakeID, restored.Service); err != nil {
		t.Fatal(err)
	}
	if got := services.ask(fakeID, "select count(*)::text from scores"); got != "1" {
		t.Errorf("rolled back there are %s scores", got)
	}
}

// goOn has the promoted service kept safe as the one before was: its changes are
// another lineage.
func (w *world) goOn(services *realServices) {
	w.t.Helper()
	w.Ship(w.t.Context())
	if w.wanted == 0 {
		w.t.Error("no backup was asked for")
	}
	w.back("r2")
	services.ask(fakeID, "insert into questions values (0)")
	restored, err := w.Restore(w.t.Context(), RestoreRequest{From: fakeID, To: time.Now(), As: "again"})
	if err != nil {
		w.t.Fatal(err)
	}
	if got := services.ask(restored.Service, "select count(*)::text from questions"); got != "1235" {
		w.t.Errorf("there are %s questions", got)
	}
	all, err := w.List(w.t.Context(), w.of)
	if err != nil {
		w.t.Fatal(err)
	}
	lineages := map[string]bool{}
	for _, m := range all {
		if m.Kind == KindWhole {
			lineages[m.Lineage] = true
		}
	}
	if len(slices.Collect(maps.Keys(lineages))) != 2 {
		w.t.Errorf("the lineages are %v", lineages)
	}
}
