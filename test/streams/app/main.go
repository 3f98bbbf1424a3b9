// App is what the stories of streams deploy: a radio, and a server of WebSockets.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/coder/websocket"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	address := net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))
	switch {
	case len(args) != 1:
		return errors.New("radio, on-air or sockets is wanted")
	case args[0] == "radio":
		return radio(os.Getenv("HOST"), os.Getenv("PORT"))
	case args[0] == "on-air":
		return onAir(address)
	default:
		server := &http.Server{Addr: address, Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 10 * time.Second}
		return server.ListenAndServe()
	}
}

// echo sends back what it is sent, for as long as the client stays. At /events it
// says something at the beginning, and again an hour later.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/events" {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: hello\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
		case <-time.After(time.Hour):
			_, _ = io.WriteString(w, "data: still there\n\n")
		}
		return
	}
	if r.Header.Get("Upgrade") == "" {
		return // the probe
	}
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // the client was told
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		kind, message, err := conn.Read(context.Background())
		if err != nil {
			return
		}
		if err := conn.Write(context.Background(), kind, message); err != nil {
			return
		}
	}
}
