package backlog

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/test/story"
)

func anywhere(ctx context.Context, network, address string) (net.Conn, error) {
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, address)
}

func portOf(address string) string { return address[strings.LastIndex(address, ":")+1:] }

// redisServerOf runs a real Redis with a password, and gives its URL and a client of it.
// The server's program is in Debian's redis-tools, under another name.
func redisServerOf(t *testing.T, arguments ...string) (string, *client.Client) {
	t.Helper()
	address := story.Address(t)
	server := exec.Command("redis-check-rdb", append([]string{
		"--port", portOf(address), "--bind", "127.0.0.1", "--save", "", "--requirepass", "pass", "--dir", t.TempDir(),
		"--pidfile", filepath.Join(t.TempDir(), "pid"),
	}, arguments...)...)
	server.Args[0] = "redis-server"
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	url := "redis://default:pass@" + address + "/3"
	options, err := client.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := client.NewClient(options)
	t.Cleanup(func() { _ = c.Close() })
	for deadline := time.Now().Add(time.Minute); c.Ping(t.Context()).Err() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("redis does not answer")
		}
		time.Sleep(20 * time.Millisecond) // between one question and the next
	}
	return url, c
}

func read(t *testing.T, queue springtide.OutsideQueue, values map[string]string) (Depth, error) {
	t.Helper()
	r := New(queue, values, anywhere)
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	return r.Read(ctx)
}

