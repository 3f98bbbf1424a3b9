package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/springtide/springtide"
	"github.com/springtide/springtide/internal/socket"
)

// quiz is the app of the demo.
const quiz springtide.AppName = "quiz"

// platform is the real binary, serving in a data folder.
type platform struct {
	tide, data  string
	https, http string
	serve       *exec.Cmd
	output      *tail
	exited      chan struct{}
	api         *http.Client
}

// startPlatform starts `tide serve` and waits until its API answers.
func startPlatform(ctx context.Context, o options, data string) (*platform, error) {
	for _, address := range []string{o.https, o.http} {
		if err := mustBeFree(address); err != nil {
			return nil, err
		}
	}
	if running := processesOf(data); len(running) > 0 {
		return nil, fmt.Errorf("%s is in use by processes %v; choose another folder with -data", data, running)
	}
	p := &platform{tide: o.tide, data: data, https: o.https, http: o.http, output: &tail{}, exited: make(chan struct{})}
	p.api = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return socket.Dial(ctx, filepath.Join(data, "run", "api.sock"))
		},
	}}
	p.serve = exec.Command(o.tide, "serve", "--data", data, "--https", o.https, "--http", o.http)
	p.serve.Stdout, p.serve.Stderr = p.output, p.output
	// Ctrl-C is for the demo, which then stops the platform in good order.
	p.serve.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.serve.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.serve.Wait()
		close(p.exited)
	}()
	return p, p.await(ctx, time.Minute, "the platform to answer", func() error {
		_, err := p.status(ctx)
		return err
	})
}

func mustBeFree(address string) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("%s is not free: %w; choose others with -https and -http", address, err)
	}
	return listener.Close()
}

// await tries until there is no error any more.
func (p *platform) await(ctx context.Context, limit time.Duration, what string, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("tide serve ended:\n%s", p.output)
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w\n%s", limit, what, err, p.output)
		case <-ticker.C:
		}
	}
}

// run runs one command of the CLI.
func (p *platform) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.tide, append(args, "--data", p.data, "--json")...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("tide %s: %w\n%s%s", strings.Join(args, " "), err, lastLines(stdout.String(), 20), stderr.String())
	}
	return stdout.Bytes(), nil
}

// processes are the IDs of the platform's own processes.
type processes struct {
	Supervisor int `json:"supervisor"`
	Control    int `json:"control"`
}

func (p *platform) status(ctx context.Context) (processes, error) {
	out, err := p.run(ctx, "status")
	if err != nil {
		return processes{}, err
	}
	var status struct {
		Processes processes `json:"processes"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return processes{}, fmt.Errorf("tide status: %w", err)
	}
	if status.Processes.Control == 0 {
		return processes{}, errors.New("tide status names no control plane")
	}
	return status.Processes, nil
}

// instances asks the API itself, which costs no process for each question.
func (p *platform) instances(ctx context.Context) ([]springtide.Instance, error) {
	path := "/v1/apps/" + string(quiz) + "/environments/" + string(springtide.Production) + "/instances"
	answer, err := p.call(ctx, http.MethodGet, path)
	if err != nil {
		return nil, err
	}
	var instances []springtide.Instance
	if err := json.Unmarshal(answer, &instances); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return instances, nil
}

func (p *platform) call(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://tide"+path, nil)
	if err != nil {
		return nil, err
	}
	answer, err := p.api.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= 300 {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, body)
	}
	return body, nil
}

// authority is what a client has to trust.
func (p *platform) authority() (*x509.CertPool, error) {
	certificate, err := os.ReadFile(filepath.Join(p.data, "ca", "ca.crt"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(certificate) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	return pool, nil
}

// stop lets go of every instance and ends the platform.
func (p *platform) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p.api.Timeout = 0
	_, drained := p.call(ctx, http.MethodPost, "/v1/platform/drain")
	ended := p.serve.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-ctx.Done():
		ended = errors.New("tide serve does not end")
		_ = p.serve.Process.Kill()
	}
	return errors.Join(drained, ended)
}
