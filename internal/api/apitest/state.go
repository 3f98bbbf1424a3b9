package apitest

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
)

// state is what environments keep: each has a database named db, a Redis named
// cache and a shared folder named uploads, and may have secrets. It implements
// [api.Secrets], [api.Services], [api.SharedFiles] and [api.Backups].
type state struct {
	p        *Platform
	secrets  map[springtide.EnvironmentID]map[springtide.SecretName]api.Secret
	files    map[springtide.EnvironmentID]map[string][]byte
	moved    map[string]bool // to a bucket
	restored map[string]bool // "APP/ENVIRONMENT/OF NAME", and whether it is in use
	did      []string        // what was done to services, in words
}

func newState(p *Platform) *state {
	return &state{
		p: p, secrets: map[springtide.EnvironmentID]map[springtide.SecretName]api.Secret{},
		files: map[springtide.EnvironmentID]map[string][]byte{}, moved: map[string]bool{}, restored: map[string]bool{},
	}
}

// Done tells what was done to services, in words.
func (p *Platform) Done() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.state.did)
}

// Secrets implements [api.Secrets].
func (s *state) Secrets(_ context.Context, id springtide.EnvironmentID) (all []api.Secret, err error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.secrets[id])) {
		all = append(all, s.secrets[id][name])
	}
	return all, nil
}

// ChangeSecrets implements [api.Secrets].
func (s *state) ChangeSecrets(ctx context.Context, id springtide.EnvironmentID, change api.SecretsChange) ([]api.Secret, error) {
	s.p.update(func() {
		if s.secrets[id] == nil {
			s.secrets[id] = map[springtide.SecretName]api.Secret{}
		}
		for name := range change.Set {
			s.secrets[id][name] = api.Secret{Name: name, Version: s.secrets[id][name].Version + 1, Created: Epoch()}
		}
		for _, name := range change.Remove {
			delete(s.secrets[id], name)
		}
	})
	return s.Secrets(ctx, id)
}

// ExportSecrets implements [api.Secrets].
func (s *state) ExportSecrets(_ context.Context, id springtide.EnvironmentID, recipient string) ([]byte, error) {
	if !strings.HasPrefix(recipient, "age1") {
		return nil, springtide.Errorf(springtide.Invalid, "%q is no recipient", recipient).WithHint("it begins with age1")
	}
	return fmt.Appendf(nil, "%d secrets of %s for %s\n", len(s.secrets[id]), id, recipient), nil
}

// RotateRootKey implements [api.Secrets].
func (s *state) RotateRootKey(context.Context) error { return s.do("root key is rotated") }

// RecoveryKey implements [api.Secrets].
func (s *state) RecoveryKey(_ context.Context, renew bool) (string, error) {
	if slices.Contains(s.p.Done(), "a recovery key is made") && !renew {
		return "", springtide.Errorf(springtide.Conflict, "there is a recovery key")
	}
	return "AGE-SECRET-KEY-1TEST", s.do("a recovery key is made")
}

// SetSources implements [api.Secrets].
func (s *state) SetSources(_ context.Context, sources api.SecretSources) error {
	return s.do(fmt.Sprintf("sources are set: vault %v, aws %v", sources.Vault != nil, sources.AWS != nil))
}

func (s *state) do(what string) error {
	s.p.update(func() { s.did = append(s.did, what) })
	return nil
}

// Services implements [api.Services].
func (s *state) Services(_ context.Context, id springtide.EnvironmentID) (all []api.ServiceStatus, err error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	known := []springtide.EnvironmentID{id}
	if id == (springtide.EnvironmentID{}) {
		known = slices.SortedFunc(maps.Keys(s.p.environments), func(a, b springtide.EnvironmentID) int { return cmp.Compare(a.String(), b.String()) })
	} else if _, err := s.p.find(id); err != nil {
		return nil, err
	}
	for _, id := range known {
		all = append(all,
			service(id, "cache", springtide.ServiceRedis, "7.0", []string{"REDIS_URL"}, api.ServiceServer{Role: "primary", State: "ready", PID: 41}),
			service(id, "db", springtide.ServicePostgres, "15", []string{"DATABASE_URL", "DATABASE_REPLICA_URL"},
				api.ServiceServer{Role: "primary", State: "ready", PID: 42}, api.ServiceServer{Role: "replica", State: "ready", PID: 43, LagSeconds: 0.25}))
	}
	return all, nil
}

