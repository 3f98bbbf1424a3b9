package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// board is one tick of the score board.
type board struct {
	Tick     int                `json:"tick"`
	Instance string             `json:"instance"`
	Scores   map[string][]score `json:"scores"`
}

// streamScores is an event stream: the score board, again and again
// (?every=MILLISECONDS, 1000 unless told).
func (a *app) streamScores(w http.ResponseWriter, r *http.Request) {
	every, err := milliseconds(r, "every", time.Second)
	if err != nil {
		a.problem(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	ticker := time.NewTicker(max(every, 20*time.Millisecond))
	defer ticker.Stop()
	for tick := 1; ; tick++ {
		data, err := json.Marshal(board{Tick: tick, Instance: a.config.Instance, Scores: a.boardNow()})
		if err != nil {
			a.log.Error("score board not written", "error", err)
			return
		}
		fmt.Fprintf(w, "id: %d\nevent: scores\ndata: %s\n\n", tick, data)
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-a.ending:
			fmt.Fprint(w, "event: bye\ndata: this instance is leaving, please reconnect\n\n")
			return
		case <-ticker.C:
		}
	}
}

func (a *app) boardNow() map[string][]score {
	scores := map[string][]score{}
	for _, q := range a.quizzes.all() {
		best := a.quizzes.best(q.ID)
		if len(best) > 0 {
			scores[q.ID] = best[:min(len(best), 3)]
		}
	}
	return scores
}
