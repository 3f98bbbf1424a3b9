package redis_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/service/redis"
	"github.com/springtide/springtide/internal/service/servicetest"
)

var (
	_ service.Follower = redis.Driver{}
	_ service.Rotator  = redis.Driver{}
	_ service.Forker   = redis.Driver{}
	_ service.Backuper = redis.Driver{}
)

var spec = springtide.Service{Kind: springtide.ServiceRedis, Memory: 64 << 20}

func TestTheDriverDoesAsTheManagerExpects(t *testing.T) {
	t.Parallel()
	servicetest.Run(t, servicetest.Kit{
		Driver: redis.Driver{}, Spec: spec,
		Write: func(ctx context.Context, url, key, value string) error {
			return connect(url, func(c *client.Client) error { return c.Set(ctx, key, value, 0).Err() })
		},
		Read: func(ctx context.Context, url, key string) (value string, err error) {
			err = connect(url, func(c *client.Client) error {
				value, err = c.Get(ctx, key).Result()
				if errors.Is(err, client.Nil) {
					err = nil
				}
				return err
			})
			return value, err
		},
	})
}

// connect calls the function with a client that does not try anything twice.
func connect(url string, use func(*client.Client) error) error {
	options, err := patient(url)
	if err != nil {
		return err
	}
	options.PoolSize = 4
	c := client.NewClient(options)
	defer c.Close()
	return use(c)
}

// patient gives the options of a client that tries nothing twice, and gives nothing up
// because the machine is busy.
func patient(url string) (*client.Options, error) {
	options, err := client.ParseURL(url)
	if err != nil {
		return nil, err
	}
	options.MaxRetries = -1
	options.DialTimeout, options.ReadTimeout, options.WriteTimeout = time.Minute, time.Minute, time.Minute
	return options, nil
}

// started gives a settled primary.
func started(t *testing.T, spec springtide.Service) *servicetest.Server {
	t.Helper()
	server := servicetest.New(t, redis.Driver{}, spec)
	server.Create()
	server.Start()
	server.Settle()
	return server
}

