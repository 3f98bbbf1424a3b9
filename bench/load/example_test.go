package load_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/springtide/springtide/bench/load"
)

func ExampleRun() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "hello")
	}))
	defer server.Close()

	result, err := load.Run(context.Background(), load.Options{
		Target:   server.URL,
		Schedule: load.Schedule{load.Steady(50, 100*time.Millisecond), load.Ramp(50, 150, 100*time.Millisecond)},
		Mix:      []load.Kind{{Name: "page", Weight: 1, Path: "/"}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Requests, "requests,", result.Failed, "failed")
	// Output: 15 requests, 0 failed
}
