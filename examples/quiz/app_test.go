package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"image"
	"image/png"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func serve(t *testing.T) (string, *http.Client) {
	t.Helper()
	app, err := newApp(config{Uploads: t.TempDir(), Release: "3", Instance: "web-3-k7f2q"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(app.handler())
	t.Cleanup(server.Close)
	t.Cleanup(app.endStreams)
	return server.URL, server.Client()
}

func TestEveryPageRenders(t *testing.T) {
	url, _ := serve(t)
	for path, want := range map[string]string{
		"/":                      "Tides and the sea",
		"/quizzes/new":           "multipart/form-data",
		"/quizzes/tides":         "What raises the spring tide?",
		"/quizzes/tides/results": "Nobody has played",
		"/quizzes/tides/room":    "new WebSocket",
		"/assets/style.css":      "--sea",
	} {
		if body := get(t, url+path); !strings.Contains(body, want) {
			t.Errorf("%s lacks %q", path, want)
		}
	}
}

func TestAQuizIsMadeWithAPictureAndPlayed(t *testing.T) {
	base, client := serve(t)
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 8, 8))); err != nil {
		t.Fatal(err)
	}
	answer := postQuiz(t, client, base, "Ships", "Which is bigger?\n- A boat\n* A ship\n", picture.Bytes())
	page := body(t, answer)
	if answer.StatusCode != http.StatusOK || !strings.Contains(page, "A ship") {
		t.Fatalf("%s: %s", answer.Status, page)
	}
	_, rest, ok := strings.Cut(page, `src="/pictures/`)
	if !ok {
		t.Fatal("the page shows no picture")
	}
	name, _, _ := strings.Cut(rest, `"`)
	if got := get(t, base+"/pictures/"+name); got != picture.String() {
		t.Error("the picture came back changed")
	}

	played, err := client.PostForm(base+answer.Request.URL.Path+"/answers", url.Values{"player": {"Ada"}, "answer0": {"1"}})
	if err != nil {
		t.Fatal(err)
	}
	if results := body(t, played); !strings.Contains(results, "Ada") || !strings.Contains(results, "1 of 1") {
		t.Errorf("results: %s", results)
	}
}

func TestABadUploadIsRefusedWithAReason(t *testing.T) {
	base, client := serve(t)
	for name, try := range map[string]struct {
		title, questions string
		picture          []byte
		status           int
	}{
		"no title":      {"", "a?\n* b\n- c", nil, 422},
		"no questions":  {"t", "", nil, 422},
		"not a picture": {"t", "a?\n* b\n- c", []byte("hello"), 422},
		"too large":     {"t", "a?\n* b\n- c", make([]byte, 4<<20), 413},
	} {
		answer := postQuiz(t, client, base, try.title, try.questions, try.picture)
		if body(t, answer); answer.StatusCode != try.status {
			t.Errorf("%s: %s, want %d", name, answer.Status, try.status)
		}
	}
}

func TestAPostFromAForeignSiteIsRefused(t *testing.T) {
	base, client := serve(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+"/quizzes/tides/answers", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Sec-Fetch-Site", "cross-site")
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if body(t, answer); answer.StatusCode != http.StatusForbidden {
		t.Errorf("got %s", answer.Status)
	}
}

func TestADownloadIsTheSameEverywhereAndCarriesItsDigest(t *testing.T) {
	url, client := serve(t)
	for _, n := range []string{"0", "1", "7", "100000"} {
		answer, err := client.Get(url + "/download?bytes=" + n)
		if err != nil {
			t.Fatal(err)
		}
		got := body(t, answer)
		if answer.Header.Get("Content-Length") != n || answer.Header.Get("Repr-Digest") != digest([]byte(got)) {
			t.Errorf("%s bytes: length %s, digest %s", n, answer.Header.Get("Content-Length"), answer.Header.Get("Repr-Digest"))
		}
	}
	whole := make([]byte, 1000)
	pattern{}.ReadAt(whole, 0)
	part := make([]byte, 100)
	pattern{}.ReadAt(part, 333)
	if !bytes.Equal(part, whole[333:433]) {
		t.Error("the pattern depends on where the reading begins")
	}
}

func TestEchoTellsWhatArrived(t *testing.T) {
	url, client := serve(t)
	sent := bytes.Repeat([]byte("tide "), 10_000)
	answer, err := client.Post(url+"/echo?token=t1", "text/plain", bytes.NewReader(sent))
	if err != nil {
		t.Fatal(err)
	}
	var got echoed
	if err := json.Unmarshal([]byte(body(t, answer)), &got); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(sent)
	want := echoed{identity{Version, "3", "web-3-k7f2q", "t1"}, int64(len(sent)), digestOf(sum[:])}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestEveryAnswerNamesItsInstance(t *testing.T) {
	url, client := serve(t)
	for _, path := range []string{"/", "/version", "/no-such-page", "/work?ms=x"} {
		answer, err := client.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		body(t, answer)
		if answer.Header.Get("X-Instance") != "web-3-k7f2q" || answer.Header.Get("X-Release") != "3" {
			t.Errorf("%s: %v", path, answer.Header)
		}
	}
}

func postQuiz(t *testing.T, client *http.Client, base, title, questions string, picture []byte) *http.Response {
	t.Helper()
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	w.WriteField("title", title)
	w.WriteField("questions", questions)
	if picture != nil {
		part, err := w.CreateFormFile("picture", "p.png")
		if err != nil {
			t.Fatal(err)
		}
		part.Write(picture)
	}
	w.Close()
	answer, err := client.Post(base+"/quizzes", w.FormDataContentType(), &form)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

func body(t *testing.T, answer *http.Response) string {
	t.Helper()
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}
