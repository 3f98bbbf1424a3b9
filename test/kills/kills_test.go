// Package kills tells of processes that are killed while people use the app.
package kills

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/bench/platform"
	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/test/story"
)

// quiz is a platform with the quiz on it, at two instances.
func quiz(t *testing.T) (*platform.Platform, string, []springtide.Instance) {
	t.Helper()
	p := story.Platform(t)
	url, instances := quizOn(t, p)
	return p, url, instances
}

func quizOn(t *testing.T, p *platform.Platform) (string, []springtide.Instance) {
	t.Helper()
	url := story.Deploy(t, p, story.Prebuilt(t))
	if _, err := p.CLI(t.Context(), "scale", "web=2", "--app", "quiz"); err != nil {
		t.Fatal(err)
	}
	instances, err := p.Ready(t.Context(), story.Quiz, 2)
	if err != nil {
		t.Fatal(err)
	}
	return url, instances
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill -9 %d: %v", pid, err)
	}
}

func status(t *testing.T, p *platform.Platform) api.Status {
	t.Helper()
	status, err := p.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestAKilledInstanceIsReplacedAndNoRequestFails(t *testing.T) {
	p, url, instances := quiz(t)
	stop := story.Load(t, p, url, 100)
	time.Sleep(5 * time.Second) // the more was asked before, the more may be tried again
	kill(t, instances[0].PID)
	story.Eventually(t, "two ready instances, one of them restarted", time.Minute, func() bool {
		now, err := p.Client.Instances(t.Context(), story.Quiz)
		if err != nil {
			return false
		}
		ready, same := 0, 0
		for _, instance := range now {
			if instance.State == springtide.InstanceReady {
				ready++
			}
			if instance.PID == instances[0].PID {
				same++
			}
		}
		return ready == 2 && same == 0
	})
	result := stop()
	if result.Failed != 0 {
		t.Errorf("%d idempotent requests failed", result.Failed)
	}
}

func TestTheControlPlaneCanBeKilledAndTheInstancesAreAdopted(t *testing.T) {
	p, url, before := quiz(t)
	stop := story.Load(t, p, url, 100)
	for range 3 {
		old := status(t, p).Processes.Control
		kill(t, old)
		story.Eventually(t, "a new control plane", time.Minute, func() bool {
			now, err := p.Status(t.Context())
			return err == nil && now.Processes.Control != old
		})
	}
	after, err := p.Ready(t.Context(), story.Quiz, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range after {
		if after[i].ID != before[i].ID || after[i].PID != before[i].PID {
			t.Errorf("%s (PID %d) became %s (PID %d): it was not adopted", before[i].ID, before[i].PID, after[i].ID, after[i].PID)
		}
	}
	if result := stop(); result.Failed != 0 || result.UnsafeFailed != 0 || result.WebSockets.Errors != 0 || result.EventStreams.Errors != 0 {
		t.Error("clients noticed that the control plane was killed")
	}
}

func TestAKilledEdgeIsReplacedAtOnceAndLosesOnlyWhatWasOpen(t *testing.T) {
	p, url, _ := quiz(t)
	client := story.HTTP(t, p)
	old := status(t, p).Processes.Edges
	kill(t, old[0])
	began := time.Now()
	client.CloseIdleConnections()
	if got := story.Get(t, client, url+"/version"); !strings.Contains(got, "version") {
		t.Fatalf("the new edge answered %s", got)
	}
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the first request after the kill took %s", took)
	}
}

// A machine that is moved or out of breath stands still for longer than a head may take.
func TestAnEdgeThatStoodStillServesWhatCameMeanwhile(t *testing.T) {
	p, url, _ := quiz(t)
	client := story.HTTP(t, p)
	story.Get(t, client, url+"/version")
	host := strings.TrimPrefix(url, "https://")
	config := client.Transport.(*http.Transport).TLSClientConfig.Clone()
	config.NextProtos = nil
	config.ServerName, _, _ = strings.Cut(host, ":")
	var all []*tls.Conn
	for range 200 {
		conn, err := tls.Dial("tcp", p.HTTPS, config)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "GET /version HTTP/1.1\r\nHost: %s\r\n", host); err != nil {
			t.Fatal(err)
		}
		all = append(all, conn)
	}
	edges := status(t, p).Processes.Edges
	for _, pid := range edges {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range all {
		if _, err := fmt.Fprint(conn, "\r\n"); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(12 * time.Second) // a head may take 10
	for _, pid := range edges {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	failed := 0
	for _, conn := range all {
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		response, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || response.StatusCode != http.StatusOK {
			failed++
			continue
		}
		response.Body.Close()
	}
	if failed > 0 {
		t.Errorf("%d of %d requests were not served", failed, len(all))
	}
	if now := status(t, p).Processes.Edges; !slices.Equal(now, edges) {
		t.Errorf("edges %v became %v", edges, now)
	}
}

func TestAKilledSupervisorIsSucceededByOneThatAdoptsEverything(t *testing.T) {
	p, url, before := quiz(t)
	edges := status(t, p).Processes.Edges
	stop := story.Load(t, p, url, 100)
	kill(t, p.Supervisor())
	p.Wait()
	if err := p.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := status(t, p).Processes.Edges; fmt.Sprint(now) != fmt.Sprint(edges) {
		t.Errorf("edges %v became %v", edges, now)
	}
	after, err := p.Ready(t.Context(), story.Quiz, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range after {
		if after[i].PID != before[i].PID {
			t.Errorf("%s was not adopted", before[i].ID)
		}
	}
	if result := stop(); result.Failed != 0 || result.UnsafeFailed != 0 || result.WebSockets.Errors != 0 || result.EventStreams.Errors != 0 {
		t.Error("clients noticed that the supervisor was killed")
	}
}

func TestNothingDiesOfALogThatNobodyReads(t *testing.T) {
	log, theirs, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	data := story.Folder(t)
	p, err := platform.Start(t.Context(), platform.Options{Tide: story.Binary(t), Data: data, Output: theirs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	before := status(t, p).Processes
	if err := errors.Join(theirs.Close(), log.Close()); err != nil {
		t.Fatal(err)
	}
	kill(t, before.Control) // of which the supervisor and the edge both write a line
	story.Eventually(t, "a new control plane", time.Minute, func() bool {
		now, err := p.Status(t.Context())
		return err == nil && now.Processes.Control != before.Control && len(now.Edges) == 1
	})
	if after := status(t, p).Processes; after.Supervisor != before.Supervisor || fmt.Sprint(after.Edges) != fmt.Sprint(before.Edges) {
		t.Errorf("%+v became %+v", before, after)
	}
}

func TestAnUpgradeInPlaceLosesNothing(t *testing.T) {
	p, url, before := quiz(t)
	stop := story.Load(t, p, url, 100)
	old := status(t, p).Processes
	if err := syscall.Kill(p.Supervisor(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "a new control plane and a new edge", time.Minute, func() bool {
		now, err := p.Status(t.Context())
		return err == nil && now.Processes.Control != old.Control && now.Processes.Supervisor == old.Supervisor &&
			len(now.Processes.Edges) > 0 && fmt.Sprint(now.Processes.Edges) != fmt.Sprint(old.Edges)
	})
	time.Sleep(2 * time.Second) // connections move over to the new edge meanwhile
	after, err := p.Ready(t.Context(), story.Quiz, 2)
	if err != nil {
		t.Fatal(err)
	}
	if after[0].PID != before[0].PID || after[1].PID != before[1].PID {
		t.Error("the instances were not kept")
	}
	if result := stop(); result.Failed != 0 || result.UnsafeFailed != 0 || result.WebSockets.Errors != 0 || result.EventStreams.Errors != 0 {
		t.Error("clients noticed the upgrade")
	}
}
