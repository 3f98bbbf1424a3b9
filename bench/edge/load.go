package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// loadCore is the processor of the origin and of what makes the load, and
// subjectCore that of the subject.
const (
	loadCore    = 0
	subjectCore = 1
)

// loaded is what those who made the load saw.
type loaded struct {
	requests int
	elapsed  time.Duration
	p50, p99 time.Duration // 0: not known
}

// drive loads an address as the case wants it.
func drive(ctx context.Context, c aCase, address string, length time.Duration) (loaded, error) {
	switch {
	case c.steady:
		return steady(ctx, address, c.path, length)
	case c.http2:
		return runH2load(ctx, "https://"+address+c.path, length)
	case c.secure:
		return runWrk(ctx, "https://"+address+c.path, length)
	}
	return runWrk(ctx, "http://"+address+c.path, length)
}

func bound(ctx context.Context, program string, args ...string) (string, error) {
	output, err := exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(loadCore), program}, args...)...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", program, err, output)
	}
	return string(output), nil
}

// number gives what the pattern's group matches.
func number(text, pattern string) (float64, error) {
	match := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("there is no %q in %s", pattern, text)
	}
	return strconv.ParseFloat(match[1], 64)
}

func runWrk(ctx context.Context, url string, length time.Duration) (l loaded, err error) {
	output, err := bound(ctx, "wrk", "-t1", "-c64", "-d"+length.String(), "--latency", "-H", "Host: bench.example.com", url)
	if err != nil {
		return l, err
	}
	if strings.Contains(output, "Non-2xx") || strings.Contains(output, "Socket errors") {
		return l, fmt.Errorf("answers were wrong: %s", output)
	}
	match := regexp.MustCompile(`(\d+) requests in ([0-9.]+m?s)`).FindStringSubmatch(output)
	if match == nil {
		return l, fmt.Errorf("wrk said %s", output)
	}
	l.requests, _ = strconv.Atoi(match[1])
	if l.elapsed, err = time.ParseDuration(match[2]); err != nil {
		return l, err
	}
	for share, value := range map[string]*time.Duration{"50%": &l.p50, "99%": &l.p99} {
		match := regexp.MustCompile(share + `\s+([0-9.]+[mu]?s)`).FindStringSubmatch(output)
		if match == nil {
			return l, fmt.Errorf("wrk said %s", output)
		}
		if *value, err = time.ParseDuration(match[1]); err != nil {
			return l, err
		}
	}
	return l, nil
}

func runH2load(ctx context.Context, url string, length time.Duration) (l loaded, err error) {
	seconds := strconv.Itoa(max(1, int(length.Seconds())))
	output, err := bound(ctx, "h2load", "-t1", "-c8", "-m16", "-D"+seconds, url)
	if err != nil {
		return l, err
	}
	for _, wanted := range []string{"Application protocol: h2", "TLS Protocol: TLSv1.3", "Cipher: " + cipher, " 0 failed, 0 errored, 0 timeout"} {
		if !strings.Contains(output, wanted) {
			return l, fmt.Errorf("h2load does not say %q: %s", wanted, output)
		}
	}
	if strings.Contains(output, " 0 2xx") || !strings.Contains(output, ", 0 3xx, 0 4xx, 0 5xx") {
		return l, fmt.Errorf("answers were wrong: %s", output)
	}
	requests, err := number(output, `status codes: (\d+) 2xx`)
	if err != nil {
		return l, err
	}
	l.requests, l.elapsed = int(requests), time.Duration(max(1, int(length.Seconds())))*time.Second
	return l, nil
}

// steady sends 1,000 requests a second over 64 connections, evenly spaced. A
// latency is counted from the moment a request was due.
func steady(ctx context.Context, address, path string, length time.Duration) (loaded, error) {
	const connections, every = 64, time.Millisecond
	ctx, cancel := context.WithTimeout(ctx, length+10*time.Second)
	defer cancel()
	request := []byte("GET " + path + " HTTP/1.1\r\nHost: bench.example.com\r\n\r\n")
	var mu sync.Mutex
	var latencies []time.Duration
	var failure error
	var all sync.WaitGroup
	begin := time.Now().Add(50 * time.Millisecond)
	for i := range connections {
		all.Go(func() {
			mine, err := one(ctx, address, request, begin.Add(time.Duration(i)*every), connections*every, begin.Add(length))
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, mine...)
			if failure == nil {
				failure = err
			}
		})
	}
	all.Wait()
	if failure != nil {
		return loaded{}, failure
	}
	slices.Sort(latencies)
	return loaded{
		requests: len(latencies), elapsed: length,
		p50: latencies[len(latencies)/2], p99: latencies[len(latencies)*99/100],
	}, nil
}

// one sends its share of them over one connection.
func one(ctx context.Context, address string, request []byte, due time.Time, every time.Duration, end time.Time) (latencies []time.Duration, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(end.Add(5 * time.Second))
	answers := bufio.NewReader(conn)
	for ; due.Before(end); due = due.Add(every) {
		time.Sleep(time.Until(due))
		if _, err := conn.Write(request); err != nil {
			return nil, err
		}
		if err := skipAnswer(answers); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(due))
	}
	return latencies, nil
}

// skipAnswer reads an answer of status 200 that has a length.
func skipAnswer(r *bufio.Reader) error {
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		if first && !strings.HasPrefix(line, "HTTP/1.1 200 ") {
			return fmt.Errorf("the answer is %s", line)
		}
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Content-Length") {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
		if line != "" {
			continue
		}
		if length < 0 {
			return fmt.Errorf("the answer has no length")
		}
		_, err = io.CopyN(io.Discard, r, int64(length))
		return err
	}
}
