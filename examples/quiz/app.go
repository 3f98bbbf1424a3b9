package main

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
)

//go:embed assets
var assets embed.FS

// app is the quiz maker.
type app struct {
	config   config
	log      *slog.Logger
	quizzes  *shelf
	pictures *pictures
	rooms    *rooms
	pages    *pages
	flight   flight
	// ending is closed when streams have to end.
	ending  chan struct{}
	endOnce sync.Once
}

func newApp(c config, log *slog.Logger) (*app, error) {
	pages, err := parsePages(c)
	if err != nil {
		return nil, err
	}
	pictures, err := openPictures(c.Uploads)
	if err != nil {
		return nil, err
	}
	return &app{
		config: c, log: log,
		quizzes: newShelf(samples()), pictures: pictures, rooms: newRooms(), pages: pages,
		ending: make(chan struct{}),
	}, nil
}

// handler is every route on one screen.
func (a *app) handler() http.Handler {
	mux := http.NewServeMux()

	mux.HandleFunc("GET /{$}", a.listQuizzes)
	mux.HandleFunc("GET /quizzes/new", a.newQuiz)
	mux.HandleFunc("POST /quizzes", a.makeQuiz)
	mux.HandleFunc("GET /quizzes/{id}", a.playQuiz)
	mux.HandleFunc("POST /quizzes/{id}/answers", a.answerQuiz)
	mux.HandleFunc("GET /quizzes/{id}/results", a.showResults)
	mux.HandleFunc("GET /quizzes/{id}/room", a.showRoom)
	mux.HandleFunc("GET /pictures/{name}", a.showPicture)
	mux.Handle("GET /assets/", http.FileServerFS(assets))

	mux.HandleFunc("GET /live/{room}", a.live)    // WebSocket
	mux.HandleFunc("GET /scores", a.streamScores) // server-sent events

	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /version", a.version)
	mux.HandleFunc("GET /slow", a.slow)
	mux.HandleFunc("GET /work", a.work)
	mux.HandleFunc("GET /download", a.download)
	mux.HandleFunc("POST /echo", a.echo)

	return a.flight.wrap(a.sign(http.NewCrossOriginProtection().Handler(mux)))
}

// sign tells with every answer which copy of the app made it.
func (a *app) sign(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("X-Instance", a.config.Instance)
		header.Set("X-Release", a.config.Release)
		header.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// endStreams makes WebSockets and event streams end.
func (a *app) endStreams() { a.endOnce.Do(func() { close(a.ending) }) }

// reply sends a whole body with its digest (RFC 9530), so that who receives it
// can tell that it is whole.
func reply(w http.ResponseWriter, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Repr-Digest", digest(body))
	w.WriteHeader(status)
	w.Write(body)
}

func replyJSON(w http.ResponseWriter, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	reply(w, http.StatusOK, "application/json", append(body, '\n'))
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return digestOf(sum[:])
}

func digestOf(sum []byte) string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum) + ":"
}