func TestListsOfRedisAreCounted(t *testing.T) {
	url, c := redisServerOf(t)
	ctx := t.Context()
	for _, err := range []error{
		c.RPush(ctx, "jobs", 1, 2, 3).Err(), c.RPush(ctx, "more", 1).Err(), c.RPush(ctx, "doing", 1, 2).Err(), c.Set(ctx, "text", "x", 0).Err(),
		c.RPush(ctx, "shop:celery", 1).Err(), c.RPush(ctx, "shop:celery\x06\x163", 1, 2).Err(), c.RPush(ctx, "shop:celery\x06\x169", 1).Err(),
		c.HSet(ctx, "shop:unacked", "tag", "message").Err(),
		c.RPush(ctx, "shop:mail", 1).Err(), c.RPush(ctx, "shop:mail\x06\x166", 1, 2, 3).Err(), c.RPush(ctx, "shop:mailbox", 1).Err(),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, one := range []struct {
		queue springtide.OutsideQueue
		want  Depth
		err   string
	}{
		{springtide.OutsideQueue{Kind: "redis", Names: []string{"jobs", "more", "none"}, URL: "REDIS_URL"}, Depth{Waiting: 4}, ""},
		{springtide.OutsideQueue{Kind: "redis", Names: []string{"jobs"}, Processing: "doing", URL: "REDIS_URL"}, Depth{3, 2}, ""},
		{springtide.OutsideQueue{Kind: "celery", Names: []string{"celery"}, Prefix: "shop:", URL: "REDIS_URL"}, Depth{4, 1}, ""},
		{springtide.OutsideQueue{Kind: "celery", Names: []string{"celery", "mail", "none"}, Prefix: "shop:", URL: "REDIS_URL"}, Depth{8, 1}, ""},
		{springtide.OutsideQueue{Kind: "celery", Names: []string{"celery"}, URL: "REDIS_URL"}, Depth{}, ""},
		{springtide.OutsideQueue{Kind: "redis", Names: []string{"text"}, URL: "REDIS_URL"}, Depth{}, "redis list text: LLEN: WRONGTYPE"},
		{springtide.OutsideQueue{Kind: "redis", Names: []string{"jobs"}, URL: "BROKER"}, Depth{}, "no variable BROKER"},
		{springtide.OutsideQueue{Kind: "redis", Names: []string{"jobs"}, URL: strings.Replace(url, "pass@", "wrong@", 1)}, Depth{}, "AUTH: WRONGPASS"},
		{springtide.OutsideQueue{Kind: "redis", Names: []string{"jobs"}, URL: "redis://127.0.0.1:1/"}, Depth{}, "connection refused"},
		{springtide.OutsideQueue{Kind: "redis", Names: []string{"jobs"}, URL: "http://user:pass@h/"}, Depth{}, "its URL is not like redis://"},
		{springtide.OutsideQueue{Kind: "redis", Names: []string{"jobs"}, URL: "redis://h/x"}, Depth{}, "no number of a database"},
	} {
		got, err := read(t, one.queue, map[string]string{"REDIS_URL": url})
		if got != one.want || (err == nil) != (one.err == "") || err != nil && (!strings.Contains(err.Error(), one.err) || strings.Contains(err.Error(), "pass@")) {
			t.Errorf("%s: %+v, %v; want %+v, %q", one.queue, got, err, one.want, one.err)
		}
	}
}

func TestARedisBehindTLSIsAskedByItsUserForItsDatabase(t *testing.T) {
	certified := httptest.NewTLSServer(nil) // for its certificate, of 127.0.0.1
	certified.Close()
	folder := t.TempDir()
	own := certified.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(own.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: own.Certificate[0]}, "key": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := portOf(story.Address(t))
	_, c := redisServerOf(t, "--tls-port", port, "--tls-auth-clients", "no",
		"--tls-cert-file", filepath.Join(folder, "cert"), "--tls-key-file", filepath.Join(folder, "key"))
	ctx := t.Context()
	if err := c.RPush(ctx, "jobs", 1, 2, 3).Err(); err != nil { // in database 3
		t.Fatal(err)
	}
	if err := c.Do(ctx, "ACL", "SETUSER", "shop", "on", ">p@ss:/secret", "~jobs", "+llen", "+select").Err(); err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AddCert(certified.Certificate())
	for _, one := range []struct {
		url   string
		roots *x509.CertPool
		list  string
		want  int
		err   string
	}{
		{"rediss://shop:p%40ss%3A%2Fsecret@127.0.0.1:PORT/3", trusted, "jobs", 3, ""},
		{"rediss://:pass@127.0.0.1:PORT/3", trusted, "jobs", 3, ""},
		{"rediss://:pass@127.0.0.1:PORT?db=3&ssl_cert_reqs=required", trusted, "jobs", 3, ""},
		{"rediss://:pass@127.0.0.1:PORT/3?ssl_cert_reqs=none", nil, "jobs", 3, ""},
		{"rediss://:pass@127.0.0.1:PORT/3?ssl_cert_reqs=CERT_NONE", nil, "jobs", 3, ""},
		{"rediss://:pass@127.0.0.1:PORT", trusted, "jobs", 0, ""},
		{"rediss://shop:p%40ss%3A%2Fsecret@127.0.0.1:PORT/3", trusted, "other", 0, "LLEN: NOPERM"},
		{"rediss://shop:wrong@127.0.0.1:PORT/3", trusted, "jobs", 0, "AUTH: WRONGPASS"},
		{"rediss://127.0.0.1:PORT/3", trusted, "jobs", 0, "SELECT: NOAUTH"},
		{"rediss://:pass@127.0.0.1:PORT/99", trusted, "jobs", 0, "SELECT: ERR DB index is out of range"},
		{"rediss://:pass@127.0.0.1:PORT/3", nil, "jobs", 0, "certificate signed by unknown authority"},
		{"rediss://:pass@localhost:PORT/3", trusted, "jobs", 0, "certificate is valid for"},
		{"redis://:pass@127.0.0.1:PORT/3", nil, "jobs", 0, "AUTH: "},
	} {
		url := strings.Replace(one.url, "PORT", port, 1)
		r := New(springtide.OutsideQueue{Kind: "redis", Names: []string{one.list}, URL: "REDIS_URL"}, map[string]string{"REDIS_URL": url}, anywhere)
		r.roots = one.roots
		limited, cancel := context.WithTimeout(ctx, 30*time.Second)
		got, err := r.Read(limited)
		cancel()
		if got.Waiting != one.want || (err == nil) != (one.err == "") || err != nil && (!strings.Contains(err.Error(), one.err) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %+v, %v; want %d, %q", one.url, got, err, one.want, one.err)
		}
	}
}

func TestAServerThatDoesNotAnswerIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close() // connections wait in its queue
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reached := func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := anywhere(ctx, network, address)
		time.AfterFunc(100*time.Millisecond, cancel) // the time is up only after that
		return conn, err
	}
	r := New(springtide.OutsideQueue{Kind: "redis", Names: []string{"jobs"}, URL: "redis://" + listener.Addr().String()}, nil, reached)
	if _, err := r.Read(ctx); err == nil || !strings.Contains(err.Error(), "no answer in time") {
		t.Error(err)
	}
}

