package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/internal/api/apitest"
	"github.com/springtide/springtide/internal/jobs"
)

// answered decodes the body of an answer that must have a status.
func answered[T any](t *testing.T, response *http.Response, body string, status int) T {
	t.Helper()
	var value T
	if response.StatusCode != status {
		t.Fatalf("got %s, want %d: %s", response.Status, status, body)
	}
	if err := json.Unmarshal([]byte(body), &value); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return value
}

// serveQuiz serves a platform that has the environment quiz/production.
func serveQuiz(t testing.TB) (*apitest.Server, *http.Client) {
	server, client := serve(t, nil)
	server.Create(springtide.EnvironmentID{App: "quiz", Name: springtide.Production})
	return server, client
}

func TestOfAnEnvironmentThatThereIsNotNothingIsTold(t *testing.T) {
	_, client := serveQuiz(t)
	const none = "/v1/apps/quiz/environments/staging"
	for _, route := range []string{
		"GET /jobs", "POST /jobs", "GET /jobs/job-1", "GET /jobs/job-1/output", "POST /jobs/job-1/cancel", "POST /jobs/job-1/retry", "POST /jobs/replay",
		"POST /batches", "GET /batches/b", "GET /queues", "POST /queues/default/pause", "POST /queues/default/resume",
		"GET /schedules", "GET /schedules/next", "POST /schedules/tidy/trigger", "POST /schedules/tidy/pause", "POST /schedules/tidy/resume",
		"POST /leases", "POST /leases/start", "POST /leases/heartbeat", "POST /leases/complete", "POST /leases/output?run=job-1&fence=1&offset=0",
		"GET /locks", "POST /locks/import", "POST /locks/import/renew", "DELETE /locks/import?fence=1",
		"GET /mail", "GET /mail/x", "GET /mail/suppressions", "POST /mail/suppressions", "DELETE /mail/suppressions?address=ada@example.com",
	} {
		method, path, _ := strings.Cut(route, " ")
		response, body := ask(t, client, method, none+path, "{}")
		wantError(t, response, body, 404, springtide.NotFound, "no environment quiz/staging")
	}
}

func TestAListOfNothingIsAListAllTheSame(t *testing.T) {
	_, client := serveQuiz(t)
	for _, path := range []string{"/jobs", "/queues", "/schedules", "/schedules/next", "/locks", "/mail", "/mail/suppressions"} {
		if _, body := ask(t, client, "GET", quizPath+path, ""); strings.TrimSpace(body) != "[]" {
			t.Errorf("%s is %s", path, body)
		}
	}
}

func TestAKeyMakesEnqueueingIdempotent(t *testing.T) {
	_, client := serveQuiz(t)
	response, body := ask(t, client, "POST", quizPath+"/jobs", `{"queue":"hands"}`, "Idempotency-Key", "order-7")
	first := answered[jobs.Enqueued](t, response, body, http.StatusCreated)
	response, body = ask(t, client, "POST", quizPath+"/jobs", `{"queue":"hands","key":"order-7"}`)
	if again := answered[jobs.Enqueued](t, response, body, http.StatusOK); again.Run != first.Run || !again.Existing {
		t.Errorf("first %+v, then %+v", first, again)
	}
	response, body = ask(t, client, "POST", quizPath+"/jobs", `{"key":"a"}`, "Idempotency-Key", "b")
	wantError(t, response, body, 422, springtide.Invalid, "Idempotency-Key and the field key differ")
}

func TestABatchIsReadBackByTheNameItWasGiven(t *testing.T) {
	_, client := serveQuiz(t)
	response, body := ask(t, client, "POST", quizPath+"/batches", `{"jobs":[{},{"command":"exit 1"}],"done":{}}`)
	made := answered[api.NewBatch](t, response, body, http.StatusCreated)
	if made.ID == "" || len(made.Runs) != 2 {
		t.Fatalf("made %+v", made)
	}
	response, body = ask(t, client, "GET", quizPath+"/batches/"+made.ID, "")
	if status := answered[jobs.BatchStatus](t, response, body, http.StatusOK); status != (jobs.BatchStatus{ID: made.ID, Size: 2, Over: 2, Dead: 1}) {
		t.Errorf("it is %+v", status)
	}
	response, body = ask(t, client, "GET", quizPath+"/jobs?state=dead&state=available&batch="+made.ID, "")
	if dead := answered[[]springtide.Run](t, response, body, http.StatusOK); len(dead) != 1 || dead[0].ID != made.Runs[1].Run {
		t.Errorf("dead are %+v", dead)
	}
}

