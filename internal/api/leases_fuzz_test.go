package api_test

import (
	"net/http"
	"testing"
)

// FuzzWhateverARunnerSaysIsAnswered sends any text to the routes of the
// protocol: it is taken or refused as malformed, and the server goes on.
func FuzzWhateverARunnerSaysIsAnswered(f *testing.F) {
	f.Add(0, `{"runner":"w","queues":["hands"],"most":3,"started":true}`)
	f.Add(1, `{"runs":[{"run":"job-1","fence":1}]}`)
	f.Add(2, `{"runner":"w","runs":[{"run":"job-1","fence":1,"progress":{"percent":1e308,"message":"x"}}]}`)
	f.Add(3, `{"runs":[{"run":"job-1","fence":1,"verdict":"failed","retry_after_seconds":1e300,"result":[[[1]]]}]}`)
	f.Add(4, "text")
	f.Add(3, `{"runs":null}`)
	_, client := serveQuiz(f)
	f.Fuzz(func(t *testing.T, route int, body string) {
		ask(t, client, "POST", quizPath+"/jobs", `{"queue":"hands"}`)
		routes := []string{"/leases", "/leases/start", "/leases/heartbeat", "/leases/complete", "/leases/output?run=job-1&fence=1&offset=0"}
		path := routes[uint(route)%uint(len(routes))]
		response, answer := ask(t, client, "POST", quizPath+path, body)
		switch response.StatusCode {
		case http.StatusOK, http.StatusBadRequest, http.StatusUnprocessableEntity, http.StatusConflict:
		default:
			t.Errorf("%s %q: %s: %s", path, body, response.Status, answer)
		}
	})
}