func service(id springtide.EnvironmentID, name springtide.ServiceName, kind springtide.ServiceKind, version string, variables []string, servers ...api.ServiceServer) api.ServiceStatus {
	return api.ServiceStatus{
		ID: springtide.ServiceID{Environment: id, Name: name}, Spec: springtide.Service{Kind: kind}, Version: version, State: "ready",
		Address: "127.0.0.1:5400", Servers: servers, Folder: "/data/" + id.String() + "/" + string(name), Created: Epoch(), Variables: variables,
	}
}

// Service implements [api.Services].
func (s *state) Service(ctx context.Context, id springtide.ServiceID) (api.ServiceDetails, error) {
	services, err := s.Services(ctx, id.Environment)
	for _, service := range services {
		if service.ID == id {
			return api.ServiceDetails{
				ServiceStatus: service, Size: 32 << 20, Connections: 3, MaxConnections: 100, MostInstances: 8, Details: map[string]string{"uptime": "3h"},
				Statements: []api.Statement{{Text: "SELECT pg_sleep($1)", Calls: 2, MeanSeconds: 0.5}},
			}, nil
		}
	}
	if err == nil {
		err = springtide.Errorf(springtide.NotFound, "%s has no service %s", id.Environment, id.Name).WithHint("see: tide services")
	}
	return api.ServiceDetails{}, err
}

func (s *state) doTo(ctx context.Context, id springtide.ServiceID, what string) error {
	if _, err := s.Service(ctx, id); err != nil {
		return err
	}
	return s.do(id.String() + " is " + what)
}

// RestartService implements [api.Services].
func (s *state) RestartService(ctx context.Context, id springtide.ServiceID) error {
	return s.doTo(ctx, id, "restarted")
}

// PromoteService implements [api.Services].
func (s *state) PromoteService(ctx context.Context, id springtide.ServiceID) error {
	return s.doTo(ctx, id, "promoted")
}

// RotateService implements [api.Services].
func (s *state) RotateService(ctx context.Context, id springtide.ServiceID) error {
	return s.doTo(ctx, id, "rotated")
}

// ForkService implements [api.Services].
func (s *state) ForkService(ctx context.Context, from, to springtide.ServiceID, scrub string) error {
	return s.doTo(ctx, from, fmt.Sprintf("copied to %s by %q", to, scrub))
}

// UpgradeService implements [api.Services].
func (s *state) UpgradeService(ctx context.Context, id springtide.ServiceID, version string, rehearse bool) (time.Duration, error) {
	return 1500 * time.Millisecond, s.doTo(ctx, id, fmt.Sprintf("upgraded to %s, rehearsal %v", version, rehearse))
}

// DestroyService implements [api.Services].
func (s *state) DestroyService(ctx context.Context, id springtide.ServiceID) error {
	return s.doTo(ctx, id, "destroyed")
}

// ServiceShell implements [api.Services]: the client writes its arguments.
func (s *state) ServiceShell(ctx context.Context, id springtide.ServiceID, arguments []string) (*exec.Cmd, error) {
	return exec.CommandContext(ctx, "echo", append([]string{string(id.Name)}, arguments...)...), nil
}

// ServiceLog implements [api.Services].
func (s *state) ServiceLog(ctx context.Context, id springtide.ServiceID) (io.ReadCloser, error) {
	if _, err := s.Service(ctx, id); err != nil {
		return nil, err
	}
	return io.NopCloser(strings.NewReader("LOG:  database system is ready to accept connections\n")), nil
}

