package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// deploy makes this program the app, and learns where its database is.
func (b *bench) deploy(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	program, err := os.ReadFile(self)
	if err != nil {
		return err
	}
	text := strings.Replace(manifest, "{ postgres: VERSION }", "postgres", 1)
	if err := os.MkdirAll(b.source, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{"data": program, "tide.yaml": []byte(text)} {
		if err := os.WriteFile(filepath.Join(b.source, name), content, 0o755); err != nil {
			return err
		}
	}
	if _, err := b.Deploy(ctx, b.source); err != nil {
		return err
	}
	if _, err := b.tide(ctx, "run", "--", `echo "$DATABASE_URL" > "$FILES_UPLOADS/url"`); err != nil {
		return err
	}
	file := filepath.Join(b.uploads(), "url")
	url, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	b.url = strings.TrimSpace(string(url))
	if b.server, err = b.serverOf(ctx); err != nil {
		return err
	}
	return os.Remove(file)
}

// uploads is the app's shared folder.
func (b *bench) uploads() string {
	return filepath.Join(b.Data, "files", string(environment.App), string(environment.Name), "uploads")
}

// tide runs a command on the app.
func (b *bench) tide(ctx context.Context, arguments ...string) (string, error) {
	return b.CLI(ctx, append([]string{"--app", string(environment.App)}, arguments...)...)
}

// serveApp is an app that does nothing.
func serveApp(ctx context.Context) error {
	server := &http.Server{Addr: os.Getenv("HOST") + ":" + os.Getenv("PORT"), ReadHeaderTimeout: time.Second, Handler: http.NotFoundHandler()}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServe(); ctx.Err() == nil {
		return err
	}
	return nil
}

// answers is what queries took, one after the other.
type answers struct {
	Postgres []time.Duration `json:"postgres"`
	Redis    []time.Duration `json:"redis"`
}

// probeAll asks what DATABASE_URL and REDIS_URL lead to, one query after the other.
func probeAll(ctx context.Context, queries int) error {
	connection, err := pgx.Connect(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer connection.Close(ctx)
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	cache := redis.NewClient(options)
	defer cache.Close()
	if err := cache.Set(ctx, "probe", "42", 0).Err(); err != nil {
		return err
	}
	var took answers
	took.Postgres, err = ask(queries, func() error {
		var answer int
		err := connection.QueryRow(ctx, "SELECT 42").Scan(&answer)
		if err == nil && answer != 42 {
			err = fmt.Errorf("the database answers %d", answer)
		}
		return err
	})
	if err != nil {
		return err
	}
	took.Redis, err = ask(queries, func() error {
		answer, err := cache.Get(ctx, "probe").Result()
		if err == nil && answer != "42" {
			err = fmt.Errorf("the cache answers %q", answer)
		}
		return err
	})
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(took)
}

// ask asks again and again, and gives how long each answer took, in order.
func ask(times int, query func() error) ([]time.Duration, error) {
	took := make([]time.Duration, 0, times)
	for range times + times/10 { // the first are not counted
		began := time.Now()
		if err := query(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(began))
	}
	took = took[times/10:]
	slices.Sort(took)
	return took, nil
}
