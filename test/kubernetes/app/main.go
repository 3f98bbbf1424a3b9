// Command app is what runs in the pods of the tests: it answers with its version
// and the name of its pod, once it has read all of the request, and ends at once on
// SIGTERM. At /client it answers with the client's address. At /work a request takes 2 ms of
// a processor and 50 ms of waiting, as for a database, and two are served at a time. The
// pod that /stuck?on= names says so and never answers; others do.
package main

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	host, _ := os.Hostname() // an app that does not know its name serves all the same
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // who breaks off gets no answer anyway
		fmt.Fprintf(w, "%s on %s\n", os.Getenv("VERSION"), host)
	})
	http.HandleFunc("/client", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header.Get("X-Forwarded-For"))
	})
	places := make(chan struct{}, 2)
	http.HandleFunc("/work", func(http.ResponseWriter, *http.Request) {
		places <- struct{}{}
		defer func() { <-places }()
		compute(2 * time.Millisecond)
		time.Sleep(50 * time.Millisecond)
	})
	http.HandleFunc("/stuck", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("on") == host {
			fmt.Println(r.Method, "is stuck")
			<-r.Context().Done()
		}
		fmt.Fprintf(w, "not stuck on %s\n", host)
	})
	server := &http.Server{Addr: ":" + cmp.Or(os.Getenv("PORT"), "8080"), ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// compute uses so much of a processor, however long that takes.
func compute(d time.Duration) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var block [1 << 10]byte
	for end := used() + d; used() < end; {
		sum := sha256.Sum256(block[:])
		copy(block[:], sum[:])
	}
}

// used is the processor time of this thread.
func used() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now) // every Linux has it
	return time.Duration(now.Nano())
}
