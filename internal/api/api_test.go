package api_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/api/apitest"
	"github.com/springtide/springtide/internal/socket"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const quizPath = "/v1/apps/quiz/environments/production"

// serve serves a platform and gives a client of its Unix socket.
func serve(t testing.TB, config *tls.Config) (*apitest.Server, *http.Client) {
	t.Helper()
	server, err := apitest.Serve(apitest.New(), t.TempDir(), config)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return socket.Dial(ctx, filepath.Join(server.Data, "run", "api.sock"))
	}}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server, &http.Client{Transport: transport}
}

// ask makes a request and gives the status and the body.
func ask(t testing.TB, client *http.Client, method, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	if strings.HasPrefix(url, "/") {
		url = "http://tide" + url
	}
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

func wantError(t *testing.T, response *http.Response, body string, status int, kind springtide.ErrorKind, contains string) {
	t.Helper()
	var problem api.Problem
	if err := json.Unmarshal([]byte(body), &problem); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if response.StatusCode != status || problem.Err.Kind != kind || !strings.Contains(problem.Err.Error(), contains) {
		t.Errorf("got %d %s %q, want %d %s with %q", response.StatusCode, problem.Err.Kind, problem.Err.Error(), status, kind, contains)
	}
	if got := response.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("the error is %s", got)
	}
}