func app(t *testing.T, server *servicetest.Server) *client.Client {
	t.Helper()
	options, err := patient(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewClient(options)
	t.Cleanup(func() { c.Close() })
	return c
}

func TestTheAppMayDoAnythingWithItsDataAndNothingToItsServer(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	c, ctx := app(t, server), t.Context()
	for _, line := range []string{
		"SET a 1", "INCR a", "KEYS *", "SORT missing", "INFO memory", "CLIENT SETNAME web", "CLIENT LIST", "SELECT 3", "FLUSHDB", "FLUSHALL",
		"PUBLISH news x", "EVAL return(redis.call('get','a')) 0", "XADD log * k v", "COMMAND COUNT", "MEMORY USAGE log", "WAIT 0 1",
	} {
		if err := c.Do(ctx, words(line)...).Err(); err != nil && !errors.Is(err, client.Nil) {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, line := range []string{
		"CONFIG GET *", "SHUTDOWN NOSAVE", "ACL LIST", "ACL WHOAMI", "REPLICAOF NO ONE", "SLAVEOF NO ONE", "MODULE LIST", "BGSAVE",
		"SAVE", "BGREWRITEAOF", "MONITOR", "SYNC", "PSYNC ? -1", "CLIENT KILL TYPE normal", "CLIENT PAUSE 1", "SLOWLOG RESET", "LATENCY RESET",
		"MIGRATE 127.0.0.1 1 a 0 1", "FAILOVER", "CLUSTER RESET", "SWAPDB 0 1",
	} {
		if err := c.Do(ctx, words(line)...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s: %v", line, err)
		}
	}
	for _, url := range []string{
		"redis://" + server.Address.String(),
		redis.Driver{}.URL(server.Server, service.Login{Name: "platform", Password: ""}),
		redis.Driver{}.URL(server.Server, service.Login{Name: "platform", Password: "platform"}),
	} {
		err := connect(url, func(c *client.Client) error { return c.Ping(ctx).Err() })
		if err == nil {
			t.Errorf("%s is let in", url)
		}
	}
}

func words(line string) []any {
	var all []any
	for word := range strings.FieldsSeq(line) {
		all = append(all, word)
	}
	return all
}

func TestPasswordsOfAnyBytesWorkAndAreNowhereInTheClear(t *testing.T) {
	t.Parallel()
	server := servicetest.New(t, redis.Driver{}, spec)
	any := "p@ss:/?#[]%20 \"'\\\n\x01é&=+"
	server.Logins.Current.Password, server.Logins.Replication.Password = any+"1", any+"2"
	server.Create()
	server.Start()
	server.Settle()
	if err := app(t, server).Set(t.Context(), "key", "value", 0).Err(); err != nil {
		t.Error(err)
	}
	replica := server.Replica()
	if err := (redis.Driver{}).Follow(t.Context(), replica.Server); err != nil {
		t.Fatal(err)
	}
	replica.Start() // ready: it could connect
	process := redis.Driver{}.Process(server.Server)
	if line := strings.Join(process.Args, " "); strings.Contains(line, any) {
		t.Errorf("a password is on the command line: %s", line)
	}
	text, err := os.ReadFile(filepath.Join(server.Folder, "users.acl"))
	if err != nil || bytes.Contains(text, []byte(any)) {
		t.Errorf("users.acl holds a password, or is not there: %v", err)
	}
}

// TestTwoPasswordsOfOneLoginAreRotatedUnderLoad is for one login that keeps its
// name; the conformance suite has those that change it.
func TestTwoPasswordsOfOneLoginAreRotatedUnderLoad(t *testing.T) {
	t.Parallel()
	server, driver := started(t, spec), redis.Driver{}
	old := server.Logins.Current
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	urls := make(chan string, 1)
	failed, count := make(chan error, 1), 0
	go func() {
		url := server.URL()
		var err error
		options := must(patient(url))
		options.MaxRetries = 3
		kept := client.NewClient(options)
		defer kept.Close()
		for ; err == nil && ctx.Err() == nil; count++ {
			select {
			case url = <-urls:
			default:
			}
			if err = kept.Incr(context.Background(), "kept").Err(); err == nil {
				err = connect(url, func(c *client.Client) error { return c.Incr(context.Background(), "new").Err() })
			}
		}
		failed <- err
	}()
	for range 3 {
		previous := server.Logins.Current
		next := service.Login{Name: previous.Name, Password: rand.Text()}
		check(t, driver.Rotate(t.Context(), server.Server, next))
		check(t, driver.Rotate(t.Context(), server.Server, next))
		server.Logins.Current, server.Logins.Previous = next, previous
		server.Settle()
		urls <- server.URL()
		for len(urls) > 0 { // it may take another turn with the old one
			time.Sleep(time.Millisecond)
		}
		server.Logins.Previous = service.Login{}
		check(t, driver.Retire(t.Context(), server.Server, previous))
		check(t, driver.Retire(t.Context(), server.Server, previous))
	}
	cancel()
	if err := <-failed; err != nil {
		t.Errorf("after %d: %v", count, err)
	}
	t.Logf("%d pairs of commands, none failed", count)
	server.Kill()
	server.Start() // what was changed is kept
	if err := app(t, server).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	stale := driver.URL(server.Server, old)
	if err := connect(stale, func(c *client.Client) error { return c.Ping(t.Context()).Err() }); err == nil {
		t.Error("the first password works still")
	}
	if err := driver.Retire(t.Context(), server.Server, server.Logins.Current); springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("the login in use was retired: %v", err)
	}
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAKilledServerLosesNoneButTheLastMoments(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	before := app(t, server)
	acknowledged := map[string]time.Time{}
	// A server that does not get the processor does not write either.
	stood, last := time.Duration(0), time.Now()
	for begin, i := last, 0; time.Since(begin) < 4*time.Second; i++ {
		key := fmt.Sprintf("key-%d", i)
		check(t, before.Set(t.Context(), key, "x", 0).Err())
		now := time.Now()
		acknowledged[key] = now
		stood, last = max(stood, now.Sub(last)), now
		time.Sleep(time.Millisecond)
	}
	server.Kill()
	killed := time.Now()
	stood = max(stood, killed.Sub(last))
	server.Start()
	lost, after := 0, app(t, server)
	for key, when := range acknowledged {
		if n, err := after.Exists(t.Context(), key).Result(); err != nil {
			t.Fatal(err)
		} else if n == 0 {
			if lost++; killed.Sub(when) > 2*time.Second+stood {
				t.Errorf("%s, acknowledged %s before the kill, is lost", key, killed.Sub(when))
			}
		}
	}
	t.Logf("%d of %d acknowledged writes lost", lost, len(acknowledged))
}

func TestFullMemoryRefusesWritesOrEvictsAsTheManifestSays(t *testing.T) {
	t.Parallel()
	small := spec
	small.Memory = 8 << 20
	server := started(t, small)
	fill := func() (err error) {
		c, value := app(t, server), strings.Repeat("x", 100<<10)
		for i := 0; err == nil && i < 200; i++ {
			err = c.Set(t.Context(), fmt.Sprint("fill-", i), value, 0).Err()
		}
		return err
	}
	if err := fill(); err == nil || !strings.HasPrefix(err.Error(), "OOM") {
		t.Errorf("more than fits was taken: %v", err)
	}
	server.Spec.Policy = "allkeys-lru"
	server.Settle()
	if err := fill(); err != nil {
		t.Errorf("nothing was evicted: %v", err)
	}
	server.Spec = spec
	server.Settle()
	check(t, fill())
	server.Spec = small
	err := redis.Driver{}.Settle(t.Context(), server.Server)
	if springtide.KindOf(err) != springtide.Conflict {
		t.Errorf("a limit below what is there: %v", err)
	}
	check(t, app(t, server).Set(t.Context(), "more", "x", 0).Err())
}

func TestWhatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]springtide.Service{
		"a policy that is none":          {Policy: "most-recent"},
		"hardly any memory":              {Memory: 1 << 20},
		"more memory than there is":      {Memory: 1 << 50},
		"to wait for the replica":        {Synchronous: true, Replica: true},
		"a version that is not there":    {Version: "6"},
		"a login that is no word":        {},
		"a login that is the platform's": {},
	} {
		t.Run(name, func(t *testing.T) {
			server := servicetest.New(t, redis.Driver{}, spec)
			if server.Spec = wrong; wrong.Version != "" {
				server.Version = wrong.Version
			}
			switch name {
			case "a login that is no word":
				server.Logins.Current.Name = "app on nopass"
			case "a login that is the platform's":
				server.Logins.Current.Name = "platform"
			}
			err := redis.Driver{}.Create(t.Context(), server.Server)
			if springtide.KindOf(err) != springtide.Invalid {
				t.Errorf("got %v", err)
			}
			t.Log(err)
		})
	}
}

func TestItTellsItsLatency(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	c := app(t, server)
	for i := range 2000 {
		check(t, c.Set(t.Context(), fmt.Sprint(i), "x", 0).Err())
	}
	info, err := redis.Driver{}.Inspect(t.Context(), server.Server)
	check(t, err)
	for _, name := range []string{"latency_p50", "latency_p99", "latency_p99.9"} {
		if limit, err := time.ParseDuration(info.Details[name]); err != nil || limit <= 0 || limit > time.Second {
			t.Errorf("%s is %q", name, info.Details[name])
		}
	}
	if len(info.Statements) == 0 || info.Connections < 1 || info.Details["maxmemory_policy"] != "noeviction" || !strings.HasPrefix(info.Details["db0"], "keys=2000") {
		t.Errorf("inspected %+v", info)
	}
	t.Log(info.Details)
}

func TestTheShellIsThePlatforms(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	command := server.Command(t.Context(), redis.Driver{}.Shell(server.Server))
	command.Args = append(command.Args, "ACL", "WHOAMI")
	if output, err := command.CombinedOutput(); err != nil || strings.TrimSpace(string(output)) != "platform" {
		t.Errorf("it says %q: %v", output, err)
	}
}

func TestABackupHasWhatWasThereWhileMoreIsWritten(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	c := app(t, server)
	for i := range 1000 {
		check(t, c.Set(t.Context(), fmt.Sprint("key-", i), strings.Repeat("x", 1000), 0).Err())
	}
	check(t, c.Set(t.Context(), "session", "x", time.Hour).Err())
	check(t, c.Do(t.Context(), "FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('one', function() return 1 end)").Err())
	elsewhere := must(patient(server.URL()))
	elsewhere.DB = 2
	other := client.NewClient(elsewhere)
	defer other.Close()
	check(t, other.Set(t.Context(), "elsewhere", "x", 0).Err())
	ctx, cancel := context.WithCancel(t.Context())
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := 0; ctx.Err() == nil; i++ {
			_ = c.Set(context.Background(), fmt.Sprint("later-", i%500), "x", 0).Err()
		}
	}()
	var backup bytes.Buffer
	info, err := redis.Driver{}.Backup(t.Context(), server.Server, &backup)
	cancel()
	<-written
	check(t, err)
	if info.Rows["db0"] < 1000 || info.Rows["db2"] != 1 {
		t.Errorf("the backup says %+v", info)
	}
	to := servicetest.New(t, redis.Driver{}, spec)
	check(t, redis.Driver{}.Restore(t.Context(), to.Server, &backup, service.RestoreTo{}))
	to.Start()
	to.Settle()
	found, err := redis.Driver{}.Verify(t.Context(), to.Server)
	check(t, err)
	if found.Rows["db0"] < 1000 || found.Rows["db2"] != 1 || len(found.Problems) > 0 {
		t.Errorf("restored %+v, of %+v", found, info)
	}
	restored := app(t, to)
	if life, err := restored.TTL(t.Context(), "session").Result(); err != nil || life < 50*time.Minute {
		t.Errorf("the session lives for %s: %v", life, err)
	}
	if got, err := restored.FCall(t.Context(), "one", nil).Int(); err != nil || got != 1 {
		t.Errorf("the function gives %d: %v", got, err)
	}
	rest, err := filepath.Glob(filepath.Join(server.Folder, ".copy*"))
	if err != nil || len(rest) > 0 {
		t.Errorf("%v is left of the backup", rest)
	}
}

