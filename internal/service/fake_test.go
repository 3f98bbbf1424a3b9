package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
)

// fakeKind is a small server that is a real process: the test binary.
const fakeKind springtide.ServiceKind = "fake"

// fakeVariable holds what it is told.
const fakeVariable = "SERVICE_FAKE"

// fakeDriver drives it. step is called before and after everything that changes
// something, so that a test can have the manager die there.
type fakeDriver struct {
	program string
	step    func()
}

func (f fakeDriver) Versions() []string         { return []string{"2", "1"} }
func (f fakeDriver) Hint(version string) string { return "get fake-" + version }

func (f fakeDriver) Process(s service.Server) service.Process {
	told, _ := json.Marshal(s)
	return service.Process{Path: f.program, Env: []string{fakeVariable + "=" + string(told)}, Stop: syscall.SIGINT, Quick: syscall.SIGQUIT}
}

func (f fakeDriver) Shell(s service.Server) service.Process { return f.Process(s) }

func (f fakeDriver) URL(s service.Server, login service.Login) string {
	return (&url.URL{Scheme: "http", User: url.UserPassword(login.Name, login.Password), Host: s.Address.String(), Path: "/" + s.Logins.Database}).String()
}

// make makes data beside its place.
func (f fakeDriver) make(s service.Server, fill func(folder string) error) error {
	f.step()
	defer f.step()
	data, half := filepath.Join(s.Folder, "data"), filepath.Join(s.Folder, "data.new")
	if _, err := os.Stat(data); err == nil {
		return nil
	}
	if err := errors.Join(os.RemoveAll(half), os.Mkdir(half, 0o700)); err != nil {
		return err
	}
	if err := fill(half); err != nil {
		return err
	}
	f.step()
	err := errors.Join(os.WriteFile(filepath.Join(half, "version"), []byte(s.Version), 0o600), os.Rename(half, data))
	entries, _ := os.ReadDir(data)
	if s.User != (service.User{}) {
		err = errors.Join(err, os.Chown(data, s.User.UID, s.User.GID))
		for _, entry := range entries {
			err = errors.Join(err, os.Chown(filepath.Join(data, entry.Name()), s.User.UID, s.User.GID))
		}
	}
	return err
}

func (f fakeDriver) Create(_ context.Context, s service.Server) error {
	return f.make(s, func(folder string) error { return os.WriteFile(filepath.Join(folder, "log"), nil, 0o600) })
}

func copyLog(from service.Server) func(string) error {
	return func(folder string) error {
		data, err := os.ReadFile(filepath.Join(from.Folder, "data", "log"))
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(folder, "log"), data[:bytes.LastIndexByte(data, '\n')+1], 0o600)
	}
}

func (f fakeDriver) Follow(_ context.Context, s service.Server) error {
	return f.make(s, copyLog(service.Server{Folder: s.PrimaryFolder}))
}

func (f fakeDriver) Fork(_ context.Context, from, to service.Server) error {
	return f.make(to, copyLog(from))
}

func (f fakeDriver) Upgrade(_ context.Context, from, to service.Server) error {
	return f.make(to, copyLog(from))
}

// ask asks a server through the socket in its folder.
func (f fakeDriver) ask(ctx context.Context, s service.Server, path string, told any) error {
	body, err := json.Marshal(told)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.Folder, "run", "socket"))
	}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://fake"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, answer)
	}
	return err
}

func (f fakeDriver) Ready(ctx context.Context, s service.Server) error {
	return f.ask(ctx, s, "/ready", nil)
}

func (f fakeDriver) Settle(ctx context.Context, s service.Server) error {
	f.step()
	defer f.step()
	logins := []service.Login{s.Logins.Current, s.Logins.Previous, s.Logins.Replication}
	return f.ask(ctx, s, "/settle", settings{Logins: logins, Wait: s.Standby && s.Spec.Synchronous})
}

func (f fakeDriver) Inspect(context.Context, service.Server) (service.Info, error) {
	return service.Info{Size: 1, MaxConnections: 1}, nil
}

func (f fakeDriver) Promote(ctx context.Context, s service.Server) error {
	f.step()
	defer f.step()
	return f.ask(ctx, s, "/promote", nil)
}

func (f fakeDriver) Lag(_ context.Context, s service.Server) (time.Duration, int64, error) {
	if _, err := os.Stat(filepath.Join(s.Folder, "data", "lost")); err == nil {
		return 0, 0, springtide.Errorf(springtide.Conflict, "the log was not kept for it")
	}
	return 0, 0, nil
}

func (f fakeDriver) Rotate(ctx context.Context, s service.Server, next service.Login) error {
	s.Logins.Previous = next
	return f.Settle(ctx, s)
}

func (f fakeDriver) Retire(ctx context.Context, s service.Server, _ service.Login) error {
	s.Logins.Previous = service.Login{}
	return f.Settle(ctx, s)
}

// settings are what the server is told while it runs.
type settings struct {
	Logins []service.Login
	Wait   bool
}

// fakeServer is the server: a log of "key value" lines, over HTTP.
type fakeServer struct {
	service.Server
	told    settings
	mu      sync.Mutex
	file    *os.File
	lines   []string
	fetched int // how many lines the replica has asked beyond
	changed chan struct{}
}

