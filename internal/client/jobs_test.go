package client_test

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/api/apitest"
	"github.com/springtide/springtide/internal/client"
	"github.com/springtide/springtide/internal/jobs"
	"github.com/springtide/springtide/test/story"
)

func TestAJobIsFollowedToItsEnd(t *testing.T) {
	server, c := serve(t)
	server.Create(quiz)
	ctx := t.Context()
	job := springtide.Job{Queue: apitest.Hands, Command: "./import", Payload: []byte(`{"id":7}`), Attempts: 3, Timeout: time.Minute}
	enqueued, err := c.Enqueue(ctx, quiz, job)
	if err != nil {
		t.Fatal(err)
	}
	var output bytes.Buffer
	followed := make(chan springtide.Run, 1)
	go func() {
		run, err := c.FollowJob(ctx, quiz, enqueued.Run, &output)
		if err != nil {
			t.Error(err)
		}
		followed <- run
	}()
	leases, who := server.API().Leases, jobs.Identity{Environment: quiz}
	answer, err := leases.Lease(ctx, who, jobs.LeaseRequest{Runner: "w", Most: 1, WaitSeconds: 10})
	if err != nil || len(answer.Runs) != 1 || answer.Runs[0].TimeoutSeconds != 60 || string(answer.Runs[0].Payload) != `{"id":7}` {
		t.Fatalf("leased %+v, %v", answer, err)
	}
	hold := jobs.Hold{Run: answer.Runs[0].Run, Fence: answer.Runs[0].Fence}
	if _, err := leases.AppendOutput(ctx, who, hold, 0, strings.NewReader("half\n")); err != nil {
		t.Error(err)
	}
	completion := jobs.Completion{Hold: hold, Verdict: jobs.Succeeded, Output: "done\n"}
	if _, err := leases.Complete(ctx, who, jobs.CompleteRequest{Runs: []jobs.Completion{completion}}); err != nil {
		t.Error(err)
	}
	run := <-followed
	if run.State != springtide.RunSucceeded || output.String() != "half\ndone\n" {
		t.Errorf("got %+v and %q", run, output.String())
	}
	if run, err := c.WaitJob(ctx, quiz, enqueued.Run); err != nil || run.State != springtide.RunSucceeded {
		t.Errorf("waited for %+v, %v", run, err)
	}
}

