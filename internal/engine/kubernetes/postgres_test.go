package kubernetes

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
)

// operated says that the cluster knows the operator's kinds.
func (b *bench) operated() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects["/apis/postgresql.cnpg.io/v1"] = object{"kind": "APIResourceList", "apiVersion": "v1"}
}

func (b *bench) hibernates(name string) bool {
	notes, _ := b.get("clusters/" + name)["metadata"].(object)["annotations"].(object)
	return notes[cnpgHibernate] == "on"
}

func TestADatabaseIsKeptByTheOperatorAndReachedByWhatItsSecretSays(t *testing.T) {
	b := newBench(t)
	id := springtide.ServiceID{Environment: testGroup(1).ID.Environment, Name: "db"}
	name := clusterName(id)
	p := b.engine.Postgres(PostgresOptions{StorageClass: "fast", Every: 10 * time.Millisecond})
	spec := springtide.Service{Kind: springtide.ServicePostgres, Version: "17", Replica: true, Synchronous: true, Extensions: []string{"pg_trgm"}}
	provided, said := make(chan error, 1), make(chan string, 100)
	provide := func() { provided <- p.Provide(t.Context(), id, spec, func(line string) { said <- line }) }
	go provide()
	b.eventually("the object", func() bool { return b.get("clusters/"+name) != nil })
	made := b.get("clusters/" + name)["spec"].(object)
	if made["instances"] != 2.0 || made["imageName"] != cnpgImage+":17" || made["storage"].(object)["storageClass"] != "fast" || made["postgresql"].(object)["synchronous"] == nil {
		t.Errorf("%v", made)
	}
	b.put("clusters/"+name, object{"status": object{"phase": "Setting up primary", "conditions": []any{object{"type": "Ready", "status": "False"}}}})
	for line := range said {
		if strings.Contains(line, "Setting up primary") {
			break
		}
	}
	b.put("secrets/"+name+"-app", object{"kind": "Secret", "apiVersion": "v1", "data": object{"username": "YXBw", "password": "cEA6", "dbname": "YXBw"}})
	b.put("clusters/"+name, object{"status": object{"readyInstances": 2, "conditions": []any{object{"type": "Ready", "status": "True"}}}})
	if err := <-provided; err != nil {
		t.Fatal(err)
	}
	database, err := p.Find(t.Context(), id, spec)
	if err != nil || database.URL != "postgres://app:p%40%3A@"+name+"-rw.apps:5432/app" || !strings.Contains(database.ReplicaURL, name+"-ro.apps") {
		t.Errorf("%+v, %v", database, err)
	}
	wanted := map[springtide.ServiceName]springtide.Service{"db": spec}
	if err := p.Keep(t.Context(), id.Environment, wanted); err != nil || b.hibernates(name) {
		t.Errorf("one that is needed: %v", err)
	}
	other := springtide.EnvironmentID{App: id.Environment.App, Name: id.Environment.Name + "-2"}
	if err := p.Keep(t.Context(), other, nil); err != nil || b.hibernates(name) {
		t.Errorf("one of another environment: %v", err)
	}
	if err := p.Keep(t.Context(), id.Environment, nil); err != nil || !b.hibernates(name) {
		t.Errorf("one that nothing needs: %v, %v", err, b.get("clusters/"+name))
	}
	b.put("clusters/"+name, object{"spec": object{"storage": object{"size": "99Gi"}, "backup": object{"retentionPolicy": "30d"}}})
	spec.Replica, spec.Synchronous = false, false
	go provide()
	if err := <-provided; err != nil {
		t.Errorf("again: %v", err)
	}
	own := b.get("clusters/" + name)["spec"].(object)
	if own["instances"] != 1.0 || own["storage"].(object)["size"] != "99Gi" || own["backup"] == nil || b.hibernates(name) {
		t.Errorf("what others wrote is gone, or it sleeps: %v", own)
	}
	b.put("clusters/"+name, object{"metadata": object{"annotations": object{noteOf: nil}}})
	go provide()
	if err := <-provided; springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("somebody else's: %v", err)
	}
}

func TestWhatTheClusterCannotKeepIsRefusedInOneLine(t *testing.T) {
	b := newBench(t)
	p := b.engine.Postgres(PostgresOptions{})
	plain := springtide.Service{Kind: springtide.ServicePostgres}
	for what, spec := range map[string]springtide.Service{
		"runs no redis": {Kind: springtide.ServiceRedis}, "cannot have a pooler": {Kind: springtide.ServicePostgres, Pool: springtide.Pool{Mode: springtide.PoolSession}},
		"has no CloudNativePG": plain,
	} {
		if err := p.Check(t.Context(), "db", spec); springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	b.operated()
	if err := p.Check(t.Context(), "db", plain); err != nil {
		t.Errorf("with the operator: %v", err)
	}
}
