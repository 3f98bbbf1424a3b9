package mail

import (
	"bytes"
	"encoding/json"
	"maps"
	netmail "net/mail"
	"slices"
	"strings"

	gomail "github.com/wneessen/go-mail"
	"golang.org/x/net/http/httpguts"

	"github.com/springtide/springtide"
)

const (
	// mostRecipients is how many a mail has at most: a newsletter is a batch of
	// jobs, one for each recipient.
	mostRecipients = 50
	// headerLimit is how long a header is at most, in bytes (RFC 5322, 2.1.1).
	headerLimit = 998
)

// letter is a mail whose addresses have been read.
type letter struct {
	springtide.Mail
	from, replyTo *netmail.Address // nil: none
	to, cc, bcc   []*netmail.Address
}

// decode reads a mail, and refuses what could never be sent.
func decode(payload json.RawMessage) (*letter, error) {
	var l letter
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&l.Mail); err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "the payload is not a mail: %w", err).
			WithHint(`it is JSON of to, subject, text and the like: {"to":["a@example.com"],"subject":"Hello","text":"Hi"}`)
	}
	if err := l.readAddresses(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(l.Headers)) {
		if err := checkHeader(name, l.Headers[name]); err != nil {
			return nil, err
		}
	}
	if l.Template == "" {
		return &l, l.checkContent()
	}
	if !strings.HasPrefix(l.Template, "/") || strings.HasPrefix(l.Template, "//") {
		return nil, springtide.Errorf(springtide.Invalid, "the template %q is not a path of the app", l.Template)
	}
	if l.Text != "" || l.HTML != "" {
		return nil, springtide.Errorf(springtide.Invalid, "a mail has either a template or text and html of its own")
	}
	return &l, nil
}

func (l *letter) readAddresses() error {
	for _, header := range []struct {
		from []string
		into *[]*netmail.Address
	}{{l.To, &l.to}, {l.CC, &l.cc}, {l.BCC, &l.bcc}} {
		for _, text := range header.from {
			address, err := parseAddress(text)
			if err != nil {
				return err
			}
			*header.into = append(*header.into, address)
		}
	}
	switch count := len(l.to) + len(l.cc) + len(l.bcc); {
	case count == 0:
		return springtide.Errorf(springtide.Invalid, "the mail is to nobody")
	case count > mostRecipients:
		return springtide.Errorf(springtide.Invalid, "the mail is to %d recipients, and %d are the most", count, mostRecipients).
			WithHint("enqueue one job for each of them, as a batch")
	}
	var err error
	if l.From != "" {
		if l.from, err = parseAddress(l.From); err != nil {
			return err
		}
	}
	if l.ReplyTo != "" {
		l.replyTo, err = parseAddress(l.ReplyTo)
	}
	return err
}

// checkContent looks at what a template may have made.
func (l *letter) checkContent() error {
	switch {
	case hasControl(l.Subject) || len(l.Subject) > headerLimit:
		return springtide.Errorf(springtide.Invalid, "the subject has line breaks or the like in it, or is longer than %d bytes", headerLimit)
	case l.Text == "" && l.HTML == "":
		return springtide.Errorf(springtide.Invalid, "the mail has neither text nor html nor a template")
	}
	return nil
}

func checkHeader(name, value string) error {
	lower := strings.ToLower(name)
	switch {
	case !httpguts.ValidHeaderFieldName(name), hasControl(value), len(value) > headerLimit:
		return springtide.Errorf(springtide.Invalid, "the header %q is not one that a mail can have", name)
	case strings.HasPrefix(lower, "content-"), slices.Contains([]string{
		"from", "sender", "to", "cc", "bcc", "reply-to", "subject", "date", "message-id", "mime-version", "return-path", "received",
	}, lower):
		return springtide.Errorf(springtide.Invalid, "the header %q is made from the mail's own fields", name)
	}
	return nil
}

// recipients gives each mailbox once, in order.
func (l *letter) recipients() []string {
	var all []string
	seen := make(map[string]bool)
	for _, address := range slices.Concat(l.to, l.cc, l.bcc) {
		if key := sameAs(address.Address); !seen[key] {
			seen[key] = true
			all = append(all, address.Address)
		}
	}
	return all
}

// messageID is the same for every attempt, so that a receiver can tell that he
// has the mail.
func (l *letter) messageID(run springtide.RunID) string {
	return string(run) + "@" + domainOf(l.from.Address)
}

// compose makes the message. Who gets a blind copy is not in it.
func (l *letter) compose(run springtide.RunID) *gomail.Msg {
	message := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	// Where a header is folded, one space is as good as many.
	single := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for name, value := range l.Headers {
		message.SetGenHeader(gomail.Header(name), single(value))
	}
	message.FromMailAddress(l.from)
	message.ToMailAddress(l.to...)
	if len(l.cc) > 0 {
		message.CcMailAddress(l.cc...)
	}
	if l.replyTo != nil {
		message.ReplyToMailAddress(l.replyTo)
	}
	message.Subject(single(l.Subject))
	message.SetDate()
	message.SetMessageIDWithValue(l.messageID(run))
	if l.Text == "" {
		message.SetBodyString(gomail.TypeTextHTML, l.HTML)
		return message
	}
	message.SetBodyString(gomail.TypeTextPlain, l.Text)
	if l.HTML != "" {
		message.AddAlternativeString(gomail.TypeTextHTML, l.HTML)
	}
	return message
}
