// Shelf is an app whose instances keep nothing: rows are in a database, sessions
// in Redis, pictures in a shared folder.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	pool, err := pgxpool.New(ctx, os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer pool.Close()
	if len(os.Args) > 1 { // the release command
		_, err := pool.Exec(ctx, os.Args[1])
		return err
	}
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	// An app should not; what it says is hidden all the same.
	fmt.Println("the key is", os.Getenv("API_KEY"), "and the database at", os.Getenv("DATABASE_URL"))
	s := &shelf{pool: pool, sessions: redis.NewClient(options), uploads: os.Getenv("FILES_UPLOADS")}
	mux := http.NewServeMux()
	for pattern, handle := range map[string]func(*http.Request) (any, error){
		"POST /rows": s.add, "GET /rows": s.count,
		"PUT /session": s.begin, "GET /session": s.resume,
		"PUT /pictures/{name}": s.upload, "GET /pictures/{name}": s.show,
		"GET /healthz": func(*http.Request) (any, error) { return "ok", nil },
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := handle(r)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			fmt.Fprint(w, answer)
		})
	}
	server := &http.Server{Addr: os.Getenv("HOST") + ":" + os.Getenv("PORT"), Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := context.AfterFunc(ctx, func() { _ = server.Shutdown(context.Background()) })
	defer ended()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

type shelf struct {
	pool     *pgxpool.Pool
	sessions *redis.Client
	uploads  string
}

func (s *shelf) add(r *http.Request) (any, error) {
	_, err := s.pool.Exec(r.Context(), "INSERT INTO rows (name) VALUES ($1)", r.URL.Query().Get("name"))
	return "added", err
}

func (s *shelf) count(r *http.Request) (any, error) {
	var count int
	err := s.pool.QueryRow(r.Context(), "SELECT count(*) FROM rows").Scan(&count)
	return count, err
}

func (s *shelf) begin(r *http.Request) (any, error) {
	return "begun", s.sessions.Set(r.Context(), "session", r.URL.Query().Get("of"), 0).Err()
}

func (s *shelf) resume(r *http.Request) (any, error) {
	return s.sessions.Get(r.Context(), "session").Result()
}

func (s *shelf) upload(r *http.Request) (any, error) {
	content, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	return "kept", os.WriteFile(filepath.Join(s.uploads, filepath.Base(r.PathValue("name"))), content, 0o640)
}

func (s *shelf) show(r *http.Request) (any, error) {
	content, err := os.ReadFile(filepath.Join(s.uploads, filepath.Base(r.PathValue("name"))))
	return string(content), err
}
