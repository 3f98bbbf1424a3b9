package jobs

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/story"
)

const plain = `app: shop
processes:
  worker:
    queues: [default, mail]
    command: cat
    scale: { min: 0, max: 1 }
`

func TestAMistakeAboutJobsIsToldWithItsPlace(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), plain)
	for _, mistake := range []struct {
		what, adds string
		says       []string
	}{
		{"a schedule that never fires", "schedules:\n  tidy:\n    cron: 0 0 30 2 *\n    command: 'true'\n", []string{"tide.yaml:9", "0 0 30 2 *", "never"}},
		{"an unknown zone", "schedules:\n  tidy: { cron: '@daily', timezone: Europe/Warsav, command: 'true' }\n", []string{"tide.yaml:8", "Europe/Warsav", "Europe/Warsaw"}},
		{"a queue that nobody runs", "schedules:\n  tidy: { cron: '@daily', queue: post, command: 'true' }\n", []string{"tide.yaml:8", "post", "mail"}},
		{"a minute that there is not", "schedules:\n  tidy: { cron: '61 * * * *', command: 'true' }\n", []string{"tide.yaml:8", "61"}},
		{"both times", "schedules:\n  tidy: { cron: '@daily', every: 1h, command: 'true' }\n", []string{"tide.yaml:8", "cron", "every"}},
		{"too often", "schedules:\n  tidy: { every: 100ms, command: 'true' }\n", []string{"tide.yaml:8", "100ms"}},
		{"what becomes of the missed", "schedules:\n  tidy: { cron: '@daily', missed: some, command: 'true' }\n", []string{"tide.yaml:8", "some", "latest"}},
		{"an unknown key", "schedules:\n  tidy: { cron: '@daily', comand: 'true' }\n", []string{"tide.yaml:8", "comand", "command"}},
	} {
		t.Run(mistake.what, func(t *testing.T) {
			s.write(file{"tide.yaml", plain + mistake.adds})
			text := s.refused(2, "deploy", "--quiet")
			t.Log(text)
			for _, says := range append(mistake.says, "error: ") {
				if !strings.Contains(text, says) {
					t.Errorf("it is not said %q: %s", says, text)
				}
			}
		})
	}
}

func TestAJobThatCannotBeIsRefusedAndSaysWhy(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), plain)
	large := filepath.Join(t.TempDir(), "large.json")
	if err := os.WriteFile(large, []byte(`"`+strings.Repeat("x", springtide.PayloadLimit)+`"`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, mistake := range []struct {
		arguments string
		code      int
		says      []string
	}{
		{"jobs enqueue --queue post", 2, []string{"post", "default", "mail"}},
		{"jobs enqueue --payload {", 2, []string{"JSON"}},
		{"jobs enqueue --priority 200", 2, []string{"priority", "100"}},
		{"jobs enqueue --delay 1h --at 2030-01-01T00:00:00Z", 2, []string{"delay"}},
		{"jobs enqueue --url http:// --payload {}", 2, []string{"http://"}},
		{"jobs enqueue --kind mail --payload {}", 2, []string{"nobody"}},
		{"jobs enqueue --kind dance", 2, []string{"kind", "mail"}},
		{"jobs enqueue --timeout 48h", 2, []string{"48h"}},
		{"jobs show nothing", 3, []string{"nothing"}},
		{"jobs logs nothing", 3, []string{"nothing"}},
		{"jobs cancel nothing", 3, []string{"nothing"}},
		{"jobs pause nothing", 3, []string{"nothing", "tide jobs queues"}},
		{"schedules trigger nothing", 3, []string{"nothing"}},
		{"lock --ttl 1ms nothing -- true", 2, []string{"ttl"}},
	} {
		t.Run(mistake.arguments, func(t *testing.T) {
			text := s.refused(mistake.code, strings.Fields(mistake.arguments)...)
			t.Log(text)
			for _, says := range append(mistake.says, "error: ") {
				if !strings.Contains(text, says) {
					t.Errorf("it is not said %q: %s", says, text)
				}
			}
		})
	}
	command := s.command("jobs", "enqueue", "--payload", "-")
	input, err := os.Open(large)
	if err != nil {
		t.Fatal(err)
	}
	defer input.Close()
	command.Stdin = input
	if text, err := command.CombinedOutput(); command.ProcessState.ExitCode() != 2 || !strings.Contains(string(text), "256 KiB") {
		t.Errorf("a payload over the limit: %v\n%s", err, text)
	}
	s.tide("jobs", "pause", "mail") // which has never had a run
	if runs := s.runs(jobs.Query{}); len(runs) > 0 {
		t.Errorf("what was refused is there: %+v", runs)
	}
}

func TestARunnerIsToldWhereItStands(t *testing.T) {
	t.Parallel()
	s := open(t, story.Platform(t), plain)
	run := s.await(s.enqueue("--", "sh", "-c", `echo "{\"api\":\"$TIDE_API\",\"token\":\"$TIDE_TOKEN\"}" >$RUN_RESULT`), springtide.RunSucceeded)
	var old struct{ API, Token string }
	if err := json.Unmarshal(run.Result, &old); err != nil {
		t.Fatal(err)
	}
	s.write(file{"another", ""})
	story.Deploy(t, s.Platform, s.source)
	s.tide("jobs", "pause", "default")
	waits := s.enqueue()

	lease := func(token string) (status int, answer jobs.LeaseAnswer) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, old.API+"/leases", strings.NewReader(`{"runner":"test","wait_seconds":0}`))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		request.Header.Set("Content-Type", "application/json")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if err := json.NewDecoder(response.Body).Decode(&answer); err != nil && response.StatusCode == http.StatusOK {
			t.Error(err)
		}
		return response.StatusCode, answer
	}
	if status, answer := lease(old.Token); status != http.StatusOK || !answer.Drain || len(answer.Runs) > 0 {
		t.Errorf("a runner of an older release is answered %d, %+v", status, answer)
	}
	if status, _ := lease("unknown"); status != http.StatusUnauthorized {
		t.Errorf("an unknown runner is answered %d", status)
	}
	s.tide("jobs", "resume", "default")
	s.await(waits, springtide.RunSucceeded)

	stranger := s.command("runner", "--", "true")
	stranger.Env = append(stranger.Env, "TIDE_API="+old.API, "TIDE_TOKEN=unknown")
	if text, _ := stranger.CombinedOutput(); stranger.ProcessState.ExitCode() != 5 {
		t.Errorf("tide runner with an unknown token ended with %d:\n%s", stranger.ProcessState.ExitCode(), text)
	}
}
