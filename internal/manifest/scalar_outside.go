package manifest

import (
	"fmt"
	"net/url"
	"strings"
)

// queueKey is a key, or the beginning of one, in Redis.
type queueKey string

const longestKey = 512

func (v *queueKey) parse(n *node) error {
	if n.kind != text || n.text == "" || len(n.text) > longestKey || strings.ContainsAny(n.text, "\x00\r\n") {
		return fmt.Errorf("want a key of Redis, one line of at most %d bytes, got %s", longestKey, n.shown())
	}
	*v = queueKey(n.text)
	return nil
}

func (v *queueKey) write() (string, bool) { return string(*v), false }

// queuePlace is a URL, or the name of the variable that has it.
type queuePlace string

func (v *queuePlace) parse(n *node) error {
	if !strings.Contains(n.text, "://") {
		if n.kind != text || new(variable).parse(n) != nil {
			return fmt.Errorf("want a URL, or the name of a variable of the app that has it, got %s", n.shown())
		}
		*v = queuePlace(n.text)
		return nil
	}
	parsed, err := url.Parse(n.text)
	if err != nil || parsed.Hostname() == "" || len(n.text) > 2000 {
		return fmt.Errorf("want a URL like redis://host:6379/0, got %s", n.shown())
	}
	if _, has := parsed.User.Password(); has {
		return fmt.Errorf("holds a password; make the whole URL a secret, `tide secrets set QUEUE_URL`, and write QUEUE_URL here")
	}
	*v = queuePlace(n.text)
	return nil
}

func (v *queuePlace) write() (string, bool) { return string(*v), false }

// scheme is that of a URL; empty for a variable.
func (v queuePlace) scheme() string {
	scheme, _, is := strings.Cut(string(v), "://")
	if !is {
		return ""
	}
	return scheme
}

// jsonPointer says where something is in a JSON document (RFC 6901).
type jsonPointer string

func (v *jsonPointer) parse(n *node) error {
	if n.kind != text || !strings.HasPrefix(n.text, "/") || len(n.text) > longestKey {
		return fmt.Errorf("want a JSON pointer like /queues/0/messages, got %s", n.shown())
	}
	*v = jsonPointer(n.text)
	return nil
}

func (v *jsonPointer) write() (string, bool) { return string(*v), false }