// source is an app's folder as tar.gz.
func source(t *testing.T, files ...string) string {
	t.Helper()
	var text bytes.Buffer
	zipped := gzip.NewWriter(&text)
	archive := tar.NewWriter(zipped)
	for _, name := range files {
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// deployed deploys the quiz and returns when it serves.
func deployed(t *testing.T, server *apitest.Server, client *http.Client) {
	t.Helper()
	response, body := ask(t, client, "POST", quizPath+"/deploys", source(t, "tide.yaml"), "Content-Type", "application/gzip")
	if response.StatusCode != http.StatusAccepted {
		t.Fatalf("deploy: %s: %s", response.Status, body)
	}
	server.Wait()
}

func TestEveryOperationIsDocumented(t *testing.T) {
	_, client := serve(t, nil)
	response, body := ask(t, client, "GET", "/openapi.json", "")
	if got := response.Header.Get("Content-Type"); got != "application/openapi+json" {
		t.Errorf("content type %q", got)
	}
	var document struct {
		Paths map[string]map[string]struct {
			OperationID string                     `json:"operationId"`
			Summary     string                     `json:"summary"`
			Responses   map[string]json.RawMessage `json:"responses"`
			RequestBody json.RawMessage            `json:"requestBody"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	if _, ok := document.Components.Schemas["ErrorModel"]; ok {
		t.Error("the document has an error model that is never answered")
	}
	var routes []string
	ids := map[string]bool{}
	for path, operations := range document.Paths {
		for method, operation := range operations {
			name := strings.ToUpper(method) + " " + path
			routes = append(routes, name+"  "+operation.OperationID+": "+operation.Summary)
			if operation.OperationID == "" || ids[operation.OperationID] || operation.Summary == "" {
				t.Errorf("%s: ID %q, summary %q", name, operation.OperationID, operation.Summary)
			}
			ids[operation.OperationID] = true
			want := []string{"401", "403", "422", "500", "503"}
			if strings.Contains(path, "{") {
				want = append(want, "404")
			}
			if method != "get" {
				want = append(want, "400", "409")
			}
			for _, status := range want {
				if !strings.Contains(string(operation.Responses[status]), "#/components/schemas/Problem") {
					t.Errorf("%s: %s is not documented as a Problem", name, status)
				}
			}
			success := 0
			for status := range operation.Responses {
				if status < "300" {
					success++
				}
			}
			if success != 1 && operation.OperationID != "enqueue" { // which gives a run that is new, or one that was there
				t.Errorf("%s: %d documented successes", name, success)
			}
		}
	}
	slices.Sort(routes)
	golden(t, "routes.txt", strings.Join(routes, "\n")+"\n")
	for _, match := range strings.Split(body, `"$ref": "#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(match, `"`)
		if _, ok := document.Components.Schemas[name]; !ok {
			t.Errorf("the schema %s is referred to but missing", name)
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// TestAnswersAreAsDocumented asks every operation that answers at once, and
// holds its status and its fields against the document.
func TestAnswersAreAsDocumented(t *testing.T) {
	server, client := serve(t, nil)
	deployed(t, server, client)
	_, body := ask(t, client, "GET", "/openapi.json", "")
	var document map[string]any
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatal(err)
	}
	quiz := springtide.EnvironmentID{App: "quiz", Name: springtide.Production}
	server.SetSchedule(quiz, "tidy", springtide.Schedule{Cron: "0 * * * *", Job: springtide.Job{Command: "./tidy"}})
	server.Catch(quiz, "quiz@example.com", "ada@example.com", "Hello", "Hello Ada")
	app := `{"name":"quiz","build":{"timeout":1,"limits":{}},"processes":{},"keep_releases":10}`
	instance := "/instances/web-1-aaaaa"
	for _, call := range []struct{ id, method, path, body string }{
		{"get-status", "GET", "/v1/status", ""},
		{"get-ca", "GET", "/v1/ca", ""},
		{"create-token", "POST", "/v1/tokens", `{"name":"ci"}`},
		{"list-tokens", "GET", "/v1/tokens", ""},
		{"delete-token", "DELETE", "/v1/tokens/ci", ""},
		{"list-apps", "GET", "/v1/apps", ""},
		{"list-environments", "GET", "/v1/apps/quiz/environments", ""},
		{"get-environment", "GET", quizPath, ""},
		{"list-releases", "GET", quizPath + "/releases", ""},
		{"list-instances", "GET", quizPath + "/instances", ""},
		{"list-decisions", "GET", quizPath + "/decisions?limit=5", ""},
		{"get-scale", "GET", quizPath + "/scale", ""},
		{"change-scale", "PATCH", quizPath + "/scale", `{"set":{"web":{"min":2,"max":10}}}`},
		{"change-config", "PATCH", quizPath + "/config", `{"set":{"COLOUR":"blue"}}`},
		{"get-config", "GET", quizPath + "/config", ""},
		{"change-domains", "PATCH", quizPath + "/domains", `{"add":["Quiz.example.com"]}`},
		{"list-certificates", "GET", "/v1/certificates", ""},
		{"add-certificate", "POST", quizPath + "/certificates", `{"names":["shop.example.com"],"chain":"chain","key":"key"}`},
		{"renew-certificate", "POST", quizPath + "/certificates/shop.example.com/renew", ""},
		{"remove-certificate", "DELETE", quizPath + "/certificates/shop.example.com", ""},
		{"get-domains", "GET", quizPath + "/domains", ""},
		{"plan", "POST", quizPath + "/plan", app},
		{"get-logs", "GET", quizPath + "/logs?tail=5", ""},
		{"get-deploy", "GET", "/v1/deploys/d1", ""},
		{"rollback", "POST", quizPath + "/rollback", `{"release":1}`},
		{"restart", "POST", quizPath + "/restart", ""},
		{"enqueue", "POST", quizPath + "/jobs", `{"queue":"hands","payload":{"id":7},"key":"k","delay_seconds":0.5,"attempts":3}`},
		{"enqueue", "POST", quizPath + "/jobs", `{"key":"k"}`},
		{"enqueue-batch", "POST", quizPath + "/batches", `{"id":"news","jobs":[{"queue":"hands"},{"command":"exit 1"}],"done":{"command":"echo done"}}`},
		{"get-batch", "GET", quizPath + "/batches/news", ""},
		{"list-jobs", "GET", quizPath + "/jobs?queue=hands&state=available&state=scheduled", ""},
		{"get-job", "GET", quizPath + "/jobs/job-3?wait=true", ""},
		{"get-job-output", "GET", quizPath + "/jobs/job-3/output?follow=true", ""},
		{"retry-job", "POST", quizPath + "/jobs/job-1/retry", ""},
		{"replay-jobs", "POST", quizPath + "/jobs/replay?queue=default", ""},
		{"list-queues", "GET", quizPath + "/queues", ""},
		{"pause-queue", "POST", quizPath + "/queues/default/pause", ""},
		{"resume-queue", "POST", quizPath + "/queues/default/resume", ""},
		{"list-schedules", "GET", quizPath + "/schedules", ""},
		{"list-slots", "GET", quizPath + "/schedules/next?count=3", ""},
		{"trigger-schedule", "POST", quizPath + "/schedules/tidy/trigger", ""},
		{"pause-schedule", "POST", quizPath + "/schedules/tidy/pause", ""},
		{"resume-schedule", "POST", quizPath + "/schedules/tidy/resume", ""},
		{"lease", "POST", quizPath + "/leases", `{"runner":"worker-1","queues":["hands"],"most":10,"wait_seconds":1}`},
		{"start-leased", "POST", quizPath + "/leases/start", `{"runs":[{"run":"job-1","fence":3}]}`},
		{"heartbeat", "POST", quizPath + "/leases/heartbeat", `{"runner":"worker-1","runs":[{"run":"job-1","fence":3,"progress":{"percent":40}}]}`},
		{"append-output", "POST", quizPath + "/leases/output?run=job-1&fence=5&offset=0", "hello"},
		{"cancel-job", "POST", quizPath + "/jobs/job-1/cancel", ""},
		{"complete", "POST", quizPath + "/leases/complete", `{"runs":[{"run":"job-1","fence":5,"verdict":"succeeded","result":{"rows":3}}]}`},
		{"take-lock", "POST", quizPath + "/locks/import", `{"owner":"me"}`},
		{"renew-lock", "POST", quizPath + "/locks/import/renew", `{"fence":7,"ttl_seconds":60}`},
		{"list-locks", "GET", quizPath + "/locks", ""},
		{"release-lock", "DELETE", quizPath + "/locks/import?fence=7", ""},
		{"list-mails", "GET", quizPath + "/mail", ""},
		{"get-mail", "GET", quizPath + "/mail/mail-1", ""},
		{"suppress", "POST", quizPath + "/mail/suppressions", `{"address":"ada@example.com"}`},
		{"list-suppressions", "GET", quizPath + "/mail/suppressions", ""},
		{"unsuppress", "DELETE", quizPath + "/mail/suppressions?address=ada@example.com", ""},
		{"start-run", "POST", quizPath + "/runs", `{"command":"exit 3"}`},
		{"get-run", "GET", quizPath + "/runs/run-1?wait=true", ""},
		{"stop", "POST", quizPath + "/stop", ""},
		{"start", "POST", quizPath + "/start", ""},
		{"shell", "GET", quizPath + instance + "/shell", ""},
		{"destroy-environment", "DELETE", quizPath, ""},
		{"upgrade-platform", "POST", "/v1/platform/upgrade", `{"file":"/usr/local/lib/tide-v2"}`},
		{"drain", "POST", "/v1/platform/drain", ""},
	} {
		t.Run(call.id, func(t *testing.T) {
			response, body := ask(t, client, call.method, call.path, call.body)
			server.Wait()
			operation := find(t, document, call.id)
			status := response.Status[:3]
			documented, ok := operation["responses"].(map[string]any)[status].(map[string]any)
			if call.id == "shell" { // asked without a WebSocket
				if response.StatusCode != http.StatusNotFound && response.StatusCode != http.StatusUpgradeRequired {
					t.Errorf("got %s: %s", response.Status, body)
				}
				return
			}
			if !ok || response.StatusCode >= 300 {
				t.Fatalf("got %s, documented is %v: %s", response.Status, operation["responses"], body)
			}
			content, _ := documented["content"].(map[string]any)
			media, _ := content["application/json"].(map[string]any)
			if media == nil {
				return
			}
			var value any
			if err := json.Unmarshal([]byte(body), &value); err != nil {
				t.Fatal(err)
			}
			for _, fault := range conform(document, media["schema"], value, "answer") {
				t.Error(fault)
			}
		})
	}
}

func find(t *testing.T, document map[string]any, id string) map[string]any {
	t.Helper()
	for _, operations := range document["paths"].(map[string]any) {
		for _, operation := range operations.(map[string]any) {
			if operation := operation.(map[string]any); operation["operationId"] == id {
				return operation
			}
		}
	}
	t.Fatalf("no operation %s", id)
	return nil
}

// conform holds a value against a schema, as far as our documents go.
func conform(document map[string]any, schema, value any, at string) (faults []string) {
	s := schema.(map[string]any)
	if ref, ok := s["$ref"].(string); ok {
		name := strings.TrimPrefix(ref, "#/components/schemas/")
		return conform(document, document["components"].(map[string]any)["schemas"].(map[string]any)[name], value, at)
	}
	kinds := []string{}
	switch kind := s["type"].(type) {
	case nil:
		return nil // any JSON
	case string:
		kinds = append(kinds, kind)
	case []any:
		for _, k := range kind {
			kinds = append(kinds, k.(string))
		}
	}
	switch value := value.(type) {
	case nil:
		if !slices.Contains(kinds, "null") {
			faults = append(faults, at+" is null")
		}
	case map[string]any:
		properties, _ := s["properties"].(map[string]any)
		for name, field := range value {
			if property, ok := properties[name]; ok {
				faults = append(faults, conform(document, property, field, at+"."+name)...)
			} else if more, ok := s["additionalProperties"].(map[string]any); ok {
				faults = append(faults, conform(document, more, field, at+"."+name)...)
			} else {
				faults = append(faults, at+"."+name+" is not documented")
			}
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := value[name.(string)]; !ok {
				faults = append(faults, at+"."+name.(string)+" is missing")
			}
		}
	case []any:
		if !slices.Contains(kinds, "array") {
			return append(faults, at+" is a list")
		}
		for _, element := range value {
			faults = append(faults, conform(document, s["items"], element, at+"[]")...)
		}
	case string:
		if !slices.Contains(kinds, "string") {
			faults = append(faults, at+" is a string")
		}
	case float64:
		if !slices.Contains(kinds, "integer") && !slices.Contains(kinds, "number") {
			faults = append(faults, at+" is a number")
		}
	}
	return faults
}

func TestAnErrorHasTheStatusOfItsKind(t *testing.T) {
	server, client := serve(t, nil)
	deployed(t, server, client)
	for _, call := range []struct {
		method, path, body string
		status             int
		kind               springtide.ErrorKind
		contains           string
	}{
		{"GET", "/v1/apps/none/environments/production", "", 404, springtide.NotFound, "there is no environment none/production"},
		{"GET", "/v1/deploys/none", "", 404, springtide.NotFound, "no deploy"},
		{"GET", "/v1/nothing", "", 404, springtide.NotFound, "/openapi.json"},
		{"PUT", "/v1/status", "", 405, springtide.Invalid, "does not take PUT"},
		{"GET", "/v1/apps/Quiz/environments/production", "", 422, springtide.Invalid, "path.app"},
		{"PATCH", quizPath + "/scale", `{"set":{"web":{"min":3,"max":1}}}`, 422, springtide.Invalid, "3..1 is not a range"},
		{"PATCH", quizPath + "/scale", `{"set":{"web":{"min":3}}}`, 422, springtide.Invalid, "max"},
		{"PATCH", quizPath + "/scale", `{"se`, 400, springtide.Invalid, ""},
		{"PATCH", quizPath + "/config", `{"set":{"A B":"c"}}`, 422, springtide.Invalid, "cannot be the name of a variable"},
		{"PATCH", quizPath + "/config", `{"set":{"PORT":"1"}}`, 422, springtide.Invalid, "PORT is set by the platform"},
		{"PATCH", quizPath + "/config", `{"sat":{}}`, 422, springtide.Invalid, "sat"},
		{"PATCH", quizPath + "/domains", `{"add":["https://quiz.example.com/"]}`, 422, springtide.Invalid, "not a host name"},
		{"POST", quizPath + "/deploys", "this is no archive", 422, springtide.Invalid, "not a tar.gz"},
		{"GET", quizPath + "/runs/none", "", 404, springtide.NotFound, "no run"},
		{"GET", "/v1/apps/none/environments/production/live", "", 404, springtide.NotFound, "no environment"},
		{"GET", "/v1/apps/none/environments/production/logs", "", 404, springtide.NotFound, "no environment"},
		{"GET", quizPath + "/instances/none/shell", "", 404, springtide.NotFound, "no instance"},
		{"PATCH", quizPath + "/config", `{"set":{"A":"` + strings.Repeat("a", 1<<20) + `"}}`, 413, springtide.Invalid, "too large"},
	} {
		t.Run(call.method+" "+call.path, func(t *testing.T) {
			response, body := ask(t, client, call.method, call.path, call.body)
			wantError(t, response, body, call.status, call.kind, call.contains)
		})
	}
}

func TestAPanicIsAnsweredWith500(t *testing.T) {
	_, client := serve(t, nil)
	response, body := ask(t, client, "POST", quizPath+"/deploys", source(t, "PANIC"))
	wantError(t, response, body, 500, springtide.Internal, "the server failed on this request")
	if id := response.Header.Get("X-Request-ID"); id == "" || !strings.Contains(body, id) {
		t.Errorf("the hint does not name request %q: %s", id, body)
	}
	if response, _ := ask(t, client, "GET", "/v1/status", ""); response.StatusCode != http.StatusOK {
		t.Errorf("afterwards: %s", response.Status)
	}
}

func TestARequestKeepsItsID(t *testing.T) {
	_, client := serve(t, nil)
	response, _ := ask(t, client, "GET", "/v1/status", "", "X-Request-ID", "mine-1")
	if got := response.Header.Get("X-Request-ID"); got != "mine-1" {
		t.Errorf("got %q", got)
	}
	response, _ = ask(t, client, "GET", "/v1/status", "", "X-Request-ID", strings.Repeat("x", 200))
	if got := response.Header.Get("X-Request-ID"); len(got) == 200 || got == "" {
		t.Errorf("got %q", got)
	}
}

func TestAClientOfAnotherVersionIsToldWhatToUpgrade(t *testing.T) {
	_, client := serve(t, nil)
	for _, c := range []struct{ version, contains string }{
		{"0", "upgrade the `tide` command you are using"},
		{"99", "upgrade the `tide` that serves"},
		{"new", "is not a number"},
	} {
		response, body := ask(t, client, "GET", "/v1/status", "", "Tide-API", c.version)
		wantError(t, response, body, 422, springtide.Invalid, c.contains)
		if got := response.Header.Get("Tide-API"); got != "1" {
			t.Errorf("the server says it speaks %q", got)
		}
	}
}

func TestHealthAndMetricsNeedNoTokenOnTheSocket(t *testing.T) {
	_, client := serve(t, nil)
	if response, body := ask(t, client, "GET", "/healthz", ""); response.StatusCode != 200 || body != "ok\n" {
		t.Errorf("healthz: %s %q", response.Status, body)
	}
	if _, body := ask(t, client, "GET", "/metrics", ""); body != "tide_up 1\n" {
		t.Errorf("metrics: %q", body)
	}
}

// secured serves over TLS with a certificate of httptest, which is for
// example.com and 127.0.0.1.
func secured(t *testing.T) (*apitest.Server, *http.Client, *http.Client) {
	t.Helper()
	borrowed := httptest.NewUnstartedServer(nil)
	borrowed.StartTLS()
	certificate := borrowed.Certificate()
	config := &tls.Config{Certificates: borrowed.TLS.Certificates}
	borrowed.Close()
	server, owner := serve(t, config)
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	return server, owner, &http.Client{Transport: transport}
}

func TestOverTLSAClientNeedsAToken(t *testing.T) {
	server, owner, remote := secured(t)
	status := "https://" + server.Address + "/v1/status"
	for _, header := range []string{"", "Bearer", "Bearer tide_", "Bearer tide_wrong", "Basic tide_x", "Bearer hello"} {
		response, body := ask(t, remote, "GET", status, "", "Authorization", header)
		wantError(t, response, body, 401, springtide.Unauthorized, "token is missing or wrong")
		if response.Header.Get("WWW-Authenticate") == "" {
			t.Error("no WWW-Authenticate")
		}
	}
	response, body := ask(t, owner, "POST", "/v1/tokens", `{"name":"ci"}`)
	var token api.NewToken
	if err := json.Unmarshal([]byte(body), &token); err != nil || response.StatusCode != 201 {
		t.Fatalf("%s: %v in %s", response.Status, err, body)
	}
	if !strings.HasPrefix(token.Secret, "tide_") || len(token.Secret) != len("tide_")+43 {
		t.Errorf("the secret is %q", token.Secret)
	}
	bearer := "Bearer " + token.Secret
	if response, body := ask(t, remote, "GET", status, "", "Authorization", bearer); response.StatusCode != 200 {
		t.Errorf("with a token: %s %s", response.Status, body)
	}
	if _, body := ask(t, owner, "GET", "/v1/tokens", ""); strings.Contains(body, token.Secret) || !strings.Contains(body, "last_used") {
		t.Errorf("the list of tokens: %s", body)
	}
	for _, owners := range []struct{ method, path, body string }{
		{"POST", "/v1/platform/drain", ""},
		{"POST", "/v1/platform/upgrade", "{}"},
		{"POST", "/v1/tokens", `{"name":"more"}`},
		{"DELETE", "/v1/tokens/ci", ""},
		{"GET", "/v1/apps/quiz/environments/production/secrets/export?recipient=age1xyz", ""},
	} {
		response, body := ask(t, remote, owners.method, "https://"+server.Address+owners.path, owners.body, "Authorization", bearer)
		wantError(t, response, body, 403, springtide.Denied, "a token is not enough")
	}
	if response, _ := ask(t, remote, "GET", "https://"+server.Address+"/healthz", ""); response.StatusCode != 200 {
		t.Errorf("healthz: %s", response.Status)
	}
	response, body = ask(t, remote, "GET", "https://"+server.Address+"/metrics", "", "Authorization", bearer)
	wantError(t, response, body, 404, springtide.NotFound, "/metrics")
	if response, _ := ask(t, owner, "DELETE", "/v1/tokens/ci", ""); response.StatusCode != 204 {
		t.Errorf("revoke: %s", response.Status)
	}
	response, body = ask(t, remote, "GET", status, "", "Authorization", bearer)
	wantError(t, response, body, 401, springtide.Unauthorized, "token is missing or wrong")
}

func TestEventsAreResumedBehindTheLastID(t *testing.T) {
	server, client := serve(t, nil)
	deployed(t, server, client)
	read := func(header ...string) []string {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://tide/v1/events?deploy=d1&after=0", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		response, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Errorf("content type %q", got)
		}
		var ids []string
		for scanner := bufio.NewScanner(response.Body); scanner.Scan(); {
			if id, ok := strings.CutPrefix(scanner.Text(), "id: "); ok {
				ids = append(ids, id)
			}
			if strings.Contains(scanner.Text(), "deploy.done") {
				return ids
			}
		}
		t.Fatal("the stream ended before the deploy")
		return nil
	}
	if got := read(); len(got) != 6 || got[0] != "1" {
		t.Errorf("from the start: %v", got)
	}
	if got := read("Last-Event-ID", "4"); len(got) != 2 || got[0] != "5" {
		t.Errorf("behind 4: %v", got)
	}
}

func TestMetricsAreNotServedOnAPublicAddress(t *testing.T) {
	server := api.New(api.Options{Metrics: http.NotFoundHandler()})
	err := server.ServeMetrics(t.Context(), publicListener{})
	if springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("got %v", err)
	}
}

// publicListener says that it listens on a public address.
type publicListener struct{ net.Listener }

func (publicListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4zero, Port: 9} }
func (publicListener) Close() error   { return nil }