func TestADamagedBackupIsNotRestored(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	for i := range 100 {
		check(t, app(t, server).Set(t.Context(), fmt.Sprint("key-", i), "some value", 0).Err())
	}
	var backup bytes.Buffer
	_, err := redis.Driver{}.Backup(t.Context(), server.Server, &backup)
	check(t, err)
	turned := bytes.Clone(backup.Bytes())
	turned[len(turned)/2] ^= 0x40
	for name, text := range map[string][]byte{"one bit is another": turned, "its end is missing": backup.Bytes()[:backup.Len()-20], "it is empty": nil} {
		t.Run(name, func(t *testing.T) {
			to := servicetest.New(t, redis.Driver{}, spec)
			err := redis.Driver{}.Restore(t.Context(), to.Server, bytes.NewReader(text), service.RestoreTo{})
			if springtide.KindOf(err) != springtide.Failed {
				t.Errorf("got %v", err)
			}
			if _, err := os.Stat(filepath.Join(to.Folder, "data")); err == nil {
				t.Error("there is data now")
			}
			// Another attempt begins anew.
			check(t, redis.Driver{}.Restore(t.Context(), to.Server, bytes.NewReader(backup.Bytes()), service.RestoreTo{}))
			err = redis.Driver{}.Restore(t.Context(), to.Server, bytes.NewReader(backup.Bytes()), service.RestoreTo{})
			if springtide.KindOf(err) != springtide.Conflict {
				t.Errorf("over data: %v", err)
			}
		})
	}
	to := servicetest.New(t, redis.Driver{}, spec)
	err = redis.Driver{}.Restore(t.Context(), to.Server, &backup, service.RestoreTo{Time: time.Now()})
	if springtide.KindOf(err) != springtide.Invalid {
		t.Errorf("to a moment: %v", err)
	}
}

