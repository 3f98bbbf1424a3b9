package mail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/textproto"
	"regexp"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"github.com/springtide/springtide"
)

// busy is how a server asks to be left alone.
const busy = 421

// deliver speaks SMTP. It sends to those that the server takes, whatever it says
// of the others; the library's own sending would give up on all of them.
func (s *Sender) deliver(ctx context.Context, run springtide.Run, letter *letter, to server, left []string, report *report) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, err := s.connect(ctx, to)
	if err != nil {
		s.fail(run, to, report, "does not let us in", err)
		return
	}
	if err := client.Mail("<" + letter.from.Address + ">"); err != nil {
		report.final = codeOf(err) >= 550
		s.fail(run, to, report, "takes no mail from "+letter.from.Address, err)
		return
	}
	taken, open := s.offer(run, client, left, report)
	if !open || len(taken) == 0 {
		for _, address := range taken {
			report.Deferred = append(report.Deferred, Refusal{address, "the server closed the connection"})
		}
		return
	}
	if err := write(client, letter.compose(run.ID)); err != nil {
		report.final = codeOf(err) >= 500
		s.fail(run, to, report, "does not take the mail", err)
		return
	}
	report.Accepted = append(report.Accepted, taken...)
	_ = client.Quit() // it has the mail, whatever it says now
}

// offer names the recipients, and gives those who are taken. The connection is
// not open any more if the server was busy with one, or was lost.
func (s *Sender) offer(run springtide.Run, client *smtp.Client, left []string, report *report) (taken []string, open bool) {
	for n, address := range left {
		err := client.Rcpt("<" + address + ">")
		if err == nil {
			taken = append(taken, address)
			continue
		}
		code, refusal := codeOf(err), Refusal{address, shortened(err.Error())}
		if code >= 500 {
			report.Bounced = append(report.Bounced, refusal)
			if gone(err) {
				s.suppressBounced(run.Environment, refusal)
			}
			continue
		}
		report.Deferred = append(report.Deferred, refusal)
		report.refused = true
		if code == busy {
			report.busy = true
			s.hold(run.Environment, domainOf(address))
		}
		if code == busy || code == 0 {
			for _, address := range left[n+1:] {
				report.Deferred = append(report.Deferred, Refusal{address, "the server closed the connection"})
			}
			return taken, false
		}
	}
	return taken, true
}

// fail reports that nobody could be sent to.
func (s *Sender) fail(run springtide.Run, to server, report *report, what string, err error) {
	if codeOf(err) == busy {
		report.busy = true
		s.hold(run.Environment, "")
	}
	report.failure = fmt.Errorf("%s:%s %s: %s", to.host, to.port, what, shortened(err.Error()))
}

func write(client *smtp.Client, message io.WriterTo) error {
	writer, err := client.Data()
	if err != nil {
		return err
	}
	if _, err := message.WriteTo(writer); err != nil {
		return err // it is not closed: half a mail would be sent
	}
	return writer.Close()
}

// codeOf is the code of a server's reply; 0: it gave none.
func codeOf(err error) int {
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return reply.Code
	}
	return 0
}

// gone reports whether a reply says that there is no such mailbox, and not that
// the server dislikes the mail, its sender or us. With an enhanced code (RFC
// 3463) that is 5.1.x, 5.2.1 or 5.4.4; without one, 550, 551 and 553 are believed.
func gone(err error) bool {
	reply, ok := errors.AsType[*textproto.Error](err)
	if !ok {
		return false
	}
	if enhanced := regexp.MustCompile(`^5\.\d{1,3}\.\d{1,3}\b`).FindString(reply.Msg); enhanced != "" {
		// 5.1.7 and 5.1.8 are about the sender.
		about := strings.HasPrefix(enhanced, "5.1.") && enhanced != "5.1.7" && enhanced != "5.1.8"
		return about || enhanced == "5.2.1" || enhanced == "5.4.4"
	}
	return reply.Code == 550 || reply.Code == 551 || reply.Code == 553
}

// shortened is as much of a server's words as a row should have.
func shortened(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }), " ")
	return strings.ToValidUTF8(text[:min(len(text), 300)], "")
}