func TestAQueueOfSQSIsAskedForItsAttributes(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked struct {
			QueueURL       string `json:"QueueUrl"`
			AttributeNames []string
		}
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.Header.Get("X-Amz-Target") != "AmazonSQS.GetQueueAttributes" ||
			r.Header.Get("Content-Type") != "application/x-amz-json-1.0" || len(asked.AttributeNames) != 2 {
			t.Errorf("%v, %+v, %v", err, asked, r.Header)
		}
		switch {
		case !strings.HasSuffix(asked.QueueURL, "/1/jobs"):
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}`)
		case strings.Contains(r.Header.Get("Authorization"), "Credential=KEY/") && !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/sqs/aws4_request"):
			w.WriteHeader(http.StatusForbidden)
		default:
			_, _ = io.WriteString(w, `{"Attributes":{"ApproximateNumberOfMessages":"12","ApproximateNumberOfMessagesNotVisible":"3"}}`)
		}
	}))
	defer server.Close()
	queue := springtide.OutsideQueue{Kind: "sqs", URL: server.URL + "/1/jobs", Region: "eu-west-1"}
	for _, values := range []map[string]string{nil, {"AWS_ACCESS_KEY_ID": "KEY", "AWS_SECRET_ACCESS_KEY": "SECRET"}} {
		if got, err := read(t, queue, values); err != nil || got != (Depth{12, 3}) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	queue.URL = server.URL + "/1/none"
	if _, err := read(t, queue, nil); err == nil || !strings.Contains(err.Error(), "it answered 400") || !strings.Contains(err.Error(), "QueueDoesNotExist") {
		t.Error(err)
	}
}

func TestANumberIsFoundInWhatIsAnsweredOverHTTP(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, `{"queues":[{"messages":7}],"a/b":{"~":"2.5"}}`)
	}))
	defer server.Close()
	for pointer, want := range map[string]int{"/queues/0/messages": 7, "/a~1b/~0": 3} {
		got, err := read(t, springtide.OutsideQueue{Kind: "http", URL: server.URL, Value: pointer, Token: "TOKEN"}, map[string]string{"TOKEN": "secret"})
		if err != nil || got.Waiting != want {
			t.Errorf("%s: %+v, %v", pointer, got, err)
		}
	}
	if _, err := read(t, springtide.OutsideQueue{Kind: "http", URL: server.URL}, nil); err == nil || !strings.Contains(err.Error(), "it answered 401") {
		t.Error(err)
	}
	for answer, want := range map[string]string{
		"42": "", " 0\n": "", `"5"`: "", "-1": "no count", "{}": "no count", "1e99": "no count", "": "no JSON", "<html>": "no JSON", "null": "no count",
	} {
		if _, err := number([]byte(answer), ""); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", answer, err, want)
		}
	}
	if _, err := number([]byte(`{"a":[1]}`), "/a/1"); err == nil || !strings.Contains(err.Error(), "nothing at /a/1") {
		t.Error(err)
	}
}

func FuzzNumber(f *testing.F) {
	f.Add([]byte(`{"queues":[{"messages":7}]}`), "/queues/0/messages")
	f.Add([]byte("42"), "")
	f.Fuzz(func(t *testing.T, answer []byte, pointer string) {
		if n, err := number(answer, pointer); n < 0 || err != nil && n != 0 {
			t.Fatal(n, err)
		}
	})
}

func FuzzParseRedis(f *testing.F) {
	f.Add("redis://user:password@host:6379/0")
	f.Add("rediss://[::1]/")
	f.Fuzz(func(t *testing.T, location string) {
		server, err := parseRedis(location)
		if err != nil {
			return
		}
		if _, _, err := net.SplitHostPort(server.address); err != nil {
			t.Fatal(location, err)
		}
	})
}