func TestWhatARunnerMayNotSayIsRefused(t *testing.T) {
	_, client := serveQuiz(t)
	many := strings.Repeat(`{"run":"x","fence":1},`, 1001)
	for _, call := range []struct {
		path, body string
		status     int
		contains   string
	}{
		{"/jobs", `{"payload":"` + strings.Repeat("a", 256<<10) + `"}`, 422, "the limit is 256 KiB"},
		{"/jobs", `{"payload":"` + strings.Repeat("a", 1<<20) + `"}`, 413, "too large"},
		{"/jobs", `{"run_at":"2026-05-03T09:00:00Z","delay_seconds":1}`, 422, "either run_at or delay_seconds"},
		{"/jobs", `{"queue":"nobody"}`, 422, "no process of quiz/production takes from queue nobody"},
		{"/jobs", `{"kind":"sql"}`, 422, "body.kind"},
		{"/batches", `{"jobs":[]}`, 422, "body.jobs"},
		{"/batches", `{"jobs":[{},{"payload":"` + strings.Repeat("a", 256<<10) + `"}]}`, 422, "jobs[1]: the payload has"},
		{"/leases", `{`, 400, "the body: unexpected EOF"},
		{"/leases", ``, 400, "the body: EOF"},
		{"/leases", `[]`, 422, "cannot unmarshal array"},
		{"/leases", `{"runner":"w","wait_second":3}`, 422, "unknown field"},
		{"/leases", `{}`, 422, "runner is the name"},
		{"/leases", `{"runner":"w","most":1001}`, 422, "most is 1001"},
		{"/leases", `{"runner":"w","wait_seconds":31}`, 422, "wait_seconds is 31"},
		{"/leases/start", `{"runs":[]}`, 422, "runs has 0 elements"},
		{"/leases/start", `{"runs":[` + strings.TrimSuffix(many, ",") + `]}`, 422, "runs has 1001 elements"},
		{"/leases/heartbeat", `{"runs":[]}`, 422, "runner is the name"},
		{"/leases/complete", `{"runs":[{"run":"x","fence":1,"verdict":"won"}]}`, 422, `runs[0].verdict is "won"`},
		{"/leases/complete", `{"runs":[{"run":"x","fence":1,"verdict":"succeeded","result":"` + strings.Repeat("a", 64<<10) + `"}]}`, 422, "the limit is 64 KiB"},
		{"/leases/complete", `{"runs":[{"run":"x","fence":1,"verdict":"failed","retry_after_seconds":-1}]}`, 422, "negative"},
		{"/leases/complete", `{"runs":[{"run":"x","fence":1,"verdict":"failed","output":"` + strings.Repeat("a", 32<<20) + `"}]}`, 413, "larger than 32 MiB"},
		{"/leases/output?run=x&offset=0", "text", 422, "?run=ID&fence=NUMBER&offset=BYTES"},
		{"/leases/output?run=x&fence=1&offset=-1", "text", 422, "?run=ID&fence=NUMBER&offset=BYTES"},
		{"/locks/a", `{"owner":"me","ttl_seconds":0.5}`, 422, "ttl_seconds"},
		{"/locks/a", `{"owner":""}`, 422, "owner"},
		{"/mail/suppressions", `{"address":"ada"}`, 422, "address"},
	} {
		t.Run(call.path+" "+call.contains, func(t *testing.T) {
			response, body := ask(t, client, "POST", quizPath+call.path, call.body)
			wantError(t, response, body, call.status, springtide.Invalid, call.contains)
		})
	}
}

func TestOutputWithAWrongOffsetIsToldTheRightOne(t *testing.T) {
	_, client := serveQuiz(t)
	ask(t, client, "POST", quizPath+"/jobs", `{"queue":"hands"}`)
	_, body := ask(t, client, "POST", quizPath+"/leases", `{"runner":"w"}`)
	if !strings.Contains(body, `"fence":1`) {
		t.Fatalf("leased %s", body)
	}
	output := quizPath + "/leases/output?run=job-1&fence=1&offset="
	response, body := ask(t, client, "POST", output+"0", "hello")
	if next := answered[map[string]int](t, response, body, http.StatusOK)["next"]; next != 5 {
		t.Errorf("goes on at %d", next)
	}
	response, body = ask(t, client, "POST", output+"0", "hello") // the first answer was lost
	wantError(t, response, body, 409, springtide.Conflict, "goes on at byte 5")
	if !strings.Contains(body, `"next":5`) {
		t.Errorf("the answer does not tell where to go on: %s", body)
	}
}

func TestALeaseWaitsForARun(t *testing.T) {
	_, client := serveQuiz(t)
	leased := make(chan string, 1)
	go func() {
		_, body := ask(t, client, "POST", quizPath+"/leases", `{"runner":"w","wait_seconds":30}`)
		leased <- body
	}()
	ask(t, client, "POST", quizPath+"/jobs", `{"queue":"hands","command":"./import"}`)
	if body := <-leased; !strings.Contains(body, `"command":"./import"`) {
		t.Errorf("leased %s", body)
	}
}