// runFake is the server's process.
func runFake(told string) error {
	s := &fakeServer{changed: make(chan struct{})}
	if err := json.Unmarshal([]byte(told), &s.Server); err != nil {
		return err
	}
	if _, err := os.Stat("data/broken"); err == nil {
		return errors.New("the data is broken")
	}
	if version, err := os.ReadFile("data/version"); err != nil || string(version) != s.Version {
		return fmt.Errorf("the data is of version %q, not %q: %w", version, s.Version, err)
	}
	if _, err := os.Stat("data/promoted"); err == nil {
		s.Role = service.RolePrimary
	}
	_ = json.Unmarshal(must(os.ReadFile("data/settings")), &s.told)
	s.told.Wait = s.Standby && s.Spec.Synchronous
	data, err := os.ReadFile("data/log")
	if err != nil {
		return err
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1]
	if text := strings.TrimSuffix(string(data), "\n"); text != "" {
		s.lines = strings.Split(text, "\n")
	}
	if s.file, err = os.OpenFile("data/log", os.O_APPEND|os.O_WRONLY, 0); err != nil {
		return err
	}
	app, err := net.Listen("tcp", s.Address.String())
	if err != nil {
		return err
	}
	_ = os.Remove("run/socket")
	own, err := net.Listen("unix", "run/socket")
	if err != nil {
		return err
	}
	if s.Role == service.RoleReplica {
		go s.fetch()
	}
	platform := http.NewServeMux()
	platform.HandleFunc("/ready", func(http.ResponseWriter, *http.Request) {})
	platform.HandleFunc("/settle", s.settle)
	platform.HandleFunc("/promote", s.promote)
	go func() { _ = http.Serve(own, platform) }()
	return http.Serve(app, http.HandlerFunc(s.serve))
}

func must(data []byte, _ error) []byte { return data }

func (s *fakeServer) settle(w http.ResponseWriter, r *http.Request) {
	data, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	if s.Role == service.RoleReplica {
		s.mu.Unlock()
		http.Error(w, "a replica is not settled", http.StatusForbidden)
		return
	}
	_ = json.Unmarshal(data, &s.told)
	_ = os.WriteFile("data/settings", data, 0o600)
	s.mu.Unlock()
	if s.told.Wait && !s.put("settled", "1", time.Now().Add(2*time.Second)) {
		http.Error(w, "no replica has acknowledged it", http.StatusServiceUnavailable)
	}
}

func (s *fakeServer) promote(http.ResponseWriter, *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Role = service.RolePrimary
	_ = os.WriteFile("data/promoted", nil, 0o600)
}

// serve serves the app, and the replica's asking for what is new.
func (s *fakeServer) serve(w http.ResponseWriter, r *http.Request) {
	name, password, _ := r.BasicAuth()
	s.mu.Lock()
	known := false
	for _, login := range s.told.Logins {
		known = known || login.Name != "" && login.Name == name && login.Password == password
	}
	if s.Role == service.RoleReplica {
		known = true // It has no logins of its own.
	}
	role := s.Role
	s.mu.Unlock()
	switch {
	case !known:
		http.Error(w, "unknown login", http.StatusUnauthorized)
	case r.FormValue("from") != "":
		s.tell(w, r)
	case r.Method == http.MethodGet:
		io.WriteString(w, s.get(r.FormValue("key")))
	case role == service.RoleReplica:
		http.Error(w, "read-only", http.StatusForbidden)
	case !s.put(r.FormValue("key"), r.FormValue("value"), time.Now().Add(time.Minute)):
		http.Error(w, "not acknowledged", http.StatusServiceUnavailable)
	}
}

func (s *fakeServer) get(key string) (value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		if k, v, _ := strings.Cut(line, " "); k == key {
			value = v
		}
	}
	return value
}

func (s *fakeServer) add(lines ...string) {
	for _, line := range lines {
		s.lines = append(s.lines, line)
		_, _ = s.file.WriteString(line + "\n")
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// put returns when the value is kept, by the replica too where it is waited for.
func (s *fakeServer) put(key, value string, deadline time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(key + " " + value)
	for mine := len(s.lines); s.told.Wait && s.fetched < mine; {
		if time.Now().After(deadline) {
			return false
		}
		s.mu.Unlock()
		time.Sleep(time.Millisecond)
		s.mu.Lock()
	}
	return true
}

// tell gives the lines from a number on: who asks has those before it.
func (s *fakeServer) tell(w http.ResponseWriter, r *http.Request) {
	var from int
	fmt.Sscan(r.FormValue("from"), &from)
	s.mu.Lock()
	s.fetched = from
	if len(s.lines) <= from {
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-time.After(50 * time.Millisecond):
		}
		s.mu.Lock()
	}
	var lines []string
	if from < len(s.lines) {
		lines = s.lines[from:]
	}
	data, _ := json.Marshal(lines)
	s.mu.Unlock()
	w.Write(data)
}

// fetch follows the primary.
func (s *fakeServer) fetch() {
	for {
		s.mu.Lock()
		if s.Role == service.RolePrimary {
			s.mu.Unlock()
			return
		}
		from := len(s.lines)
		s.mu.Unlock()
		login := s.Server.Logins.Replication
		target := url.URL{Scheme: "http", User: url.UserPassword(login.Name, login.Password), Host: s.Primary.String(), RawQuery: fmt.Sprintf("from=%d", from)}
		var lines []string
		response, err := http.Get(target.String())
		if err == nil {
			if response.StatusCode == http.StatusOK {
				_ = json.NewDecoder(response.Body).Decode(&lines)
			} else {
				err = errors.New(response.Status)
			}
			response.Body.Close()
		}
		s.mu.Lock()
		if len(lines) > 0 && s.Role == service.RoleReplica {
			s.add(lines...)
		}
		s.mu.Unlock()
		if err != nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// write and read are what an app does with a URL.
func write(ctx context.Context, base, key, value string) error {
	_, err := request(ctx, http.MethodPost, base, url.Values{"key": {key}, "value": {value}})
	return err
}

func read(ctx context.Context, base, key string) (string, error) {
	return request(ctx, http.MethodGet, base, url.Values{"key": {key}})
}

func request(ctx context.Context, method, base string, values url.Values) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, base+"?"+values.Encode(), nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}
