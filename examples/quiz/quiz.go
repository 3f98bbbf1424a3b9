package main

import (
	"cmp"
	"crypto/rand"
	"slices"
	"strings"
	"sync"
	"time"
)

// quiz is a title, perhaps a picture, and questions.
type quiz struct {
	ID, Title string
	// Picture is the name under which [pictures] keeps it; may be empty.
	Picture   string
	Questions []question
}

// question has choices, one of which is right.
type question struct {
	Text    string
	Choices []string
	Right   int
}

// score is how one player did.
type score struct {
	Player string    `json:"player"`
	Points int       `json:"points"`
	Of     int       `json:"of"`
	At     time.Time `json:"at"`
}

// grade counts the right answers.
func (q quiz) grade(answers []int) int {
	points := 0
	for i, asked := range q.Questions {
		if i < len(answers) && answers[i] == asked.Right {
			points++
		}
	}
	return points
}

// The shelf keeps no more than this: it is all in memory.
const (
	mostQuizzes = 500
	mostScores  = 20
)

// shelf holds the quizzes and their best scores, in memory.
type shelf struct {
	mu      sync.RWMutex
	quizzes []quiz
	scores  map[string][]score
}

func newShelf(quizzes []quiz) *shelf {
	return &shelf{quizzes: quizzes, scores: map[string][]score{}}
}

func (s *shelf) all() []quiz {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.quizzes)
}

func (s *shelf) find(id string) (quiz, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := slices.IndexFunc(s.quizzes, func(q quiz) bool { return q.ID == id })
	if i < 0 {
		return quiz{}, false
	}
	return s.quizzes[i], true
}

// add gives the quiz an ID and reports whether there was room for it.
func (s *shelf) add(q quiz) (id string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.quizzes) >= mostQuizzes {
		return "", false
	}
	q.ID = strings.ToLower(rand.Text()[:8])
	s.quizzes = append(s.quizzes, q)
	return q.ID, true
}

func (s *shelf) record(id string, one score) {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := append(s.scores[id], one)
	slices.SortStableFunc(best, func(a, b score) int { return cmp.Compare(b.Points, a.Points) })
	s.scores[id] = best[:min(len(best), mostScores)]
}

func (s *shelf) best(id string) []score {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return slices.Clone(s.scores[id])
}

// samples are there from the start, on every instance.
func samples() []quiz {
	return []quiz{
		{ID: "tides", Title: "Tides and the sea", Questions: []question{
			{"What raises the spring tide?", []string{"Sun and Moon in line", "Melting snow", "The month of May"}, 0},
			{"How often is high water on most coasts?", []string{"Once a day", "Twice a day", "Once a week"}, 1},
			{"What is the weakest tide called?", []string{"Ebb", "Slack", "Neap"}, 2},
		}},
		{ID: "capitals", Title: "Capitals of Europe", Questions: []question{
			{"Which is the capital of Poland?", []string{"Kraków", "Warsaw", "Gdańsk"}, 1},
			{"Which is the capital of Slovenia?", []string{"Ljubljana", "Bratislava", "Maribor"}, 0},
			{"Which capital lies furthest north?", []string{"Oslo", "Helsinki", "Reykjavík"}, 2},
		}},
		{ID: "numbers", Title: "A few numbers", Questions: []question{
			{"How many bits has a nibble?", []string{"Two", "Four", "Eight"}, 1},
			{"Which of these is prime?", []string{"51", "57", "59"}, 2},
		}},
	}
}
