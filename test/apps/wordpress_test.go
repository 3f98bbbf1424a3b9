package apps

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

const (
	posts = "/wp-json/wp/v2/posts"
	media = "/wp-json/wp/v2/media"
)

// blog is WordPress, with its owner logged in.
type blog struct {
	*site
	nonce string
}

// plugin has WordPress plan something, once.
const plugin = `<?php
add_action('high_tide', fn() => update_option('blogdescription', 'High tide'));
add_action('init', fn() => wp_next_scheduled('high_tide') || wp_schedule_event(time() - 1, 'daily', 'high_tide'));
`

// entry is a post, or a picture.
type entry struct {
	ID        int
	Link      string
	SourceURL string `json:"source_url"`
	Details   struct {
		Sizes map[string]struct {
			SourceURL string `json:"source_url"`
		}
	} `json:"media_details"`
}

func TestWordPressIsBroughtUpUpdatedDamagedAndRestored(t *testing.T) {
	const password = "correct horse battery staple"
	b := &blog{site: open(t, "wordpress", "wordpress", map[string]string{"SALT": "of the sea", "ADMIN_PASSWORD": password})}
	b.logIn(password)
	large := picture(t, 1200, 900)
	storm := b.create(media, "image/png", string(large))
	if len(storm.Details.Sizes) < 3 {
		t.Errorf("WordPress made %d smaller pictures", len(storm.Details.Sizes))
	}
	post := b.post(map[string]any{"title": "A storm", "content": "Waves, " + storm.SourceURL, "status": "publish", "featured_media": storm.ID})
	b.isSeen(post, storm, large)
	b.mailsItsOwner()
	b.imports()

	b.edit("wp-content/themes/shore/index.php", "Made on the shore.", "Made on another shore.")
	b.write("wp-content/mu-plugins/tide.php", plugin)
	b.update(
		func() error { return b.has("/", "A storm") },
		func() error { return b.has(b.path(storm.SourceURL), string(large)) },
		func() error {
			_, err := b.tryCreate(posts, "application/json", `{"title":"Foam","status":"draft"}`)
			return err
		},
	)
	b.everywhere("/", "Made on another shore.")
	b.isSeen(post, storm, large)
	if b.tide("schedules", "trigger", "cron", "--wait"); b.has("/wp-json/", "High tide") != nil {
		t.Error("our schedule does not do what WordPress has planned")
	}

	for _, of := range []string{"db", "files"} {
		b.tide("backups", "run", of)
	}
	last := b.post(map[string]any{"title": "After the backup", "status": "publish"})
	before := b.everything()
	moment := now()
	for _, lost := range []entry{post, last} {
		b.remove(posts, lost)
	}
	b.remove(media, storm)
	if a, err := b.send(http.MethodGet, b.path(storm.SourceURL), nil, nil); err != nil || a.status != http.StatusNotFound {
		t.Fatalf("a picture that was deleted is still there: %v %d", err, a.status)
	}
	b.restore(moment)
	if after := b.everything(); !slices.Equal(before, after) {
		t.Errorf("before there was %v, and after %v", before, after)
	}
	b.isSeen(post, storm, large)
}

// logIn does what the login form does.
func (b *blog) logIn(password string) {
	b.t.Helper()
	b.get("/wp-login.php") // sets the cookie that is asked for
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	form := url.Values{"log": {"admin"}, "pwd": {password}, "testcookie": {"1"}}
	if _, err := b.try(http.StatusFound, http.MethodPost, "/wp-login.php", header, []byte(form.Encode())); err != nil {
		b.t.Fatal(err)
	}
	b.nonce = b.get("/wp-admin/admin-ajax.php?action=rest-nonce")
}

// isSeen checks that every instance has a post and its picture, and knows who is
// logged in.
func (b *blog) isSeen(post, storm entry, large []byte) {
	b.t.Helper()
	b.everywhere("/", "A storm")
	b.everywhere(b.path(post.Link), "Waves")
	b.everywhere(b.path(storm.SourceURL), string(large))
	for _, size := range storm.Details.Sizes {
		b.everywhere(b.path(size.SourceURL), "PNG")
	}
	b.everywhere("/wp-admin/profile.php", "admin@example.com")
}

// imports has a dump be read, larger than what fits into any line or buffer.
func (b *blog) imports() {
	b.t.Helper()
	dump := "-- " + strings.Repeat("a storm\t", 50_000) + "\nUPDATE wp_options SET option_value = 'Tide mark' WHERE option_name = 'blogname';\n"
	command := b.command("db", "psql")
	command.Stdin = strings.NewReader(dump)
	if output, err := command.CombinedOutput(); err != nil || len(output) > 0 {
		b.t.Fatalf("%v\n%.500s", err, output)
	}
	b.everywhere("/", "Tide mark")
}

// mailsItsOwner asks for a new password.
func (b *blog) mailsItsOwner() {
	b.t.Helper()
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if _, err := b.try(http.StatusFound, http.MethodPost, "/wp-login.php?action=lostpassword", header, []byte("user_login=admin")); err != nil {
		b.t.Fatal(err)
	}
	if mails := b.tide("mail"); !strings.Contains(mails, "admin@example.com") || !strings.Contains(mails, "Password Reset") {
		b.t.Errorf("the mails are\n%s", mails)
	}
}

// everything lists all that is published, with when it was changed.
func (b *blog) everything() []string {
	b.t.Helper()
	var all []string
	for _, kind := range []string{posts, media} {
		var list []struct {
			ID       int
			Modified string
			Slug     string
		}
		if err := json.Unmarshal([]byte(b.get(kind+"?per_page=100&orderby=id")), &list); err != nil {
			b.t.Fatal(err)
		}
		for _, one := range list {
			all = append(all, fmt.Sprint(one.ID, " ", one.Modified, " ", one.Slug))
		}
	}
	return all
}

func (b *blog) post(content map[string]any) entry {
	b.t.Helper()
	body, err := json.Marshal(content)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.create(posts, "application/json", string(body))
}

func (b *blog) create(kind, contentType, body string) entry {
	b.t.Helper()
	made, err := b.tryCreate(kind, contentType, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

func (b *blog) tryCreate(kind, contentType, body string) (entry, error) {
	var made entry
	a, err := b.try(http.StatusCreated, http.MethodPost, kind, b.header(contentType), []byte(body))
	if err == nil {
		err = json.Unmarshal([]byte(a.body), &made)
	}
	return made, err
}

func (b *blog) remove(kind string, lost entry) {
	b.t.Helper()
	if _, err := b.try(http.StatusOK, http.MethodDelete, fmt.Sprint(kind, "/", lost.ID, "?force=true"), b.header(""), nil); err != nil {
		b.t.Fatal(err)
	}
}

func (b *blog) header(contentType string) http.Header {
	header := http.Header{"X-Wp-Nonce": {b.nonce}}
	if contentType != "" {
		header.Set("Content-Type", contentType)
		header.Set("Content-Disposition", `attachment; filename="storm.png"`)
	}
	return header
}

// path is what a link of WordPress's has after the host.
func (b *blog) path(link string) string {
	path, found := strings.CutPrefix(link, b.url)
	if !found {
		b.t.Fatalf("%q does not lead to %s", link, b.url)
	}
	return path
}
