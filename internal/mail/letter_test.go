package mail

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	netmail "net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/springtide/springtide"
)

func TestAMailThatCouldNeverBeSentIsRefusedBeforehand(t *testing.T) {
	many := `"` + strings.Repeat(`a@example.com","`, mostRecipients) + `b@example.com"`
	for payload, want := range map[string]string{
		`[]`:                                                                    "the payload is not a mail",
		`{"too":["a@b.example"]}`:                                               `unknown field "too"`,
		`{"subject":"x","text":"y"}`:                                            "the mail is to nobody",
		`{"to":["a@b.example"],"subject":"x"}`:                                  "neither text nor html nor a template",
		`{"to":[` + many + `],"text":"x"}`:                                      "to 51 recipients, and 50 are the most",
		`{"to":["nobody"],"text":"x"}`:                                          `"nobody" is not a mail address`,
		`{"to":["a@b.example, c@d.example"],"text":"x"}`:                        "is not a mail address",
		`{"to":["a@b.example\r\nBcc: c@d.example"],"text":"x"}`:                 "is not a mail address",
		`{"to":["\"a b\"@c.example"],"text":"x"}`:                               "is not a mail address that can be sent to",
		`{"to":["ä@b.example"],"text":"x"}`:                                     "is not a mail address that can be sent to",
		`{"to":["a@[127.0.0.1]"],"text":"x"}`:                                   "is not a mail address",
		`{"to":["a@b_c.example"],"text":"x"}`:                                   "is not a mail address that can be sent to",
		`{"to":["=?utf-8?q?a=0D=0Ab?= <a@b.example>"],"text":"x"}`:              "is not a mail address that can be sent to",
		`{"to":["a@b.example"],"from":"x","text":"x"}`:                          `"x" is not a mail address`,
		`{"to":["a@b.example"],"reply_to":"x","text":"x"}`:                      `"x" is not a mail address`,
		`{"to":["a@b.example"],"subject":"a\nb","text":"x"}`:                    "the subject has line breaks",
		`{"to":["a@b.example"],"text":"x","headers":{"X-A":"b\r\nBcc: c"}}`:     "is not one that a mail can have",
		`{"to":["a@b.example"],"text":"x","headers":{"X A":"b"}}`:               "is not one that a mail can have",
		`{"to":["a@b.example"],"text":"x","headers":{"X-A: b\r\nBcc":"c"}}`:     "is not one that a mail can have",
		`{"to":["a@b.example"],"text":"x","headers":{"bcc":"c@d.example"}}`:     "is made from the mail's own fields",
		`{"to":["a@b.example"],"text":"x","headers":{"Content-Type":"text/x"}}`: "is made from the mail's own fields",
		`{"to":["a@b.example"],"template":"http://evil.example/"}`:              "is not a path of the app",
		`{"to":["a@b.example"],"template":"/t","text":"x"}`:                     "either a template or text and html",
	} {
		_, err := decode(json.RawMessage(payload))
		if springtide.KindOf(err) != springtide.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", payload, err)
		}
	}
	for _, payload := range []string{
		`{"to":["a.b+c@d.example"],"html":"<p>"}`, `{"bcc":["O'Neil <o'neil@localhost>"],"template":"/t","data":{}}`,
	} {
		if _, err := decode(json.RawMessage(payload)); err != nil {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestOnlyARefusalThatNamesTheMailboxSuppressesIt(t *testing.T) {
	for reply, want := range map[string]bool{
		"550 5.1.1 no such user": true, "550 5.1.10 null MX": true, "550 5.2.1 disabled": true, "553 5.1.2 no such host": true,
		"550 no such user": true, "553 bad name": true, "550 5.4.4 no route": true,
		"550 5.7.1 relaying denied": false, "552 5.2.2 mailbox full": false, "554 5.7.1 spam": false, "554 no": false,
		"550 5.1.8 your domain does not resolve": false, "503 bad sequence": false, "530 5.7.0 authenticate first": false,
	} {
		var code int
		fmt.Sscan(reply, &code)
		if got := gone(fmt.Errorf("rcpt: %w", &textproto.Error{Code: code, Msg: reply[4:]})); got != want {
			t.Errorf("%s: %t", reply, got)
		}
	}
	if gone(errors.New("connection reset")) {
		t.Error("a lost connection suppresses an address")
	}
}

func FuzzAddress(f *testing.F) {
	for _, seed := range []string{
		"a@example.com", "A <a@b.example>", `"a b"@c.example`, "a@Bücher.example", "a@b.example\r\nX: y", "=?utf-8?q?=0D=0A?= <a@b.example>",
		"a@[1.2.3.4]", "<a@b>", "a@b.example>\r\nRCPT TO:<c@d.example",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		address, err := parseAddress(text)
		if err != nil {
			return
		}
		if strings.ContainsAny(address.Address, " <>\r\n\x00\"\\,;:") || strings.Count(address.Address, "@") != 1 || strings.ContainsFunc(address.Address, func(r rune) bool { return r > '~' }) {
			t.Fatalf("%q became %q", text, address.Address)
		}
		again, err := parseAddress(address.Address)
		if err != nil || again.Address != address.Address {
			t.Fatalf("%q became %q, and that %v, %v", text, address.Address, again, err)
		}
		if read, err := netmail.ParseAddress(address.String()); err != nil || read.Address != address.Address {
			t.Fatalf("%q is written %q", text, address.String())
		}
	})
}

func FuzzLetter(f *testing.F) {
	f.Add("Hello", "X-A", "b", "Ann <a@b.example>", "text")
	f.Add("a\r\nBcc: x@y.example", "X-A: b\r\nBcc", "x@y.example", "a@b.example", "\r\n.\r\nQUIT")
	f.Add("Schöne "+strings.Repeat("Grüße ", 40), "List-Unsubscribe", strings.Repeat("   ", 60)+"x", "=?utf-8?q?=41?= <a@b.example>", "\n.\n")
	f.Add(strings.Repeat("x", 900), "X-Long", strings.Repeat(" ", 74)+strings.Repeat("y", 800)+" z", "a@b.example", "")
	f.Fuzz(func(t *testing.T, subject, name, value, to, text string) {
		payload, err := json.Marshal(springtide.Mail{From: "x@shop.example", To: []string{to}, Subject: subject, Text: text, Headers: map[string]string{name: value}})
		if err != nil {
			t.Skip()
		}
		letter, err := decode(payload)
		if err != nil {
			if springtide.KindOf(err) != springtide.Invalid {
				t.Fatal(err)
			}
			return
		}
		var wire bytes.Buffer
		if _, err := letter.compose("run").WriteTo(&wire); err != nil {
			t.Fatal(err)
		}
		message, err := netmail.ReadMessage(&wire)
		if err != nil {
			t.Fatalf("%s makes what cannot be read: %v", payload, err)
		}
		known := []string{"From", "To", "Subject", "Date", "Message-Id", "Mime-Version", "Content-Type", "Content-Transfer-Encoding", textproto.CanonicalMIMEHeaderKey(name), "X-Mailer", "User-Agent"}
		for header, values := range message.Header {
			if !slices.Contains(known, header) || len(values) != 1 {
				t.Fatalf("%s has the header %s: %q", payload, header, values)
			}
		}
	})
}
