package edge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/message"
)

const (
	// sessionPatience is how long a request waits for its session's instance while
	// that has no free slot; then the session moves.
	sessionPatience = 2 * time.Second
	// sessionToken is how much of the code names an instance, in bytes.
	sessionToken = 16
)

// tokenOf gives what names an instance in cookies: a code that nobody can make
// without the key, and that tells nothing of the instance.
func tokenOf(key []byte, id springtide.InstanceID) string {
	code := hmac.New(sha256.New, key)
	code.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(code.Sum(nil)[:sessionToken])
}

// cookie gives the value of a request's cookie; empty if there is none.
func cookie(fields message.Fields, name string) string {
	for line := range fields.All("Cookie") {
		for pair := range strings.SplitSeq(line, ";") {
			if key, value, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && key == name {
				return value
			}
		}
	}
	return ""
}

// remember has the client told which instance answers it, unless it knows.
func (x *exchange) remember(sticky *springtide.Sticky, l *lease) {
	x.cookie = ""
	token := l.token
	if sticky == nil || token == "" || token == x.ticket.session && sticky.For == 0 {
		return
	}
	x.cookie = sticky.Cookie + "=" + token + "; Path=/; HttpOnly; SameSite=Lax"
	if x.request.Scheme == "https" {
		x.cookie += "; Secure"
	}
	if sticky.For > 0 {
		x.cookie += "; Max-Age=" + strconv.FormatInt(int64(sticky.For/time.Second), 10)
	}
}

// withCookie gives the fields of an answer with the session's cookie, unless the
// answer is for everybody: whoever keeps it would give one client's to all.
func (x *exchange) withCookie(fields message.Fields) message.Fields {
	if x.cookie == "" {
		return fields
	}
	for control := range fields.All("Cache-Control") {
		for directive := range strings.SplitSeq(control, ",") {
			name, _, _ := strings.Cut(strings.Trim(directive, " \t"), "=")
			if strings.EqualFold(name, "public") || strings.EqualFold(name, "s-maxage") {
				return fields
			}
		}
	}
	return append(slices.Clip(fields), message.Field{Name: "Set-Cookie", Value: x.cookie})
}