func TestAServerWithoutAConnectionToSpareIsReady(t *testing.T) {
	t.Parallel()
	few := spec
	few.Connections = 1
	server := started(t, few)
	for range 2 * 17 {
		conn, err := net.Dial("tcp", server.Address.String())
		check(t, err)
		defer conn.Close()
	}
	eventually(t, func() bool {
		return app(t, server).Ping(t.Context()).Err() != nil // all are taken
	})
	if err := (redis.Driver{}).Ready(t.Context(), server.Server); err != nil {
		t.Error(err)
	}
}

func TestAReplicaKnowsTheLoginsOfToday(t *testing.T) {
	t.Parallel()
	server, driver := started(t, spec), redis.Driver{}
	replica := server.Replica()
	check(t, driver.Follow(t.Context(), replica.Server))
	replica.Start()
	next := service.Login{Name: "quiz_2", Password: rand.Text()}
	check(t, driver.Rotate(t.Context(), server.Server, next))
	replica.Logins.Previous, replica.Logins.Current = replica.Logins.Current, next
	stale := driver.URL(replica.Server, replica.Logins.Previous)
	check(t, driver.Ready(t.Context(), replica.Server))
	check(t, connect(stale, func(c *client.Client) error { return c.Ping(t.Context()).Err() }))
	replica.Logins.Previous = service.Login{}
	check(t, driver.Ready(t.Context(), replica.Server))
	if err := connect(stale, func(c *client.Client) error { return c.Ping(t.Context()).Err() }); err == nil {
		t.Error("a retired login works with it")
	}
	if err := app(t, replica).Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
	if lag, bytes, err := driver.Lag(t.Context(), replica.Server); err != nil || lag > 15*time.Second || bytes > 1<<20 {
		t.Errorf("it lags %s, %d bytes: %v", lag, bytes, err)
	}
	server.Stop()
	eventually(t, func() bool {
		_, _, err := driver.Lag(t.Context(), replica.Server)
		return springtide.KindOf(err) == springtide.Unavailable
	})
	// Nothing of what it had as another's replica is shown.
	check(t, driver.Promote(t.Context(), replica.Server))
	other := started(t, spec)
	replica.Stop()
	replica.Primary, replica.PrimaryFolder = other.Address, other.Folder
	check(t, app(t, other).Set(t.Context(), "of", "other", 0).Err())
	check(t, driver.Follow(t.Context(), replica.Server))
	if entries, err := os.ReadDir(filepath.Join(replica.Folder, "data")); err != nil || len(entries) > 0 {
		t.Errorf("its data is %v, %v", entries, err)
	}
}

