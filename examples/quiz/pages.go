package main

import (
	"bytes"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed pages
var pageFiles embed.FS

// pages are the templates, each within the layout.
type pages struct {
	config config
	byName map[string]*template.Template
}

func parsePages(c config) (*pages, error) {
	p := &pages{config: c, byName: map[string]*template.Template{}}
	for _, name := range []string{"list", "new", "play", "results", "room", "problem"} {
		parsed, err := template.New("layout.html").Funcs(template.FuncMap{"add": func(a, b int) int { return a + b }}).
			ParseFS(pageFiles, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, err
		}
		p.byName[name] = parsed
	}
	return p, nil
}

// page is what every template is given.
type page struct {
	Title                      string
	Version, Release, Instance string
	Data                       any
}

// show renders into memory first, so that an error never leaves half a page.
func (a *app) show(w http.ResponseWriter, status int, name, title string, data any) {
	var body bytes.Buffer
	err := a.pages.byName[name].Execute(&body, page{
		Title: title, Version: Version, Release: a.config.Release, Instance: a.config.Instance, Data: data,
	})
	if err != nil {
		a.log.Error("page not rendered", "page", name, "error", err)
		http.Error(w, "this page is broken", http.StatusInternalServerError)
		return
	}
	reply(w, status, "text/html; charset=utf-8", body.Bytes())
}

func (a *app) problem(w http.ResponseWriter, status int, message string) {
	a.show(w, status, "problem", http.StatusText(status), message)
}

func (a *app) listQuizzes(w http.ResponseWriter, _ *http.Request) {
	a.show(w, http.StatusOK, "list", "Quizzes", a.quizzes.all())
}

func (a *app) newQuiz(w http.ResponseWriter, _ *http.Request) {
	a.show(w, http.StatusOK, "new", "Make a quiz", nil)
}

func (a *app) makeQuiz(w http.ResponseWriter, r *http.Request) {
	made, err := a.readQuiz(w, r)
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		a.problem(w, http.StatusRequestEntityTooLarge, "That is more than 2 MiB.")
		return
	}
	if err != nil {
		a.problem(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	id, ok := a.quizzes.add(made)
	if !ok {
		a.problem(w, http.StatusInsufficientStorage, "The shelf is full.")
		return
	}
	http.Redirect(w, r, "/quizzes/"+id, http.StatusSeeOther)
}

func (a *app) readQuiz(w http.ResponseWriter, r *http.Request) (quiz, error) {
	r.Body = http.MaxBytesReader(w, r.Body, mostPicture+64<<10)
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		return quiz{}, err
	}
	defer r.MultipartForm.RemoveAll()
	made := quiz{Title: strings.TrimSpace(r.FormValue("title"))}
	if made.Title == "" {
		return quiz{}, errors.New("a quiz needs a title")
	}
	var err error
	if made.Questions, err = parseQuestions(r.FormValue("questions")); err != nil {
		return quiz{}, err
	}
	file, header, err := r.FormFile("picture")
	if errors.Is(err, http.ErrMissingFile) || err == nil && header.Size == 0 {
		return made, nil
	}
	if err != nil {
		return quiz{}, err
	}
	defer file.Close()
	made.Picture, err = a.pictures.save(file)
	return made, err
}

func (a *app) playQuiz(w http.ResponseWriter, r *http.Request) {
	if q, ok := a.quizOf(w, r); ok {
		a.show(w, http.StatusOK, "play", q.Title, q)
	}
}

func (a *app) answerQuiz(w http.ResponseWriter, r *http.Request) {
	q, ok := a.quizOf(w, r)
	if !ok {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		a.problem(w, http.StatusBadRequest, "That form could not be read.")
		return
	}
	answers := make([]int, len(q.Questions))
	for i := range answers {
		var err error
		if answers[i], err = strconv.Atoi(r.PostFormValue("answer" + strconv.Itoa(i))); err != nil {
			answers[i] = -1
		}
	}
	player := strings.TrimSpace(r.PostFormValue("player"))
	if player == "" {
		player = "Somebody"
	}
	runes := []rune(player)
	a.quizzes.record(q.ID, score{
		Player: string(runes[:min(len(runes), 40)]),
		Points: q.grade(answers), Of: len(q.Questions), At: time.Now().UTC(),
	})
	http.Redirect(w, r, "/quizzes/"+q.ID+"/results", http.StatusSeeOther)
}

func (a *app) showResults(w http.ResponseWriter, r *http.Request) {
	if q, ok := a.quizOf(w, r); ok {
		a.show(w, http.StatusOK, "results", q.Title, struct {
			Quiz   quiz
			Scores []score
		}{q, a.quizzes.best(q.ID)})
	}
}

func (a *app) showRoom(w http.ResponseWriter, r *http.Request) {
	if q, ok := a.quizOf(w, r); ok {
		a.show(w, http.StatusOK, "room", q.Title, q)
	}
}

func (a *app) quizOf(w http.ResponseWriter, r *http.Request) (quiz, bool) {
	q, ok := a.quizzes.find(r.PathValue("id"))
	if !ok {
		a.problem(w, http.StatusNotFound, "There is no such quiz here. It may live on another instance, or have gone with one.")
	}
	return q, ok
}