// FilesUsage implements [api.SharedFiles].
func (s *state) FilesUsage(_ context.Context, id springtide.EnvironmentID) ([]api.FilesUsage, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	usage := api.FilesUsage{Environment: id, Name: "uploads", Path: "/data/uploads", Quota: 1 << 20, Counted: Epoch()}
	if id == (springtide.EnvironmentID{}) {
		usage.Environment, usage.Orphan = springtide.EnvironmentID{App: "old", Name: springtide.Production}, true
	}
	for _, content := range s.files[id] {
		usage.Files, usage.Bytes = usage.Files+1, usage.Bytes+int64(len(content))
	}
	return []api.FilesUsage{usage}, nil
}

// ListFiles implements [api.SharedFiles]; it is always deep.
func (s *state) ListFiles(_ context.Context, id springtide.EnvironmentID, place api.FilePlace, after string, limit int, _ bool) (all []api.FileInfo, err error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(s.files[id])) {
		if path > after && strings.HasPrefix(path, place.Path) && len(all) < limit {
			all = append(all, api.FileInfo{Path: path, Size: int64(len(s.files[id][path])), Modified: Epoch()})
		}
	}
	return all, nil
}

// content is a file that can be closed.
type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

// OpenFile implements [api.SharedFiles].
func (s *state) OpenFile(_ context.Context, id springtide.EnvironmentID, place api.FilePlace) (io.ReadSeekCloser, api.FileInfo, error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	data, known := s.files[id][place.Path]
	if !known {
		return nil, api.FileInfo{}, springtide.Errorf(springtide.NotFound, "there is no file %s:%s", place.Files, place.Path)
	}
	return content{bytes.NewReader(data)}, api.FileInfo{Path: place.Path, Size: int64(len(data)), Modified: Epoch()}, nil
}

// PutFile implements [api.SharedFiles].
func (s *state) PutFile(_ context.Context, id springtide.EnvironmentID, place api.FilePlace, from io.Reader, modified time.Time) (api.FileInfo, error) {
	data, err := io.ReadAll(from)
	if err != nil {
		return api.FileInfo{}, err
	}
	s.p.update(func() {
		if s.files[id] == nil {
			s.files[id] = map[string][]byte{}
		}
		s.files[id][place.Path] = data
	})
	return api.FileInfo{Path: place.Path, Size: int64(len(data)), Modified: modified}, nil
}

// DeleteFile implements [api.SharedFiles].
func (s *state) DeleteFile(ctx context.Context, id springtide.EnvironmentID, place api.FilePlace) error {
	file, _, err := s.OpenFile(ctx, id, place)
	if err != nil {
		return err
	}
	s.p.update(func() { delete(s.files[id], place.Path) })
	return file.Close()
}

