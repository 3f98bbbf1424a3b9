package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"time"
)

// startAlone measures how long the app takes without a platform, from the start
// of its process until it says that it is healthy.
func startAlone(ctx context.Context, binary string) (time.Duration, error) {
	address, err := freeAddress(ctx)
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	command := exec.CommandContext(ctx, binary)
	command.Env = append(os.Environ(), "PORT="+port, "HOST=127.0.0.1", "GOMEMLIMIT=200MiB")
	began := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	defer func() { _ = command.Wait() }() // it is killed
	for !healthy(ctx, "http://"+address+"/healthz") {
		if ctx.Err() != nil || time.Since(began) > 10*time.Second {
			return 0, errors.Join(errors.New("the app does not become healthy by itself"), ctx.Err(), command.Process.Kill())
		}
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	return took, command.Process.Kill()
}

func freeAddress(ctx context.Context) (string, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer listener.Close()
	return listener.Addr().String(), nil
}

func healthy(ctx context.Context, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}
