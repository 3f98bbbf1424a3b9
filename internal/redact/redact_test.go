package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
)

const password = `pA55/w"o+r<d& 2?`

func TestAValueIsHiddenInEveryForm(t *testing.T) {
	html, err := json.Marshal(password)
	if err != nil {
		t.Fatal(err)
	}
	r := New([]byte(password))
	for name, text := range map[string]string{
		"as it is":       password,
		"query":          url.QueryEscape(password),
		"path":           url.PathEscape(password),
		"user":           url.UserPassword("app", password).String(),
		"lower hex":      strings.NewReplacer("%2F", "%2f", "%2B", "%2b", "%3C", "%3c", "%3F", "%3f").Replace(url.QueryEscape(password)),
		"JSON":           strings.Trim(string(html), `"`),
		"base64":         base64.StdEncoding.EncodeToString([]byte(password)),
		"basic":          base64.StdEncoding.EncodeToString([]byte("a:" + password + "!")),
		"basic, shifted": base64.StdEncoding.EncodeToString([]byte("ab:" + password + "more")),
		"for URLs":       base64.RawURLEncoding.EncodeToString([]byte("abcd:" + password)),
	} {
		got := string(r.Text([]byte("before " + text + " after")))
		if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") || !strings.Contains(got, Marker) || strings.Contains(got, "55") {
			t.Errorf("%s: %q became %q", name, text, got)
		}
	}
}

func TestEveryLineOfAValueIsHidden(t *testing.T) {
	key := "-----BEGIN KEY-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END KEY-----\n" + strings.Repeat("abcdefgh", 20)
	r := New([]byte(key))
	wrapped := base64.StdEncoding.EncodeToString([]byte(key))
	for _, text := range []string{key, "key: MIIEvQIBADANBgkq\n", wrapped[:76] + "\n" + wrapped[76:152] + "\n", wrapped[64:128] + "\n"} {
		got := string(r.Text([]byte(text)))
		for _, part := range []string{"MIIE", "hkiG", "abcdefgh", wrapped[:20], wrapped[70:90], wrapped[100:120]} {
			if strings.Contains(got, part) {
				t.Errorf("%q is left in %q", part, got)
			}
		}
	}
}

func TestShortValuesAndNoneHideNothing(t *testing.T) {
	if New() != nil || New([]byte("12345"), []byte("a\nb\n")) != nil {
		t.Error("there is something to hide")
	}
	var none *Redactor
	if got := none.Text([]byte("text")); string(got) != "text" {
		t.Errorf("got %q", got)
	}
}

func TestValuesThatOverlapAreHiddenWhole(t *testing.T) {
	r := New([]byte("abcdefgh"), []byte("efghijkl"), []byte("abcdef"))
	if got := string(r.Text([]byte("<abcdefghijkl> <abcdefgX>"))); got != "<"+Marker+"> <"+Marker+"gX>" {
		t.Errorf("got %q", got)
	}
	same := New([]byte("000000"))
	if got := string(same.Text(bytes.Repeat([]byte("0"), 1000))); got != Marker {
		t.Errorf("got %q", got)
	}
}

func TestOnlyWhatMayBecomeAValueIsHeldBack(t *testing.T) {
	f := New([]byte("secret-value")).Filter()
	for _, step := range []struct{ data, want string }{
		{"password: ", "password: "},
		{"sec", ""},
		{"ond", "second"},
		{" secret-val", " "},
		{"ue\nnext", Marker + "\nnext"},
		{" s", " "},
	} {
		if got := string(f.Append(nil, []byte(step.data))); got != step.want {
			t.Errorf("after %q: %q, want %q", step.data, got, step.want)
		}
	}
	if got := string(f.Flush(nil)); got != "s" {
		t.Errorf("at the end: %q", got)
	}
}

func TestAReaderGivesTheSameHoweverItIsCut(t *testing.T) {
	r := New([]byte("secret-value"), []byte("another one"))
	text := strings.Repeat("a secret-value and another one, sec", 50)
	want := string(r.Text([]byte(text)))
	for name, cut := range map[string]io.Reader{
		"whole": strings.NewReader(text), "bytes": iotest.OneByteReader(strings.NewReader(text)), "error with data": iotest.DataErrReader(strings.NewReader(text)),
	} {
		got, err := io.ReadAll(r.Reader(cut))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// FuzzNoValueIsLeft cuts the text in two places: no value is left, nothing else
// is lost, and where the cuts are makes no difference.
func FuzzNoValueIsLeft(f *testing.F) {
	f.Add([]byte("xxsecret-valueyy"), []byte("secret-value"), []byte("value-two"), 3, 9)
	f.Add([]byte("aaaaaaaaaaaaaab"), []byte("aaaaaa"), []byte("aaaaaab"), 1, 7)
	f.Fuzz(func(t *testing.T, text, one, two []byte, first, second int) {
		text = bytes.ReplaceAll(text, []byte(Marker), nil)
		r := New(one, two)
		whole := r.Text(text)
		first = min(max(first, 0), len(text))
		second = min(max(second, first), len(text))
		filter := r.Filter()
		cut := filter.Append(nil, text[:first])
		cut = filter.Append(cut, text[first:second])
		cut = filter.Flush(filter.Append(cut, text[second:]))
		if !bytes.Equal(cut, whole) {
			t.Fatalf("whole %q, cut %q", whole, cut)
		}
		if r == nil {
			return
		}
		rest := text
		for part := range bytes.SplitSeq(whole, []byte(Marker)) {
			for _, needle := range r.needles {
				if bytes.Contains(part, needle) {
					t.Fatalf("%q is left in %q", needle, part)
				}
			}
			at := bytes.Index(rest, part)
			if at < 0 {
				t.Fatalf("%q is not from %q", part, text)
			}
			rest = rest[at+len(part):]
		}
	})
}

func BenchmarkFilter(b *testing.B) {
	var values [][]byte
	for i := range 20 {
		values = append(values, bytes.Repeat([]byte{byte('a' + i), '/', byte('b' + i), '7', 'x'}, 8))
	}
	line := []byte(`127.0.0.1 - - [22/Nov/2026:08:00:00 +0000] "GET /assets/app.js?v=12 HTTP/1.1" 200 5120 "-" "curl/8"` + "\n")
	filter := New(values...).Filter()
	var out []byte
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		out = filter.Append(out[:0], line)
	}
}
