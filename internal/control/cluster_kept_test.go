package control

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/deploy"
	"github.com/springtide/springtide/internal/engine/kubernetes"
	"github.com/springtide/springtide/internal/engine/process"
	"github.com/springtide/springtide/internal/files"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/store/sqlite"
)

// kubeconfigOf is that of a cluster whose API server is at the URL.
func kubeconfigOf(t *testing.T, url string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	config := `{"apiVersion": "v1", "kind": "Config", "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": "` + url + `"}}],
		"users": [{"name": "u", "user": {}}], "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "apps"}}]}`
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// clusterThatKeeps has an API server give what is at each path, and nothing else.
func clusterThatKeeps(t *testing.T, kept map[string]string) *cluster {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, there := kept[r.URL.Path]
		if !there {
			w.WriteHeader(http.StatusNotFound)
			text = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404, "reason": "NotFound"}`
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(server.Close)
	c, err := newCluster(EngineOptions{Kind: EngineKubernetes, Kubeconfig: kubeconfigOf(t, server.URL)}, nobody{}, slog.New(slog.DiscardHandler),
		func(process.Subject) (process.Grant, error) { return process.Grant{}, nil })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fleetOf is one in which an app has the traffic.
func fleetOf(t *testing.T, app springtide.App) *deploy.Fleet {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "tide.db"), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	id := springtide.EnvironmentID{App: app.Name, Name: springtide.Production}
	_, err = store.CreateEnvironment(t.Context(), id)
	var release springtide.Release
	if err == nil {
		release, err = store.AddRelease(t.Context(), springtide.Release{Environment: id, Artifact: "sha256:0", App: app})
	}
	var rollout springtide.Rollout
	if err == nil {
		rollout, err = store.BeginRollout(t.Context(), springtide.Rollout{Release: release.ID()})
	}
	if err == nil {
		err = store.SwitchRollout(t.Context(), rollout)
	}
	if err == nil {
		err = store.FinishRollout(t.Context(), rollout)
	}
	fleet := deploy.NewFleet(store, nil, func() {}, slog.New(slog.DiscardHandler))
	if err == nil {
		err = fleet.Load(t.Context(), func(context.Context, springtide.Group) (template springtide.Template, err error) {
			return template, nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return fleet
}

// nobodysSealer is for a manager that has nothing to seal.
type nobodysSealer struct{ service.Sealer }

func TestDatabasesThatTheClusterKeepsAreListedAndLeftToTheirOperator(t *testing.T) {
	c := clusterThatKeeps(t, map[string]string{"/apis/postgresql.cnpg.io/v1/namespaces/apps/clusters": `{"items": [
		{"metadata": {"name": "db-quiz-1", "creationTimestamp": "2026-01-02T03:04:05Z", "annotations": {"springtide.dev/of": "quiz/production/db"}},
			"spec": {"instances": 2, "imageName": "ghcr.io/cloudnative-pg/postgresql:17"},
			"status": {"phase": "Cluster in healthy state", "readyInstances": 2, "conditions": [{"type": "Ready", "status": "True"}]}},
		{"metadata": {"name": "old-quiz-1", "annotations": {"springtide.dev/of": "quiz/production/old", "cnpg.io/hibernation": "on"}}, "spec": {"instances": 1}},
		{"metadata": {"name": "next-shop-1", "annotations": {"springtide.dev/of": "shop/production/next"}},
			"spec": {"instances": 1}, "status": {"phase": "Setting up primary", "phaseReason": "Creating primary instance"}},
		{"metadata": {"name": "somebodys"}, "spec": {"instances": 3}}]}`})
	manager, err := service.New(service.Options{
		Folder: t.TempDir(), Drivers: drivers(slog.New(slog.DiscardHandler)), Sealer: nobodysSealer{}, Host: netip.MustParseAddr("127.0.0.1"),
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	fleet := fleetOf(t, springtide.App{Name: "quiz", Services: map[springtide.ServiceName]springtide.Service{"db": {Kind: springtide.ServicePostgres, Replica: true}}})
	s := services{manager: manager, fleet: fleet, cluster: c, logger: slog.New(slog.DiscardHandler)}
	all, err := s.Services(t.Context(), springtide.EnvironmentID{})
	if err != nil || len(all) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	db, shop, old := all[0], all[2], all[1]
	if db.State != "ready" || db.Version != "17" || db.Cluster != "db-quiz-1" || db.Address != "db-quiz-1-rw.apps:5432" || db.Orphan || db.Reason != "" ||
		strings.Join(db.Variables, " ") != "DATABASE_REPLICA_URL DATABASE_URL DB_REPLICA_URL DB_URL" {
		t.Errorf("one that is used: %+v", db)
	}
	if old.State != "stopped" || !old.Orphan {
		t.Errorf("one that sleeps: %+v", old)
	}
	if shop.State != "starting" || shop.Reason != "Setting up primary: Creating primary instance" {
		t.Errorf("one that is being made: %+v", shop)
	}
	if own, err := s.Services(t.Context(), db.ID.Environment); err != nil || len(own) != 2 {
		t.Errorf("those of an app: %+v, %v", own, err)
	}
	if told, err := s.Service(t.Context(), db.ID); err != nil || told.Cluster != db.Cluster {
		t.Errorf("%+v, %v", told, err)
	}
	for what, err := range map[string]error{"restart": s.RestartService(t.Context(), db.ID), "destroy": s.DestroyService(t.Context(), old.ID)} {
		if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "CloudNativePG") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSharedFilesOfAClusterAreListedWithTheirClaims(t *testing.T) {
	id := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	at := func(name springtide.FilesName) string {
		return "/api/v1/namespaces/apps/persistentvolumeclaims/" + kubernetes.ClaimName(id, name)
	}
	c := clusterThatKeeps(t, map[string]string{
		at("uploads"): `{"kind": "PersistentVolumeClaim", "apiVersion": "v1", "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}`,
		at("waiting"): `{"kind": "PersistentVolumeClaim", "apiVersion": "v1", "status": {"phase": "Pending"}}`,
	})
	store, err := files.New(files.Options{Folder: t.TempDir(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	fleet := fleetOf(t, springtide.App{Name: "quiz", Files: map[springtide.FilesName]springtide.Files{
		"gone": {Path: "/g"}, "uploads": {Path: "/data/uploads"}, "waiting": {Path: "w"}, "elsewhere": {Bucket: "s3://b"},
	}})
	f := sharedFiles{store: store, fleet: fleet, cluster: c}
	for _, of := range []springtide.EnvironmentID{id, {}} {
		all, err := f.FilesUsage(t.Context(), of)
		if err != nil || len(all) != 3 {
			t.Fatalf("%+v, %v", all, err)
		}
		if gone, up, wait := all[0], all[1], all[2]; gone.Reason != "the claim is not there" || up.Reason != "" || up.Quota != 1<<30 ||
			up.Claim != kubernetes.ClaimName(id, "uploads") || !strings.Contains(wait.Reason, "no volume is bound") {
			t.Errorf("%+v", all)
		}
	}
	_, err = f.ListFiles(t.Context(), id, api.FilePlace{Files: "uploads"}, "", 10, false)
	if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), "claim") {
		t.Errorf("looking into it: %v", err)
	}
}