func eventually(t *testing.T, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !met(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come to be")
		}
	}
}

func TestAnEmptyReplicaIsNotPromoted(t *testing.T) {
	t.Parallel()
	server, driver := started(t, spec), redis.Driver{}
	replica := server.Replica()
	server.Stop()
	check(t, driver.Follow(t.Context(), replica.Server))
	command := replica.Command(t.Context(), driver.Process(replica.Server))
	check(t, command.Start())
	defer func() { _ = command.Process.Kill(); _ = command.Wait() }()
	eventually(t, func() bool {
		err := driver.Promote(t.Context(), replica.Server)
		return springtide.KindOf(err) == springtide.Conflict
	})
	if err := driver.Ready(t.Context(), replica.Server); springtide.KindOf(err) != springtide.Unavailable {
		t.Errorf("it is ready: %v", err)
	}
}

func TestValkeyIsPreferredAndTheProgramOfTheDataStays(t *testing.T) {
	found, err := exec.LookPath("redis-check-rdb") // Debian's server
	check(t, err)
	folder := t.TempDir()
	fake := func(name, output string) {
		check(t, os.WriteFile(filepath.Join(folder, name), []byte("#!/bin/sh\necho '"+output+"'\n"), 0o755))
	}
	fake("valkey-server", "Valkey server v=8.1.4 sha=0 bits=64")
	t.Setenv("PATH", folder+":"+filepath.Dir(found)+":"+os.Getenv("PATH"))
	driver := redis.Driver{}
	versions := driver.Versions()
	if len(versions) < 2 || versions[0] != "8" {
		t.Fatalf("there are %v", versions)
	}
	server := servicetest.New(t, driver, spec)
	server.Create()
	if to, err := os.Readlink(driver.Process(server.Server).Path); err != nil || to != filepath.Join(folder, "valkey-server") {
		t.Errorf("it is run by %q: %v", to, err)
	}
	fake("valkey-server", "Valkey server v=9.0.0 sha=0 bits=64")
	fake("redis-server", "Redis server v=8.0.0 sha=0 bits=64")
	server.Create()
	if to, err := os.Readlink(driver.Process(server.Server).Path); err != nil || to != filepath.Join(folder, "valkey-server") {
		t.Errorf("then it is run by %q: %v", to, err)
	}
	fake("redis-server", "Redis server v=6.0.16 sha=0 bits=64")
	fake("redis-check-rdb", "Redis server v=7.0.15 sha=0 bits=64")
	if versions := driver.Versions(); strings.Join(versions, " ") != "9 7" {
		t.Errorf("there are %v", versions)
	}
}

func TestABackupThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	server := started(t, spec)
	reader, writer := io.Pipe()
	reader.CloseWithError(errors.New("the disk is full"))
	if _, err := (redis.Driver{}).Backup(t.Context(), server.Server, writer); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("got %v", err)
	}
}
