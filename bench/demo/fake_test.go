package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/socket"
)

// TestMain lets this binary stand for `tide`: a platform in one process, whose
// instances and control plane are processes that only sleep.
func TestMain(m *testing.M) {
	if os.Getenv("DEMO_FAKE_TIDE") == "" {
		os.Exit(m.Run())
	}
	if err := fakeTide(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

func fakeTide(args []string) error {
	flags := map[string]string{}
	for i, arg := range args {
		if strings.HasPrefix(arg, "--") && i+1 < len(args) {
			flags[arg] = args[i+1]
		}
	}
	data := flags["--data"]
	switch args[0] {
	case "sleep":
		for {
			time.Sleep(time.Hour)
		}
	case "serve":
		return fakeServe(data, flags["--https"])
	case "status":
		return fakeCall(data, "GET", "/v1/status", os.Stdout)
	case "deploy":
		version, err := os.ReadFile(filepath.Join(args[1], "version.go"))
		if err == nil && strings.Contains(string(version), `"broken"`) {
			err = fmt.Errorf("the build failed")
		}
		if err != nil {
			return err
		}
		fmt.Println(`{"kind":"rollout.step","message":"starting instances"}`)
		if err := fakeCall(data, "POST", "/fake/deploy", io.Discard); err != nil {
			return err
		}
		fmt.Println(`{"id":"d","timings":{"build_seconds":1.5,"start_seconds":0.1,"switch_seconds":0.01}}`)
		return nil
	}
	return fmt.Errorf("unknown command %q", args[0])
}

func fakeCall(data, method, path string, out io.Writer) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return socket.Dial(ctx, filepath.Join(data, "run", "api.sock"))
	}}}
	request, err := http.NewRequest(method, "http://tide"+path, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(out, answer.Body)
	return err
}

// fake is the platform.
type fake struct {
	data      string
	mu        sync.Mutex
	instances []*fakeInstance
	control   *exec.Cmd
	release   int
	count     int
	open      atomic.Int32
	leaving   atomic.Bool
}

type fakeInstance struct {
	springtide.Instance
	process *exec.Cmd
	gone    chan struct{}
	killed  bool
}

func fakeServe(data, address string) error {
	f := &fake{data: data}
	for _, folder := range []string{"ca", "run"} {
		if err := os.MkdirAll(filepath.Join(data, folder), 0o700); err != nil {
			return err
		}
	}
	certificate, err := f.authority()
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	edge := &http.Server{Handler: f.app(), TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}}}
	go edge.ServeTLS(listener, "", "")
	if err := f.startControl(); err != nil {
		return err
	}
	api, err := socket.Listen(filepath.Join(data, "run", "api.sock"))
	if err != nil {
		return err
	}
	go http.Serve(api, f.api())
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	<-told
	f.leaving.Store(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.control.Process.Kill()
}

func (f *fake) authority() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"quiz.localhost"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, os.WriteFile(filepath.Join(f.data, "ca", "ca.crt"), text, 0o600)
}

func (f *fake) sleeper() (*exec.Cmd, error) {
	cmd := exec.Command(os.Args[0], "sleep", "--data", f.data)
	return cmd, cmd.Start()
}

// startControl starts the control plane, and again whenever it dies.
func (f *fake) startControl() error {
	process, err := f.sleeper()
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.control = process
	f.mu.Unlock()
	go func() {
		process.Wait()
		if !f.leaving.Load() {
			f.startControl()
		}
	}()
	return nil
}

func (f *fake) startInstance() {
	process, err := f.sleeper()
	if err != nil {
		return
	}
	f.count++
	id := springtide.InstanceID(fmt.Sprintf("web-%d-%05d", f.release, f.count))
	i := &fakeInstance{process: process, gone: make(chan struct{}), Instance: springtide.Instance{
		ID: id, State: springtide.InstanceReady, PID: process.Process.Pid,
		Group: springtide.GroupID{Environment: springtide.EnvironmentID{App: quiz, Name: springtide.Production}, Release: f.release, Process: springtide.Web},
	}}
	f.instances = append(f.instances, i)
	go func() {
		process.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		for n, other := range f.instances {
			if other == i {
				i.killed = true
				f.instances = append(f.instances[:n:n], f.instances[n+1:]...)
				f.startInstance()
				close(i.gone)
			}
		}
	}()
}

