package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/springtide/springtide/internal/api"
	"github.com/springtide/springtide/test/story"
)

// metrics are what Prometheus would read.
func (s *shelf) metrics() string {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(s.Data, "run", "api.sock"))
	}}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://tide/metrics", http.NoBody)
	if err != nil {
		s.t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// metric gives a value of a service; -1: there is none.
func (s *shelf) metric(name, service string) float64 {
	s.t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + `\{app="shelf",environment="production",service="` + service + `"\} (\S+)$`).FindStringSubmatch(s.metrics())
	if found == nil {
		return -1
	}
	value, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return value
}

func TestWhatIsDoneToAPooledDatabaseIsNotNoticedByItsApp(t *testing.T) {
	p := story.Platform(t)
	source := build(t, 3)
	write(t, source, 3, ", replica: true, connections: 20, pool: { mode: session, each: 4, size: 12 }")
	s := open(t, p, source)
	story.Eventually(t, "the pooler", limit, func() bool {
		return strings.Contains(s.tide("services"), "pooler ready") && s.service("db").State == "ready"
	})
	if info := s.tide("db", "info"); !strings.Contains(info, "DATABASE_DIRECT_URL") || !strings.Contains(info, "through a pooler with 12 connections") {
		t.Errorf("the database is told as\n%s", info)
	}
	stop := s.load()
	s.tide("db", "rotate")
	acknowledged, failures := stop()
	if len(failures) > 0 {
		t.Errorf("%d requests failed: %s", len(failures), failures[0])
	}
	if rows := s.rows(); rows != acknowledged || rows == 0 {
		t.Errorf("there are %d rows, and %d were acknowledged", rows, acknowledged)
	}
}

func TestServicesAreMeasuredAndWhatDoesNotFitIsSaid(t *testing.T) {
	p := story.Platform(t)
	source := build(t, 1)
	write(t, source, 1, ", replica: true, connections: 10, pool: 5")
	s := open(t, p, source)
	const misfit = "8 instances x pool 5 = 40 > 10 connections of service db"
	for _, command := range [][]string{{"plan"}, {"db", "info"}, {"deploy"}} {
		output, err := s.command(command...).CombinedOutput()
		if err != nil || !strings.Contains(string(output), misfit) || !strings.Contains(string(output), "at most 1") {
			t.Errorf("tide %s: %v: does not say that %q and how to mend it:\n%s", strings.Join(command, " "), err, misfit, output)
		}
	}
	s.ask("POST", "/rows?name=x", "")
	s.ask("PUT", "/session?of=ada", "")
	story.Eventually(t, "what the servers say of themselves", limit, func() bool {
		return s.metric("tide_service_transactions_total", "db") > 0 && s.metric("tide_service_memory_bytes", "cache") > 0
	})
	for _, want := range []struct {
		name, service string
		least, most   float64
	}{
		{"tide_service_up", "db", 1, 1},
		{"tide_service_up", "cache", 1, 1},
		{"tide_service_connections", "db", 1, 10},
		{"tide_service_connections_limit", "db", 10, 10},
		{"tide_service_connections_limit", "cache", 1000, 1000},
		{"tide_service_size_bytes", "db", 1 << 20, 1 << 40},
		{"tide_service_replication_lag_bytes", "db", 0, 1 << 30},
		{"tide_service_cache_hits_total", "db", 1, 1e15},
		{"tide_service_latency_p99_seconds", "cache", 1e-9, 60},
		{"tide_service_restarts_total", "db", 0, 0},
	} {
		// A replica that is being made lags behind nothing, and each says one after the other.
		story.Eventually(t, fmt.Sprintf("%s of %s to be from %v to %v", want.name, want.service, want.least, want.most), limit, func() bool {
			got := s.metric(want.name, want.service)
			return got >= want.least && got <= want.most
		})
	}
	if slow := s.tide("db", "slow"); !strings.Contains(slow, "rows") {
		t.Errorf("what is slow is told as\n%s", slow)
	}
	if info := s.tide("redis", "info"); !regexp.MustCompile(`(?m)^connections +\d+ of 1000$`).MatchString(info) || !strings.Contains(info, "latency_p99 ") {
		t.Errorf("Redis is told as\n%s", info)
	}
}

func TestAnInstanceCannotSayItsOwnToken(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 1))
	said := s.tide("run", `echo "token=$TIDE_TOKEN webhook=$TIDE_WEBHOOK_SECRET mail=$SMTP_URL"`)
	if !strings.Contains(said, "token=[secret] webhook=[secret] mail=smtp://") || strings.Contains(said, "tide_instance_") {
		t.Errorf("it says %s", said)
	}
}