func TestAnInstanceFindsItsEnvironmentInTheURL(t *testing.T) {
	server, _ := serve(t)
	c, id, err := client.NewInstance("http://"+server.Instances+"/v1/apps/quiz/environments/production", "instance-of-quiz/production", "")
	if err != nil || id != quiz {
		t.Fatalf("it is of %v, %v", id, err)
	}
	t.Cleanup(c.Close)
	if _, err := c.Enqueue(t.Context(), id, springtide.Job{Key: "k"}); err != nil {
		t.Error(err)
	}
	if _, err := c.Environment(t.Context(), id); springtide.KindOf(err) != springtide.Denied {
		t.Errorf("reading the environment: %v", err)
	}
	for _, wrong := range []string{"", "quiz", "http://127.0.0.1:1", "ftp://127.0.0.1/v1/apps/quiz/environments/production", "http://127.0.0.1/v1/apps//environments/production"} {
		if _, _, err := client.NewInstance(wrong, "t", ""); springtide.KindOf(err) != springtide.Invalid {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	if _, _, err := client.NewInstance("http://127.0.0.1/v1/apps/a/environments/b", "", ""); springtide.KindOf(err) != springtide.Unauthorized {
		t.Errorf("without a token: %v", err)
	}
}

func TestAJobWithAKeyIsEnqueuedOnceTheServerIsBack(t *testing.T) {
	address := story.Address(t)
	c, id, err := client.NewInstance("http://"+address+"/v1/apps/quiz/environments/production", "instance-of-quiz/production", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if _, err := c.Enqueue(t.Context(), id, springtide.Job{}); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("without a key it was tried again: %v", err)
	}
	enqueued := make(chan error, 1)
	go func() {
		_, err := c.Enqueue(t.Context(), id, springtide.Job{Key: "k"})
		enqueued <- err
	}()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server, err := apitest.ServeInstancesOn(apitest.New(), t.TempDir(), listener)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-enqueued; err != nil {
		t.Error(err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
}

func TestALockIsLentToOneAtATime(t *testing.T) {
	server, c := serve(t)
	server.Create(quiz)
	ctx := t.Context()
	mine, err := c.TakeLock(ctx, quiz, "import/2026", "me", time.Minute, 0)
	if err != nil || mine.Fence == 0 || mine.Left > time.Minute {
		t.Fatalf("got %+v, %v", mine, err)
	}
	if _, err := c.TakeLock(ctx, quiz, "import/2026", "you", time.Minute, 0); springtide.KindOf(err) != springtide.Conflict || !strings.Contains(err.Error(), "me") {
		t.Errorf("taken twice: %v", err)
	}
	if renewed, err := c.RenewLock(ctx, quiz, "import/2026", mine.Fence, time.Hour); err != nil || renewed.Left < 59*time.Minute {
		t.Errorf("renewed %+v, %v", renewed, err)
	}
	taken := make(chan error, 1)
	go func() {
		lock, err := c.TakeLock(ctx, quiz, "import/2026", "you", time.Minute, time.Minute)
		if err == nil && lock.Fence <= mine.Fence {
			t.Errorf("the fence went from %d to %d", mine.Fence, lock.Fence)
		}
		taken <- err
	}()
	if err := c.ReleaseLock(ctx, quiz, "import/2026", mine.Fence); err != nil {
		t.Error(err)
	}
	if err := <-taken; err != nil {
		t.Errorf("who waited: %v", err)
	}
	if _, err := c.RenewLock(ctx, quiz, "import/2026", mine.Fence, time.Hour); springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("what was given back was renewed: %v", err)
	}
	if locks, err := c.Locks(ctx, quiz); err != nil || len(locks) != 1 || locks[0].Owner != "you" {
		t.Errorf("got %+v, %v", locks, err)
	}
}

func TestQueuesSchedulesAndMailsAreShownAndChanged(t *testing.T) {
	server, c := serve(t)
	server.Create(quiz)
	ctx := t.Context()
	server.SetSchedule(quiz, "tidy", springtide.Schedule{Cron: "0 * * * *"})
	server.Catch(quiz, "quiz@example.com", "ada@example.com", "Hello", "Hello Ada")
	if err := c.PauseQueue(ctx, quiz, "default", true); err != nil {
		t.Error(err)
	}
	if run, err := c.TriggerSchedule(ctx, quiz, "tidy"); err != nil || run.Run == "" {
		t.Errorf("triggered %v, %v", run, err)
	}
	if queues, err := c.Queues(ctx, quiz); err != nil || len(queues) != 1 || !queues[0].Paused || queues[0].States[springtide.RunAvailable] != 1 {
		t.Errorf("queues are %+v, %v", queues, err)
	}
	if err := c.PauseSchedule(ctx, quiz, "tidy", true); err != nil {
		t.Error(err)
	}
	if schedules, err := c.Schedules(ctx, quiz); err != nil || len(schedules) != 1 || !schedules[0].Paused {
		t.Errorf("schedules are %+v, %v", schedules, err)
	}
	if coming, err := c.Coming(ctx, quiz, 3); err != nil || len(coming) != 3 {
		t.Errorf("coming are %+v, %v", coming, err)
	}
	mails, err := c.Mails(ctx, quiz)
	if err != nil || len(mails) != 1 || mails[0].Subject != "Hello" {
		t.Fatalf("mails are %+v, %v", mails, err)
	}
	mail, err := c.Mail(ctx, quiz, mails[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	defer mail.Close()
	if text, err := io.ReadAll(mail); err != nil || !strings.HasSuffix(string(text), "Hello Ada\r\n") {
		t.Errorf("got %q, %v", text, err)
	}
	if err := c.Suppress(ctx, quiz, "ada+news@example.com"); err != nil {
		t.Error(err)
	}
	if suppressions, err := c.Suppressions(ctx, quiz); err != nil || len(suppressions) != 1 || suppressions[0].Address != "ada+news@example.com" {
		t.Errorf("suppressions are %+v, %v", suppressions, err)
	}
	if err := c.Unsuppress(ctx, quiz, "ada+news@example.com"); err != nil {
		t.Error(err)
	}
}