// retire ends the first n instances politely.
func (f *fake) retire(n int) {
	for _, i := range f.instances[:n] {
		i.process.Process.Kill()
		close(i.gone)
	}
	f.instances = f.instances[n:]
}

func (f *fake) api() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/status", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		fmt.Fprintf(w, `{"processes":{"supervisor":%d,"control":%d,"edges":[%d]}}`, os.Getpid(), f.control.Process.Pid, os.Getpid())
	})
	mux.HandleFunc("GET /v1/apps/quiz/environments/production/instances", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		list := []springtide.Instance{}
		for _, i := range f.instances {
			list = append(list, i.Instance)
		}
		json.NewEncoder(w).Encode(list)
	})
	mux.HandleFunc("POST /fake/deploy", func(http.ResponseWriter, *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		old := len(f.instances)
		f.release++
		for range max(old, 1) {
			f.startInstance()
		}
		f.retire(old)
	})
	mux.HandleFunc("POST /v1/platform/drain", func(w http.ResponseWriter, _ *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if os.Getenv("DEMO_FAKE_TIDE") != "leaky" {
			f.retire(len(f.instances))
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

// pick gives an instance, and starts one more when there is much to do.
func (f *fake) pick() *fakeInstance {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.instances); n < 3 && int(f.open.Load()) > 3*n {
		f.startInstance()
	}
	return f.instances[f.count%len(f.instances)]
}

func (f *fake) app() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		f.open.Add(1)
		defer f.open.Add(-1)
		i := f.pick()
		sent, _ := io.ReadAll(r.Body)
		ms, _ := strconv.Atoi(r.URL.Query().Get("ms"))
		time.Sleep(time.Duration(ms) * time.Millisecond)
		size, _ := strconv.Atoi(r.URL.Query().Get("bytes"))
		body := fmt.Sprintf("%s %s %s", i.ID, r.URL.Query().Get("token"), digestOf(sent))
		if os.Getenv("DEMO_FAKE_TIDE") == "failing" && i.Group.Release == 2 && r.URL.Path == "/version" {
			http.Error(w, "no instance", http.StatusBadGateway)
			return
		}
		if size > 0 {
			body = strings.Repeat("x", size)
		}
		f.sign(w, i)
		w.Header().Set("Repr-Digest", "sha-256=:"+digestOf([]byte(body))+":")
		io.WriteString(w, body)
	})
	mux.HandleFunc("/live/{room}", f.live)
	mux.HandleFunc("/scores", f.scores)
	return mux
}

func (f *fake) sign(w http.ResponseWriter, i *fakeInstance) {
	w.Header().Set("X-Instance", string(i.ID))
	w.Header().Set("X-Release", strconv.Itoa(i.Group.Release))
	w.Header().Set("X-Request-ID", "r")
}

func (f *fake) live(w http.ResponseWriter, r *http.Request) {
	i := f.pick()
	f.sign(w, i)
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	go func() {
		<-i.gone
		if i.killed {
			conn.CloseNow()
		}
		conn.Close(websocket.StatusGoingAway, "")
	}()
	for {
		kind, message, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		conn.Write(context.Background(), kind, message)
	}
}

func (f *fake) scores(w http.ResponseWriter, r *http.Request) {
	i := f.pick()
	f.sign(w, i)
	w.Header().Set("Content-Type", "text/event-stream")
	out := bufio.NewWriter(w)
	for n := 1; ; n++ {
		fmt.Fprintf(out, "id: %d\ndata: x\n\n", n)
		out.Flush()
		http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-i.gone:
			if i.killed {
				panic(http.ErrAbortHandler)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.StdEncoding.EncodeToString(sum[:])
}