func TestAMomentAfterAPromotionComesBackFromABackupBeforeIt(t *testing.T) {
	p := story.Platform(t)
	source := build(t, 1)
	write(t, source, 1, ", replica: true, synchronous: true")
	s := open(t, p, source)
	story.Eventually(t, "the replica", limit, func() bool { return s.service("db").State == "ready" })
	add := func(name string) {
		t.Helper()
		story.Eventually(t, "a row of "+name, limit, func() bool {
			_, err := s.try(t.Context(), "POST", "/rows?name="+name, "")
			return err == nil
		})
	}
	add("backup")
	s.tide("backups", "run", "db")
	add("before")
	killed := s.primary("db")
	s.tide("db", "promote")
	story.Eventually(t, "another primary", limit, func() bool { return s.service("db").State == "ready" && s.primary("db") != killed })
	add("after")
	time.Sleep(1100 * time.Millisecond) // the moment is said in whole seconds
	moment := time.Now().UTC().Format(time.RFC3339)
	time.Sleep(1100 * time.Millisecond)
	s.tide("db", "psql", "--", "-c", "DELETE FROM rows")
	restored := s.tide("db", "restore", "--to", moment)
	if backups := s.tide("backups", "ls", "db", "--json"); strings.Count(backups, `"kind": "whole"`) != 1 {
		t.Errorf("it did not come from the one backup before the promotion: %s", backups)
	}
	name := strings.Fields(lastLine(restored))[0]
	s.tide("backups", "promote", "db", name) // after which the next backup is made
	if names := s.tide("db", "psql", "--", "-tAc", "SELECT string_agg(DISTINCT name, ',' ORDER BY name) FROM rows"); strings.TrimSpace(names) != "after,backup,before" {
		t.Errorf("back are the rows of %s", names)
	}
}

func TestInstancesLearnWhereAServiceIsWhosePortIsTaken(t *testing.T) {
	p := story.Platform(t)
	s := open(t, p, build(t, 1))
	s.ask("PUT", "/session?of=ada", "")
	address := s.service("cache").Address
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	// The address is gone with the platform, and comes back with it.
	free := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		failed := raw.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_IP, syscall.IP_FREEBIND, 1) })
		return errors.Join(err, failed)
	}}
	stranger, err := free.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := p.Serve(t.Context()); err != nil {
		t.Fatal(err)
	}
	story.Eventually(t, "a session by way of another address", limit, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		session, err := s.try(ctx, "GET", "/session", "")
		return err == nil && session == "ada"
	})
	story.Eventually(t, "Redis to be ready", limit, func() bool { return s.service("cache").State == "ready" })
	if now := s.service("cache"); now.Address == address {
		t.Errorf("Redis is at %s, which is taken", now.Address)
	}
}

func TestAServerThatWantsMoreThanItsLimitComesBackAndSaysWhy(t *testing.T) {
	p := story.Platform(t)
	source := build(t, 1)
	write(t, source, 1, ", limits: { cpu: 2, memory: 160MiB }")
	s := open(t, p, source)
	s.ask("POST", "/rows?name=x", "")
	greedy := s.command("db", "psql", "--", "-c", "SET work_mem = '2GB'", "-c", "SELECT count(*) FROM (SELECT repeat('x', 100) || n AS t FROM generate_series(1, 2000000) n ORDER BY t DESC OFFSET 1) q")
	if output, err := greedy.CombinedOutput(); err == nil {
		t.Skipf("limits are not enforced on this machine: %s", output)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	const why = "it is limited to 160 MiB by services.db.limits.memory"
	told := false
	for event, err := range p.Client.Events(ctx, api.EventQuery{Environment: production}) { // those told before we ask, too
		if err != nil {
			t.Fatalf("nobody said that %s: %v", why, err)
		}
		if told = strings.Contains(event.Message, why); told {
			t.Log(event.Kind, event.Message)
			break
		}
	}
	if !told {
		t.Errorf("nobody said that %s", why)
	}
	story.Eventually(t, "the database to serve again", limit, func() bool {
		_, err := s.try(t.Context(), "POST", "/rows?name=y", "")
		return err == nil
	})
	if rows := s.rows(); rows < 2 {
		t.Errorf("there are %d rows", rows)
	}
}
