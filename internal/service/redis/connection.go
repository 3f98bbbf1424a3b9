package redis

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/service"
	"github.com/springtide/springtide/internal/socket"
)

// connection is one of the platform's to a server, by its socket. There is no
// library behind it: a backup takes the data as a replica does, which none can.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

// with connects, and has the function talk to the server until ctx is over.
func with(ctx context.Context, server service.Server, talk func(*connection) error) error {
	key, err := os.ReadFile(filepath.Join(server.Folder, keyFile))
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "service %s has not been made: %w", server.ID, err)
	}
	conn, err := socket.Dial(ctx, filepath.Join(server.Folder, "run", "redis.sock"))
	if err != nil {
		return springtide.Errorf(springtide.Unavailable, "redis of service %s: %w", server.ID, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	c := &connection{Conn: conn, reader: bufio.NewReaderSize(conn, 64<<10)}
	if _, err = c.do("AUTH", platformUser, string(key)); err == nil {
		err = talk(c)
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = errors.Join(ctx.Err(), err)
	}
	if _, ours := errors.AsType[*springtide.Error](err); ours {
		return err
	}
	return springtide.Errorf(springtide.Unavailable, "redis of service %s: %w", server.ID, err)
}

// do sends a command and gives the reply; one that says that it failed is an
// error of type replyError.
func (c *connection) do(words ...string) (any, error) {
	sent := c.send(words...)
	reply, err := readReply(c.reader, 0) // a server that turns us away has said so before we came to speak
	if err != nil {
		return nil, fmt.Errorf("%s: %w", words[0], errors.Join(sent, err))
	}
	if failed, ok := reply.(replyError); ok {
		return nil, fmt.Errorf("%s: %w", words[0], failed)
	}
	return reply, nil
}

func (c *connection) send(words ...string) error {
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	_, err := c.Write([]byte(command.String()))
	return err
}

// info gives what the server tells of itself, by name.
func (c *connection) info(sections ...string) (map[string]string, error) {
	reply, err := c.do(append([]string{"INFO"}, sections...)...)
	if err != nil {
		return nil, err
	}
	text, _ := reply.(string)
	return parseInfo(text), nil
}

func parseInfo(text string) map[string]string {
	facts := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok && !strings.HasPrefix(name, "#") {
			facts[name] = value
		}
	}
	return facts
}