// MoveFiles implements [api.SharedFiles]: one file at a time.
func (s *state) MoveFiles(_ context.Context, id springtide.EnvironmentID, _ springtide.FilesName, move api.FilesMove) (done api.FilesMoved, err error) {
	if _, err := springtide.ParseBucket(move.To); err != nil {
		return done, err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	for _, path := range slices.Sorted(maps.Keys(s.files[id])) {
		switch {
		case path <= move.After:
		case s.moved[path]:
			done.Same++
		case done.Copied > 0:
			return done, nil
		default:
			s.moved[path] = true
			done = api.FilesMoved{Copied: 1, Bytes: int64(len(s.files[id][path])), Same: done.Same, Next: path}
		}
	}
	done.Next = ""
	return done, nil
}

// DestroyFiles implements [api.SharedFiles].
func (s *state) DestroyFiles(_ context.Context, id springtide.EnvironmentID, name springtide.FilesName) error {
	s.p.update(func() { s.did = append(s.did, fmt.Sprintf("destroyed %s/%s", id, name)) })
	return nil
}

// safety is that of quiz in production.
func safety() []api.Safety {
	quiz := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	return []api.Safety{
		{Environment: quiz, Of: "cache", Proven: Epoch().Add(-100 * time.Hour), Unproven: true, Failure: "the target is full", Failed: Epoch()},
		{Environment: quiz, Of: "db", Newest: Epoch(), Restorable: Epoch(), Proven: Epoch(), ProvenTookSeconds: 41, ProvenLostSeconds: 58},
		{Environment: quiz, Of: "files", Problem: "pack 3b is damaged", Tried: Epoch(), Late: "there has been no backup for 27h"},
		{Of: "state", Proven: Epoch(), ProvenTookSeconds: 1, ProvenLostSeconds: 3000},
	}
}

// BackupStatus implements [api.Backups].
func (s *state) BackupStatus(context.Context, springtide.EnvironmentID) ([]api.BackupStatus, error) {
	return []api.BackupStatus{
		{
			Of: "db", Plan: springtide.Backup{Daily: "04:30", Keep: 30 * 24 * time.Hour, PointInTime: true},
			Newest: Epoch().Add(-time.Hour), Count: 30, Size: 5 << 20, Restorable: Epoch(),
			Proven: Epoch(), ProvenTookSeconds: 41, ProvenLostSeconds: 58,
		},
		{Of: "files", Plan: springtide.Backup{Daily: "04:30", Keep: 10 * 24 * time.Hour}, LastFailure: "the disk is full", LastFailureOccurred: Epoch(), Late: true},
	}, nil
}

// Backups implements [api.Backups].
func (s *state) Backups(_ context.Context, _ springtide.EnvironmentID, of string) ([]api.BackupRecord, error) {
	if of != "" && of != "db" {
		return nil, nil
	}
	return []api.BackupRecord{{ID: "20260503T080000Z", Of: "db", Kind: "whole", Begun: Epoch().Add(-time.Hour), Finished: Epoch().Add(-time.Hour + 12*time.Second), Size: 5 << 20}}, nil
}

// RunBackup implements [api.Backups]: the run is carried out at once.
func (s *state) RunBackup(ctx context.Context, id springtide.EnvironmentID, of string, kind springtide.RunKind) (springtide.RunID, error) {
	enqueued, err := s.p.book.Enqueue(ctx, id, []springtide.Job{{Kind: kind, Command: string(kind) + " of " + of}}, nil)
	if err != nil {
		return "", err
	}
	return enqueued[0].Run, nil
}

// AcceptFiles implements [api.Backups].
func (s *state) AcceptFiles(_ context.Context, id springtide.EnvironmentID) error {
	return s.do("files of " + id.String() + " are accepted")
}

// VerifyBackups implements [api.Backups]: those of files are damaged.
func (s *state) VerifyBackups(_ context.Context, _ springtide.EnvironmentID, of string) (api.Verification, error) {
	found := api.Verification{Of: of, Checked: "3 objects, 5 MiB", Problems: []string{}}
	if of == springtide.BackupFiles {
		found.Problems = []string{"pack 3b is damaged"}
	}
	return found, nil
}

// Restore implements [api.Backups].
func (s *state) Restore(_ context.Context, id springtide.EnvironmentID, of string, request api.RestoreRequest) (api.Restored, error) {
	to := cmp.Or(request.To, Epoch())
	name := of + "-" + to.Format("20060102t150405z")
	s.p.update(func() { s.restored[restoredOf(id, of, name)] = false })
	return api.Restored{
		Name: name, Backup: cmp.Or(request.Backup, "20260503T080000Z"), At: to, TookSeconds: 2.5,
		Differences: []api.Difference{{What: "public.users", InUse: 12, Restored: 10}},
	}, nil
}

func restoredOf(id springtide.EnvironmentID, of, name string) string {
	return id.String() + "/" + of + " " + name
}

// Promote implements [api.Backups].
func (s *state) Promote(_ context.Context, id springtide.EnvironmentID, of, restored string) error {
	return s.withRestored(restoredOf(id, of, restored), func(key string) { s.restored[key] = !s.restored[key] })
}

// Discard implements [api.Backups].
func (s *state) Discard(_ context.Context, id springtide.EnvironmentID, of, restored string) error {
	return s.withRestored(restoredOf(id, of, restored), func(key string) { delete(s.restored, key) })
}

func (s *state) withRestored(key string, do func(string)) (err error) {
	s.p.update(func() {
		if _, known := s.restored[key]; !known {
			err = springtide.Errorf(springtide.NotFound, "nothing restored is called %s", key)
			return
		}
		do(key)
	})
	return err
}
