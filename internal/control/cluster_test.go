package control

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/cert"
	"github.com/springtide/springtide/internal/redact"
)

func TestWhatAClusterCannotDoForAnAppIsSaidBeforeItIsBuilt(t *testing.T) {
	worker := func(own bool) map[springtide.ProcessName]springtide.Process {
		return map[springtide.ProcessName]springtide.Process{"worker": {Worker: &springtide.Worker{Own: own}}}
	}
	for _, test := range []struct {
		what    string
		cluster *cluster
		app     springtide.App
		said    string
	}{
		{"one machine", nil, springtide.App{Processes: worker(false)}, ""},
		{"no registry", &cluster{}, springtide.App{Name: "quiz"}, "nodes can pull quiz from nowhere"},
		{"one of the user's own", &cluster{}, springtide.App{Build: springtide.Build{Push: "registry.example.com/quiz"}}, ""},
		{"no runner", &cluster{registry: "r:1", hasAPI: true}, springtide.App{Processes: worker(false)}, "there is no image of tide"},
		{"a runner without the platform", &cluster{registry: "r:1", hasRunner: true}, springtide.App{Processes: worker(false)}, "worker has nowhere to lease its runs"},
		{"a worker without the platform", &cluster{registry: "r:1"}, springtide.App{Processes: worker(true)}, "worker has nowhere to lease its runs"},
		{"a runner", &cluster{registry: "r:1", hasAPI: true, hasRunner: true}, springtide.App{Processes: worker(false)}, ""},
	} {
		err := test.cluster.check(t.Context(), test.app)
		if test.said == "" && err != nil || test.said != "" && (springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), test.said)) {
			t.Errorf("%s: %v", test.what, err)
		}
	}
}

func TestOutputOfAClusterIsReadWithoutSecretsOrNotAtAll(t *testing.T) {
	asked, away := 0, true
	c := &cluster{
		tokens: regexp.MustCompile(tokenPrefix + `[\w.-]+`), hidden: map[springtide.ReleaseID]*redact.Redactor{},
		secrets: func(context.Context, springtide.ReleaseID) ([][]byte, error) {
			if asked++; away {
				return nil, errors.New("the store is away")
			}
			return [][]byte{[]byte("hunter2hunter2")}, nil
		},
	}
	id := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	if text := c.clean(t.Context(), id, 1, "hello"); text != redact.Marker {
		t.Errorf("while it is not known what is secret: %q", text)
	}
	away = false
	given := []springtide.Instance{{ID: "a"}, {ID: "b", Group: springtide.GroupID{Environment: id, Release: 1}, LastLines: []string{"pass hunter2hunter2", "as tide_instance_abc.d-e_f,"}}}
	cleaned := c.cleanAll(t.Context(), given)
	if lines := cleaned[1].LastLines; lines[0] != "pass [secret]" || lines[1] != "as [secret]," {
		t.Errorf("%q", lines)
	}
	if given[1].LastLines[0] != "pass hunter2hunter2" {
		t.Error("what the engine holds was changed")
	}
	if asked != 2 {
		t.Errorf("it was asked %d times what is secret", asked)
	}
	c.forget(id)
	if c.clean(t.Context(), id, 1, "x"); asked != 3 {
		t.Error("what a release of an environment that is gone had is still known")
	}
}

func TestAClusterThatIsAwayIsNoErrorAndOneThatRefusesIs(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/version" {
			_, _ = w.Write([]byte(`{"major": "1", "minor": "34"}`))
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 401, "reason": "Unauthorized"}`))
	}))
	defer refusing.Close()
	for url, kind := range map[string]springtide.ErrorKind{"http://127.0.0.1:1": "", refusing.URL: springtide.Unauthorized} {
		if err := CheckEngine(t.Context(), EngineOptions{Kind: EngineKubernetes, Kubeconfig: kubeconfigOf(t, url)}, t.TempDir(), "", slog.New(slog.DiscardHandler)); springtide.KindOf(err) != kind {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAPlatformDoesNotStartInTheNamespaceOfAnother(t *testing.T) {
	key := []byte("the key of the one that is there")
	owner := `{"kind": "Secret", "apiVersion": "v1", "data": {"platform": "` + base64.StdEncoding.EncodeToString([]byte(platformNameOf(key))) + `"}}`
	allowing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.URL.Path == "/version":
			_, _ = io.WriteString(w, `{"major": "1", "minor": "34"}`)
		case strings.HasSuffix(r.URL.Path, "/selfsubjectaccessreviews"):
			_, _ = io.WriteString(w, `{"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": {"allowed": true}}`)
		default:
			_, _ = io.WriteString(w, owner)
		}
	}))
	defer allowing.Close()
	for _, test := range []struct {
		what, file, key, store string
		kind                   springtide.ErrorKind
	}{
		{"the same", instanceKey, string(key), "", ""},
		{"another", instanceKey, "the key of somebody else", "", springtide.Conflict},
		{"a new one", "nothing", "", "", springtide.Conflict},
		{"the same by its store", ledgerKey, string(key), "postgres://db", ""},
		{"another by its store", ledgerKey, "the key of somebody else", "postgres://db", springtide.Conflict},
		{"one that does not know its store yet", instanceKey, "of this server", "postgres://db", ""},
	} {
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, test.file), []byte(test.key), 0o600); err != nil {
			t.Fatal(err)
		}
		o := EngineOptions{Kind: EngineKubernetes, Kubeconfig: kubeconfigOf(t, allowing.URL)}
		if err := CheckEngine(t.Context(), o, data, test.store, slog.New(slog.DiscardHandler)); springtide.KindOf(err) != test.kind {
			t.Errorf("%s: %v", test.what, err)
		}
	}
}

func TestPodsReachThePlatformByANameThatLeadsToIt(t *testing.T) {
	authority, err := cert.OpenAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// Two ports in a row that nobody has; another process may be quicker.
	var listeners instanceListeners
	for range 20 {
		free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(free.Addr().String())
		free.Close()
		p := &plane{Options: Options{Engine: EngineOptions{InstanceAddress: net.JoinHostPort("tide.example.com", port)}}, authority: authority}
		if listeners, err = p.listenForPods(t.Context()); err == nil {
			break
		}
	}
	if listeners.api == nil || listeners.smtp == nil {
		t.Fatal("there is no listener")
	}
	defer listeners.api.Close()
	defer listeners.smtp.Close()
	_, port, _ := net.SplitHostPort(listeners.api.Addr().String())
	if listeners.url != "https://tide.example.com:"+port {
		t.Errorf("pods are told %s", listeners.url)
	}
	server := api.New(api.Options{Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { _ = server.ServeInstancesElsewhere(ctx, listeners.api, listeners.tls) }()
	known := x509.NewCertPool()
	known.AppendCertsFromPEM(listeners.authority)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: known, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
		},
	}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, listeners.url+"/v1/apps/quiz/environments/production/locks", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: %s", answer.Status)
	}
}
