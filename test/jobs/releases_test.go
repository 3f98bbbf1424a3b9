package jobs

import (
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

// longTask is a long job: it begins, tells of its progress, waits until it may end,
// and says by what release it was done.
const longTask = `name=$(tr -d '"')
echo "this is $name"
echo '{"percent":50}' >"$RUN_PROGRESS"
echo "$(cat VERSION)" >"DESK/$name.begun"
while ! test -e "DESK/$name.go"; do sleep 0.05; done
echo "that was $name"
echo "{\"release\":\"$(cat VERSION)\"}" >"$RUN_RESULT"
`

// begin has a long job begin, and says in what release it did.
func (s *shop) begin(name string, arguments ...string) (springtide.RunID, string) {
	s.t.Helper()
	run := s.enqueue(append([]string{"--payload", `"` + name + `"`}, arguments...)...)
	return run, s.find(name + ".begun")
}

func TestWhatRunsFinishesInItsReleaseWhileDeploysComeAndGo(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), `app: shop
processes:
  worker:
    queues: [default]
    command: sh task.sh
    scale: { min: 0, max: 1, idle: 1s, target: { wait: 1s } }
`, file{"task.sh", longTask}, file{"VERSION", "blue\n"})

	type long struct {
		name, release string
		number        int
		change        func()
	}
	all := []long{
		{"one", "blue", 1, func() {}},
		{"two", "green", 2, func() {
			s.write(file{"VERSION", "green\n"})
			story.Deploy(t, s.Platform, s.source)
		}},
		{"three", "green", 2, func() { s.tide("restart") }},
		{"four", "blue", 1, func() { s.tide("rollback") }},
	}
	runs := map[string]springtide.RunID{}
	for _, job := range all {
		began := time.Now()
		job.change()
		if took := time.Since(began); took > 29*time.Second { // less than any limit that a job could hold it up for
			t.Errorf("what comes before job %s took %s", job.name, took)
		}
		run, release := s.begin(job.name)
		if runs[job.name] = run; release != job.release {
			t.Errorf("job %s began in %s, want %s", job.name, release, job.release)
		}
	}
	time.Sleep(3 * time.Second) // what a deploy could kill by mistake would be dead by now
	for _, job := range all {
		s.put(job.name + ".go")
		run := s.await(runs[job.name], springtide.RunSucceeded)
		if run.Attempt != 1 || run.Release != job.number || !strings.Contains(string(run.Result), job.release) {
			t.Errorf("job %s ended in v%d at attempt %d: %s", job.name, run.Release, run.Attempt, run.Result)
		}
	}
	story.Eventually(t, "all workers to go", patience, func() bool { return len(s.workers("worker")) == 0 })
}
