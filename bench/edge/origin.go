package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

// body gives the body that a path has: its name is its length in KiB.
func body(path string) []byte {
	size, err := strconv.Atoi(path[1:])
	if err != nil || size < 1 || size > 1024 {
		return nil
	}
	block := sha256.Sum256([]byte(path))
	return bytes.Repeat(block[:], size<<10/len(block))
}

// serveOrigin is the origin of all subjects: it keeps connections alive, and
// answers each request with one write. /count tells how many it has answered.
func serveOrigin(listener net.Listener) error {
	answers := map[string][]byte{}
	for path, freshness := range map[string]string{"/1": "no-store", "/100": "no-store", "/10": "max-age=3600"} {
		content := body(path)
		answers[path] = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\nCache-Control: %s\r\n\r\n%s",
			time.Now().UTC().Format(http.TimeFormat), len(content), freshness, content)
	}
	var count atomic.Int64
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			requests := bufio.NewReader(conn)
			for {
				path, err := readRequest(requests)
				if err != nil {
					return
				}
				answer := answers[path]
				if path == "/count" {
					text := strconv.FormatInt(count.Load(), 10)
					answer = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nCache-Control: no-store\r\n\r\n%s", len(text), text)
				} else {
					count.Add(1)
				}
				if answer == nil {
					answer = []byte("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
				}
				if _, err := conn.Write(answer); err != nil {
					return
				}
			}
		}()
	}
}

// readRequest reads the head of a request that has no body, and gives its path.
func readRequest(r *bufio.Reader) (path string, err error) {
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			if path == "" {
				return "", io.ErrUnexpectedEOF
			}
			return path, nil
		}
		if first {
			words := bytes.Fields(line)
			if len(words) != 3 {
				return "", io.ErrUnexpectedEOF
			}
			path = string(words[1])
		}
	}
}

// serveReverseProxy is the peer that anybody writes in ten lines of Go.
func serveReverseProxy(plain, secure net.Listener, chain, key, origin string) error {
	target, err := url.Parse("http://" + origin)
	if err != nil {
		return err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
	server := &http.Server{Handler: proxy, ReadHeaderTimeout: time.Minute}
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(plain) }()
	go func() { ended <- server.ServeTLS(secure, chain, key) }()
	return <-ended
}
