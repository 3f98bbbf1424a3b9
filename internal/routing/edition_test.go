package routing

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"testing"

	"github.com/springtide/springtide"
)

func manyRoutes(apps, instances int) springtide.Table {
	table := springtide.Table{PurgesSince: 1}
	for app := range apps {
		id := springtide.GroupID{Environment: springtide.EnvironmentID{App: springtide.AppName("app-" + strconv.Itoa(app)), Name: springtide.Production}, Release: 1, Process: springtide.Web, Generation: 1}
		route := springtide.Route{Hosts: []string{string(id.Environment.App) + ".localhost"}, Environment: id.Environment, Group: id, Backends: []springtide.Backend{}}
		for n := range instances {
			name := springtide.InstanceID("web-1-" + strconv.Itoa(app) + "-" + strconv.Itoa(n))
			route.Backends = append(route.Backends, springtide.Backend{Instance: name, Group: id, Address: "10.0.0.1:8080", State: springtide.BackendReady})
		}
		table.Routes = append(table.Routes, route)
		table.Certificates = append(table.Certificates, springtide.Certificate{Names: route.Hosts, Chain: "chain", Key: "key"})
	}
	return table
}

// copied gives a table that shares nothing with it.
func copied(t testing.TB, table springtide.Table) (other springtide.Table) {
	t.Helper()
	text, err := json.Marshal(table)
	if err == nil {
		err = json.Unmarshal(text, &other)
	}
	if err != nil {
		t.Fatal(err)
	}
	return other
}

func TestEdgesHaveTheSameTableHoweverTheyCameToIt(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table, e := manyRoutes(5, 3), &edition{}
	edges := make([]springtide.Table, 3)
	for version := int64(1); version < 300; version++ {
		table = copied(t, table)
		switch at := random.IntN(len(table.Routes)); random.IntN(8) {
		case 0:
			table.PurgesSince++
		case 1:
			table.Routes = append(table.Routes, manyRoutes(1, 1).Routes...)
		case 2:
			if len(table.Routes) > 3 {
				table.Routes = slices.Delete(table.Routes, at, at+1)
			}
		case 3:
			table.Routes[at].Backends = []springtide.Backend{}
		case 4: // nothing
		default:
			table.Routes[at].Backends = append(table.Routes[at].Backends, springtide.Backend{Instance: springtide.InstanceID(strconv.FormatInt(version, 10))})
		}
		next, differs, err := e.next(table)
		if err != nil {
			t.Fatal(err)
		}
		before := e.table
		before.Version = 0
		if differs == (version > 1 && reflect.DeepEqual(copied(t, before), table)) {
			t.Fatalf("version %d: differs is %v", version, differs)
		}
		e = next
		e.number(version)
		for i := range edges {
			if i > 0 && random.IntN(3) == 0 {
				continue // it is slow, and gets this with the next one
			}
			line, err := e.text(edges[i].Version, i == 0 || edges[i].Version == 0)
			var change springtide.TableChange
			if err == nil {
				err = json.Unmarshal(line, &change)
			}
			if err == nil {
				edges[i], err = edges[i].After(change)
			}
			table.Version = version
			if err != nil || !reflect.DeepEqual(edges[i], table) {
				t.Fatalf("version %d, edge %d: %v\n%+v\n%+v\n%s", version, i, err, edges[i], table, line)
			}
			table.Version = 0
		}
	}
}

func TestAnEdgeThatTakesChangesGetsNoMoreThanThose(t *testing.T) {
	p, w, path := start(t)
	w.mu.Lock()
	w.others = []string{"one.localhost", "two.localhost"}
	w.mu.Unlock()
	p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1)}})
	old := connect(t, path, "edge-old")
	takes := func(acknowledged int64) *fakeEdge {
		e := dialFeed(t, path, "edge-new")
		if err := json.NewEncoder(e.conn).Encode(springtide.EdgeReport{Edge: e.name, Acknowledged: acknowledged, Changes: true}); err != nil {
			t.Fatal(err)
		}
		return e
	}
	e := takes(0)
	table, whole := springtide.Table{}, old.table()
	for n := range 3 {
		change := e.change()
		if n == 0 && change.Since != 0 || n > 0 && (change.Since != table.Version || len(change.Changed) != 1 || len(change.Routes) > 0 || len(change.Certificates) > 0) {
			t.Fatalf("change %d is %+v", n, change)
		}
		var err error
		if table, err = table.After(change); err != nil || !reflect.DeepEqual(table, whole) {
			t.Fatalf("an edge with changes has %+v, one with whole tables %+v; %v", table, whole, err)
		}
		p.Observe(springtide.Snapshot{Instances: []springtide.Instance{ready("a", 1), ready(springtide.InstanceID("b"+strconv.Itoa(n)), 1)}})
		whole = old.table()
	}
	// What it has by another connection may be another publisher's.
	if change := takes(table.Version).change(); change.Since != 0 || !reflect.DeepEqual(change.Table, whole) {
		t.Errorf("a new connection began with %+v", change)
	}
}

func BenchmarkAnInstanceOfTenThousandChanges(b *testing.B) {
	one, other := manyRoutes(1000, 10), manyRoutes(1000, 10)
	other.Routes[500].Backends[3].State = springtide.BackendRetiring
	e, _, err := (&edition{}).next(one)
	if err != nil {
		b.Fatal(err)
	}
	e.number(1)
	for version := int64(2); b.Loop(); version++ {
		next, _, err := e.next(other)
		if err != nil {
			b.Fatal(err)
		}
		next.number(version)
		line, err := next.text(version-1, false)
		if err != nil || len(line) > 10_000 {
			b.Fatalf("%d bytes, %v", len(line), err)
		}
		e, one, other = next, other, one
	}
}
