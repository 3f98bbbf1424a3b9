package enginetest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// modeVariable has the test binary behave as the app under test.
const modeVariable = "ENGINETEST_APP"

// Main turns the test binary into the app under test if it is started as one;
// then it does not return. TestMain calls it first.
func Main() {
	if mode := os.Getenv(modeVariable); mode != "" {
		app(mode)
	}
}

// app is a small server that does what its mode and its paths say.
func app(mode string) {
	var terminated, failing atomic.Bool
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	go func() {
		for range signals {
			terminated.Store(true)
			fmt.Println("got SIGTERM")
			if mode != "stubborn" {
				os.Exit(0)
			}
		}
	}()
	if mode != "broken" {
		fmt.Println("begins in mode", mode)
	}
	address := net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))
	switch mode {
	case "mute":
		select {}
	case "elsewhere":
		port, _ := strconv.Atoi(os.Getenv("PORT"))
		address = net.JoinHostPort(os.Getenv("HOST"), strconv.Itoa(port+1))
	case "broken":
		for i := range 30 {
			fmt.Fprintf(os.Stderr, "complaint %d\n", i)
		}
		os.Exit(3)
	}
	http.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/fail", func(http.ResponseWriter, *http.Request) { failing.Store(true) })
	http.HandleFunc("/mend", func(http.ResponseWriter, *http.Request) { failing.Store(false) })
	http.HandleFunc("/terminated", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, terminated.Load()) })
	http.HandleFunc("/env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.FormValue("name"))) })
	http.HandleFunc("/say", func(_ http.ResponseWriter, r *http.Request) { fmt.Println(r.FormValue("text")) })
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) {
		fmt.Println("the last words")
		os.Exit(7)
	})
	server := &http.Server{Addr: address, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}
