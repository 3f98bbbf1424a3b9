// Package hpa asks the horizontal pod autoscaler of kube-controller-manager, the
// whole controller, with the time it is told.
//
// It reads a line every five seconds: the second, instances that are ready,
// instances that are coming, mean requests in flight, requests that arrived. It
// answers each with the number of instances that are wanted.
package hpa

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

const every = 5 * time.Second

var slots = flag.Float64("slots", 10, "requests an instance serves at a time")

// TestAnswers is no test: fake time is given to tests only.
func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if err := answer(t.Context(), *slots); err != nil {
			t.Error(err)
		}
	})
}

// read gives what stands in a line.
func read(line string) (instances int, inFlight float64, err error) {
	var second, ready, coming int
	var arrived float64
	_, err = fmt.Sscan(line, &second, &ready, &coming, &inFlight, &arrived)
	return ready + coming, inFlight, err
}

func converse(next func(instances int, inFlight float64) int) error {
	in, out := bufio.NewScanner(os.Stdin), bufio.NewWriter(os.Stdout)
	for in.Scan() {
		instances, inFlight, err := read(in.Text())
		if err != nil {
			return err
		}
		if _, err := out.WriteString(strconv.Itoa(next(instances, inFlight)) + "\n"); err != nil {
			return err
		}
		if err := out.Flush(); err != nil {
			return err
		}
	}
	return in.Err()
}
