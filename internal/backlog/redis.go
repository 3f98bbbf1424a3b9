package backlog

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// redis counts what is in lists. There is no library behind it: three commands,
// each of whose replies is a line, against 2.4 MB of a client.
func (r *Reader) redis(ctx context.Context) (Depth, error) {
	location, err := r.url()
	if err != nil {
		return Depth{}, err
	}
	server, err := parseRedis(location)
	if err != nil {
		return Depth{}, err
	}
	conn, err := r.connect(ctx, server)
	if err != nil {
		return Depth{}, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	commands, waiting := r.commands()
	replies, err := exchange(conn, append(server.greeting, commands...))
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer in time: %w", ctx.Err())
		}
		return Depth{}, err
	}
	var depth Depth
	for i, count := range replies[len(server.greeting):] {
		if i < waiting {
			depth.Waiting += count
		} else {
			depth.UnderWay += count
		}
	}
	return depth, nil
}

// commands count; the first of them what waits.
func (r *Reader) commands() (all [][]string, waiting int) {
	if r.queue.Kind == springtide.OutsideCelery {
		for _, queue := range r.queue.Names {
			for _, list := range celeryLists(r.queue.Prefix, queue) {
				all = append(all, []string{"LLEN", list})
			}
		}
		return append(all, []string{"HLEN", r.queue.Prefix + "unacked"}), len(all)
	}
	for _, list := range r.queue.Names {
		all = append(all, []string{"LLEN", list})
	}
	waiting = len(all)
	if r.queue.Processing != "" {
		all = append(all, []string{"LLEN", r.queue.Processing})
	}
	return all, waiting
}

// celeryLists are those of a queue: what has the first of the four priorities is in
// the list of the queue's name, the rest in lists of their own. That is how Kombu,
// by which Celery speaks to Redis, keeps them unless it is told otherwise.
func celeryLists(prefix, queue string) []string {
	lists := []string{prefix + queue}
	for _, priority := range []string{"3", "6", "9"} {
		lists = append(lists, prefix+queue+"\x06\x16"+priority)
	}
	return lists
}

// redisServer is where lists are.
type redisServer struct {
	address string
	tls     bool
	// unverified says that it may have any certificate.
	unverified bool
	// greeting are the commands that come first.
	greeting [][]string
}

// parseRedis reads redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], or rediss://,
// with what Celery and redis-py may have behind it: ?db=3, ?ssl_cert_reqs=none.
func parseRedis(location string) (redisServer, error) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" {
		return redisServer{}, errors.New("its URL is not like redis://user:password@host:6379/0") // without what was given: a password may be in it
	}
	server := redisServer{address: u.Host, tls: u.Scheme == "rediss"}
	if u.Port() == "" {
		server.address = net.JoinHostPort(u.Hostname(), "6379")
	}
	if password, has := u.User.Password(); has {
		auth := []string{"AUTH"}
		if name := u.User.Username(); name != "" {
			auth = append(auth, name)
		}
		server.greeting = append(server.greeting, append(auth, password))
	}
	server.unverified = slices.Contains([]string{"none", "CERT_NONE"}, u.Query().Get("ssl_cert_reqs"))
	if database := cmp.Or(u.Query().Get("db"), strings.Trim(u.Path, "/")); database != "" {
		if _, err := strconv.ParseUint(database, 10, 31); err != nil {
			return redisServer{}, errors.New("its URL ends with what is no number of a database")
		}
		server.greeting = append(server.greeting, []string{"SELECT", database})
	}
	return server, nil
}

func (r *Reader) connect(ctx context.Context, server redisServer) (net.Conn, error) {
	conn, err := r.dial(ctx, "tcp", server.address)
	if err != nil || !server.tls {
		return conn, err
	}
	host, _, err := net.SplitHostPort(server.address)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	secured := tls.Client(conn, &tls.Config{
		ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: r.roots,
		InsecureSkipVerify: server.unverified, //nolint:gosec // only where the app itself is told so, by the same URL
	})
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return secured, nil
}

// exchange sends all commands at once, and reads a line for each: a count, or 0 for
// what is none.
func exchange(conn net.Conn, commands [][]string) ([]int, error) {
	var sent strings.Builder
	for _, words := range commands {
		fmt.Fprintf(&sent, "*%d\r\n", len(words))
		for _, word := range words {
			fmt.Fprintf(&sent, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	if _, err := conn.Write([]byte(sent.String())); err != nil {
		return nil, err
	}
	reader := bufio.NewReader(conn)
	counts := make([]int, len(commands))
	for i, words := range commands {
		count, err := readCount(reader)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", words[0], err)
		}
		counts[i] = count
	}
	return counts, nil
}

// readCount reads a reply of one line (RESP2).
func readCount(reader *bufio.Reader) (int, error) {
	slice, err := reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	line := strings.TrimRight(string(slice), "\r\n")
	switch {
	case strings.HasPrefix(line, ":"):
		count, err := strconv.ParseUint(line[1:], 10, 31)
		if err != nil {
			return 0, fmt.Errorf("%.60q is no count", line)
		}
		return int(count), nil
	case strings.HasPrefix(line, "+"):
		return 0, nil
	case strings.HasPrefix(line, "-"):
		return 0, errors.New(line[1:])
	}
	return 0, fmt.Errorf("this is no Redis: it says %.60q", line)
}
