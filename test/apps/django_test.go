package apps

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// wall is the Django app, with somebody who has a session.
type wall struct{ *site }

func TestADjangoAppIsBroughtUpUpdatedDamagedAndRestored(t *testing.T) {
	w := &wall{open(t, "django", "postcards", map[string]string{"SECRET_KEY": "of the sea"})}
	w.get("/") // sets the cookie against forgery
	cat := picture(t, 600, 400)
	w.send("A storm", cat)
	w.isSeen("A storm", cat)

	w.write("postcards/migrations/0002_place.py", migration)
	w.edit("postcards/models.py", "    sent = ", "    place = models.CharField(max_length=60, null=True)\n    sent = ")
	w.edit("postcards/templates/wall.html", "Sent from the shore.", "Sent from {{ cards.0.place|default:'another shore' }}.")
	w.update(
		func() error { return w.has("/", "Postcards") },
		func() error { return w.has("/cards/1/picture", string(cat)) },
		func() error { return w.trySend("Foam", nil) },
	)
	w.send("After the update", nil)
	w.everywhere("/", "Sent from another shore.")
	w.isSeen("After the update", cat)
	w.sql("INSERT INTO django_session VALUES ('old', 'x', now() - interval '1 day')")
	w.tide("schedules", "trigger", "sessions", "--wait")
	if left := w.sql("SELECT count(*) FROM django_session WHERE session_key = 'old'"); left != "0" {
		t.Errorf("our schedule leaves %s sessions that have expired", left)
	}

	for _, of := range []string{"db", "files"} {
		w.tide("backups", "run", of)
	}
	w.send("After the backup", nil)
	before := w.sql("SELECT count(*), md5(string_agg(c::text, '|' ORDER BY id)) FROM postcards_card c")
	moment := now()
	file := w.sql("SELECT picture FROM postcards_card WHERE id = 1")
	w.tide("files", "rm", "pictures:"+file)
	w.tide("run", "--", "python3", "manage.py", "flush", "--noinput")
	mine := w.client.Jar
	w.client.Jar = nil // one's session would be ended
	w.everywhere("/", "Nobody has written yet")
	w.client.Jar = mine
	w.restore(moment)
	if after := w.sql("SELECT count(*), md5(string_agg(c::text, '|' ORDER BY id)) FROM postcards_card c"); before != after {
		t.Errorf("before there was %s, and after %s", before, after)
	}
	w.isSeen("After the backup", cat)
	form := url.Values{"csrfmiddlewaretoken": {w.token()}}
	if _, err := w.try(http.StatusFound, http.MethodPost, "/cards/1/delete", w.header("application/x-www-form-urlencoded"), []byte(form.Encode())); err != nil {
		t.Errorf("who sent a card is not known any more: %v", err)
	}
}

// migration is one that the release before can live with.
const migration = `from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("postcards", "0001_initial")]
    operations = [migrations.AddField("card", "place", models.CharField(max_length=60, null=True))]
`

// isSeen checks that every instance has a card and the first picture, and knows
// whose cards they are.
func (w *wall) isSeen(text string, cat []byte) {
	w.t.Helper()
	w.everywhere("/", text)
	w.everywhere("/cards/1/picture", string(cat))
	w.everywhere("/", "Take down")
	w.everywhere("/static/postcards.css", "max-width")
}

// sql asks the database.
func (w *wall) sql(statement string) string {
	w.t.Helper()
	return strings.TrimSpace(w.tide("db", "psql", "--", "-tAc", statement))
}

func (w *wall) send(text string, picture []byte) {
	w.t.Helper()
	if err := w.trySend(text, picture); err != nil {
		w.t.Fatal(err)
	}
}

// trySend does what the form does.
func (w *wall) trySend(text string, picture []byte) error {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range map[string]string{"csrfmiddlewaretoken": w.token(), "text": text, "sender": "Ada"} {
		if err := form.WriteField(name, value); err != nil {
			return err
		}
	}
	if picture != nil {
		file, err := form.CreateFormFile("picture", "cat.png")
		if err != nil {
			return err
		}
		if _, err := file.Write(picture); err != nil {
			return err
		}
	}
	if err := form.Close(); err != nil {
		return err
	}
	_, err := w.try(http.StatusFound, http.MethodPost, "/", w.header(form.FormDataContentType()), body.Bytes())
	return err
}

// token is the one against forgery.
func (w *wall) token() string {
	address, err := url.Parse(w.url)
	if err != nil {
		w.t.Error(err)
		return ""
	}
	for _, cookie := range w.client.Jar.Cookies(address) {
		if cookie.Name == "csrftoken" {
			return cookie.Value
		}
	}
	return ""
}

func (w *wall) header(contentType string) http.Header {
	return http.Header{"Content-Type": {contentType}, "Referer": {w.url + "/"}}
}
