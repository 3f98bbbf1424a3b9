package service

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

func TestOnlyASynchronousReplicaThatHasEverythingIsPromotedByItself(t *testing.T) {
	now := time.Now()
	runs := &child{}
	synchronous := springtide.Service{Synchronous: true}
	gone := unit{down: now.Add(-10 * time.Second)}
	for name, test := range map[string]struct {
		record           record
		primary, replica unit
		must             bool
	}{
		"the primary is gone":            {record{Spec: synchronous, Standby: true}, gone, unit{child: runs}, true},
		"it has been gone for a moment":  {record{Spec: synchronous, Standby: true}, unit{down: now.Add(-9 * time.Second)}, unit{child: runs}, false},
		"it serves":                      {record{Spec: synchronous, Standby: true}, unit{ready: true}, unit{child: runs}, false},
		"it is slow to answer":           {record{Spec: synchronous, Standby: true}, unit{ready: true, down: gone.down}, unit{child: runs}, false},
		"it hangs":                       {record{Spec: synchronous, Standby: true}, unit{hung: true, down: gone.down}, unit{child: runs}, false},
		"it hangs for long":              {record{Spec: synchronous, Standby: true}, unit{hung: true, down: now.Add(-30 * time.Second)}, unit{child: runs}, true},
		"the replica was not waited for": {record{Spec: synchronous}, gone, unit{child: runs}, false},
		"the replica is not synchronous": {record{Standby: true}, gone, unit{child: runs}, false},
		"the replica does not run":       {record{Spec: synchronous, Standby: true}, gone, unit{}, false},
		"it is being promoted already":   {record{Spec: synchronous, Standby: true, Promoting: "x"}, gone, unit{child: runs}, false},
	} {
		if got := mustPromote(now, test.record, test.primary, test.replica, 10*time.Second); got != test.must {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestTheFirstRestartIsAtOnceAndLaterOnesWaitLonger(t *testing.T) {
	var before time.Duration
	for failures := range 50 {
		wait := backoff(failures)
		if wait < before || wait > longestBackoff || failures < 2 && wait != 0 {
			t.Errorf("after %d failures it waits %s, before it was %s", failures, wait, before)
		}
		before = wait
	}
}

func TestAProcessThatIsAnothersByNowIsNotAdopted(t *testing.T) {
	ticks, err := startTicks(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for name, one := range map[string]member{
		"another start": {PID: os.Getpid(), Ticks: ticks + 1, Boot: bootID()},
		"another boot":  {PID: os.Getpid(), Ticks: ticks, Boot: "then"},
		"none":          {Boot: bootID()},
	} {
		if adopt(one, func() {}) != nil {
			t.Errorf("%s: it was adopted", name)
		}
	}
	own := adopt(member{PID: os.Getpid(), Ticks: ticks, Boot: bootID()}, func() {})
	if own == nil {
		t.Fatal("the right one was not adopted")
	}
	own.forget()
}

func TestTheUsualServicesHaveShortNames(t *testing.T) {
	postgres, redis := springtide.Service{Kind: springtide.ServicePostgres}, springtide.Service{Kind: springtide.ServiceRedis}
	sql := func(spec springtide.Service) bool { return spec.Kind == springtide.ServicePostgres }
	for name, test := range map[string]struct {
		services map[springtide.ServiceName]springtide.Service
		want     springtide.ServiceName
	}{
		"the only one":   {map[springtide.ServiceName]springtide.Service{"main": postgres, "db": redis}, "main"},
		"that called db": {map[springtide.ServiceName]springtide.Service{"main": postgres, "db": postgres}, "db"},
		"neither of two": {map[springtide.ServiceName]springtide.Service{"main": postgres, "other": postgres}, ""},
		"none":           {map[springtide.ServiceName]springtide.Service{"main": redis}, ""},
	} {
		if got := chosen(test.services, sql, "db"); got != test.want {
			t.Errorf("%s: %q, not %q", name, got, test.want)
		}
	}
	all := map[string]string{"SHOP_DB_URL": "a", "SHOP_DB_REPLICA_URL": "b", "DATABASE_URL": "c"}
	alias(all, map[springtide.ServiceName]springtide.Service{"database": postgres, "shop-db": postgres}, "DATABASE", "shop-db")
	if all["DATABASE_URL"] != "c" {
		t.Error("a service called database lost its variable to another")
	}
	alias(all, map[springtide.ServiceName]springtide.Service{"shop-db": postgres}, "DATABASE", "shop-db")
	if all["DATABASE_URL"] != "a" || all["DATABASE_REPLICA_URL"] != "b" {
		t.Errorf("it gives %v", all)
	}
}

func TestAPoolThatDoesNotFitIsSaidSo(t *testing.T) {
	spec := springtide.Service{Kind: springtide.ServicePostgres, Connections: 50}
	spec.Pool.Each = 10
	if err := Fit("db", spec, 5); err != nil {
		t.Error(err)
	}
	err := Fit("db", spec, 8)
	if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "8 instances x pool 10 = 80 > 50 connections") || !strings.Contains(err.Error(), "at most 6") {
		t.Errorf("it says %v", err)
	}
	spec.Pool.Each = 0
	if Fit("db", spec, 50) != nil || Fit("db", spec, 51) == nil {
		t.Error("where it is not known how many each opens it is not one")
	}
	spec.Pool.Mode = springtide.PoolTransaction
	if err := Fit("db", spec, 51); err != nil {
		t.Errorf("with a pooler: %v", err)
	}
}

func TestAVersionFitsWhatWasAskedForInPart(t *testing.T) {
	for _, test := range []struct {
		asked, version string
		fits           bool
	}{{"", "15", true}, {"10", "10.11", true}, {"10.11", "10.11", true}, {"10.1", "10.11", false}, {"1", "10.11", false}, {"10.11", "10", false}} {
		if got := Matches(test.asked, test.version); got != test.fits {
			t.Errorf("%q for %q: %v", test.version, test.asked, got)
		}
	}
	for _, order := range [][2]string{{"10.11", "10.6"}, {"11.4", "10.11"}, {"16", "15"}, {"10.11", "10"}} {
		if !newer(order[0], order[1]) || newer(order[1], order[0]) || newer(order[0], order[0]) {
			t.Errorf("%s does not come after %s", order[0], order[1])
		}
	}
}

func TestTheNextLoginHasTheNextNumber(t *testing.T) {
	for name, want := range map[string]string{"quiz_1": "quiz_2", "my_app_9": "my_app_10", "quiz": "quiz_2", "my_app": "my_app_2"} {
		if got := loginAfter(name); got != want {
			t.Errorf("after %s comes %s", name, got)
		}
	}
}

func TestTheOutputOfAServerIsBounded(t *testing.T) {
	folder := t.TempDir()
	if err := os.Mkdir(filepath.Join(folder, "log"), 0o700); err != nil {
		t.Fatal(err)
	}
	output, err := openLog(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	for _, text := range []string{strings.Repeat("a", 60), "first\n", "second\n"} {
		output.WriteString(text)
		if err := boundLog(folder, 64); err != nil {
			t.Fatal(err)
		}
	}
	older, _ := os.ReadFile(filepath.Join(folder, logName+".1"))
	if now, _ := os.ReadFile(filepath.Join(folder, logName)); string(now) != "second\n" || len(older) != 64 || !strings.HasSuffix(string(older), "first\n") {
		t.Errorf("it has %q, and before %q", now, older)
	}
	if got := lastLine(folder); got != "second" {
		t.Errorf("the last line is %q", got)
	}
	// Its user may put a link there; it leads nowhere else.
	outside := filepath.Join(t.TempDir(), "other")
	os.Remove(filepath.Join(folder, logName))
	if err := os.Symlink(outside, filepath.Join(folder, logName)); err != nil {
		t.Fatal(err)
	}
	if _, err := openLog(folder); err == nil {
		t.Error("a link out of the folder was followed")
	}
}

// plain seals nothing.
type plain struct{}

func (plain) Seal(_ string, text []byte) ([]byte, error) { return text, nil }
func (plain) Open(_ string, text []byte) ([]byte, error) { return text, nil }

func TestADecidedSwapIsFinishedByTheNextManager(t *testing.T) {
	folder := t.TempDir()
	m := &Manager{options: Options{Folder: folder, Sealer: plain{}}, clusters: map[springtide.ServiceID]*cluster{}, ports: map[uint16]bool{}}
	environment := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	var records [2]record
	for i, name := range []springtide.ServiceName{"db", "db-old"} {
		records[i] = record{ID: springtide.ServiceID{Environment: environment, Name: name}, Version: itoa(i + 1)}
		m.add(&records[i], RolePrimary)
		records[i].Servers[0].Made = true
		if err := m.write(records[i]); err != nil {
			t.Fatal(err)
		}
	}
	before := slices.Clone(records[0].Servers)
	m.exchange(&records[0], &records[1])
	var both journal
	for i, r := range records {
		var err error
		if both.Records[i], err = m.encode(r); err != nil {
			t.Fatal(err)
		}
	}
	data, err := json.Marshal(both)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "quiz", "production", journalName)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.load(); err != nil {
		t.Fatal(err)
	}
	for id, c := range m.clusters {
		if want := map[springtide.ServiceName]string{"db": "2", "db-old": "1"}[id.Name]; c.record.Version != want {
			t.Errorf("%s is of version %s", id, c.record.Version)
		}
	}
	if got := m.clusters[records[1].ID].record; got.Servers[0].Folder != before[0].Folder || !got.Stopped {
		t.Errorf("what it was is %+v", got)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the journal is still there")
	}
}

func TestARecordWhoseKeysCannotBeOpenedIsLeftAlone(t *testing.T) {
	m := &Manager{options: Options{Folder: t.TempDir(), Sealer: lost{}}}
	data, err := m.encode(record{ID: springtide.ServiceID{Environment: springtide.EnvironmentID{App: "a", Name: "b"}, Name: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	if r, err := m.decode(data); err == nil || r.ID.Name != "c" {
		t.Errorf("it gives %+v: %v", r, err)
	}
}

// lost has lost its key.
type lost struct{ plain }

func (lost) Open(string, []byte) ([]byte, error) { return nil, io.ErrUnexpectedEOF }

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"id":{"environment":{"app":"quiz","environment":"production"},"name":"db"},"servers":[{"folder":"quiz/production/db/1"}]}`))
	f.Add([]byte(`{"id":{"environment":{"app":"quiz","environment":"production"},"name":"db"},"discard":["../x"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		for _, folder := range append(r.folders(), r.Discard...) {
			if path := filepath.Join("/services", folder); !strings.HasPrefix(path, "/services/") {
				t.Errorf("%q leads out of the services", folder)
			}
		}
	})
}

func FuzzParseTicks(f *testing.F) {
	f.Add("1 (a) b) S 0 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 5 1 1")
	f.Add("1 (a")
	f.Fuzz(func(_ *testing.T, stat string) { _, _ = parseTicks(stat) })
}

func FuzzExternalAddress(f *testing.F) {
	for _, seed := range []string{"postgres://a:b@c/d", "redis://[::1]:1", "x", "mysql://%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if address, err := externalAddress(text); err == nil && !strings.Contains(address, ":") {
			t.Errorf("%q leads to %q", text, address)
		}
	})
}