func TestWhoWaitsIsAnsweredWhenTheServerEnds(t *testing.T) {
	server, client := serveQuiz(t)
	ask(t, client, "POST", quizPath+"/jobs", `{"queue":"hands"}`)
	ask(t, client, "POST", quizPath+"/leases", `{"runner":"w"}`)
	statuses := make(chan int, 2)
	wait := func(method, path, body string) {
		response, _ := ask(t, client, method, quizPath+path, body)
		statuses <- response.StatusCode
	}
	go wait("POST", "/leases", `{"runner":"other","wait_seconds":30}`)
	go wait("GET", "/jobs/job-1?wait=true", "")
	for deadline := time.Now().Add(time.Minute); server.Waiting() < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	began := time.Now()
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("got %d", status)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the server ended after %v", took)
	}
}

func TestAnInstanceMayUseTheJobsAndLocksOfItsEnvironmentOnly(t *testing.T) {
	server, owner := serve(t, nil)
	deployed(t, server, owner)
	base := "http://" + server.Instances
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	bearer := []string{"Authorization", "Bearer instance-of-quiz/production"}
	for _, call := range []struct {
		method, path, body string
		status             int
	}{
		{"POST", quizPath + "/jobs", `{"queue":"hands"}`, 201},
		{"POST", quizPath + "/batches", `{"jobs":[{}]}`, 201},
		{"GET", quizPath + "/jobs", "", 200},
		{"GET", quizPath + "/jobs/job-1", "", 200},
		{"GET", quizPath + "/jobs/job-1/output", "", 200},
		{"GET", quizPath + "/queues", "", 200},
		{"GET", quizPath + "/schedules", "", 200},
		{"GET", quizPath + "/schedules/next", "", 200},
		{"POST", quizPath + "/leases", `{"runner":"w"}`, 200},
		{"POST", quizPath + "/leases/start", `{"runs":[{"run":"job-1","fence":2}]}`, 200},
		{"POST", quizPath + "/locks/import", `{"owner":"me"}`, 200},
		{"GET", quizPath + "/locks", "", 200},
		{"DELETE", quizPath + "/locks/import?fence=3", "", 204},
		{"GET", "/healthz", "", 200},

		{"POST", "/v1/apps/quiz/environments/staging/jobs", `{}`, 403},
		{"POST", "/v1/apps/other/environments/production/locks/import", `{"owner":"me"}`, 403},
		{"POST", quizPath + "/jobs/job-1/cancel", "", 403},
		{"POST", quizPath + "/jobs/replay", "", 403},
		{"POST", quizPath + "/queues/default/pause", "", 403},
		{"POST", quizPath + "/schedules/tidy/trigger", "", 403},
		{"GET", quizPath + "/mail", "", 403},
		{"GET", quizPath + "/config", "", 403},
		{"DELETE", quizPath, "", 403},
		{"GET", "/v1/status", "", 403},
		{"POST", "/v1/tokens", `{"name":"x"}`, 403},
		{"GET", "/openapi.json", "", 403},
		{"GET", "/metrics", "", 403},
	} {
		t.Run(call.method+" "+call.path, func(t *testing.T) {
			response, body := ask(t, client, call.method, base+call.path, call.body, bearer...)
			if response.StatusCode != call.status {
				t.Errorf("got %s, want %d: %s", response.Status, call.status, body)
			}
			if call.status == 403 {
				wantError(t, response, body, 403, springtide.Denied, "an instance may not")
			}
		})
	}
	for _, header := range []string{"", "Bearer", "Bearer tide_wrong", "Basic x"} {
		response, body := ask(t, client, "GET", base+quizPath+"/jobs", "", "Authorization", header)
		wantError(t, response, body, 401, springtide.Unauthorized, "token")
	}
}

// BenchmarkALeasedRunIsCompleted measures what the API adds to a run that is
// leased and completed over a connection that is kept.
func BenchmarkALeasedRunIsCompleted(b *testing.B) {
	server, err := apitest.Serve(apitest.New(), b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	post := func(path, body string) {
		req, err := http.NewRequest("POST", "http://"+server.Instances+quizPath+path, strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer instance-of-quiz/production")
		req.Header.Set("Content-Type", "application/json")
		response, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		if response.Body.Close(); response.StatusCode != http.StatusOK {
			b.Fatal(response.Status)
		}
	}
	for b.Loop() {
		post("/leases", `{"runner":"worker-1","queues":["default"],"most":1,"started":true}`)
		post("/leases/complete", `{"runs":[{"run":"job-1","fence":1,"verdict":"succeeded"}]}`)
	}
}

// The service is served as it is, and the ledger beneath it.
var _ interface {
	api.Jobs
	api.Leases
	api.Schedules
	api.Locks
} = (*jobs.Service)(nil)

var _ api.Ledger = jobs.Ledger(nil)
