// Command worker stays up and takes runs over HTTP, one at a time.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// work is what there is to do. When held ends the run is not this worker's any
// more, and nothing of it may go on.
var work = func(held context.Context, payload json.RawMessage) (any, error) {
	var letter struct{ Text string }
	err := json.Unmarshal(payload, &letter)
	return object{"words": len(strings.Fields(letter.Text))}, err
}

var (
	api, token, runner = os.Getenv("TIDE_API"), os.Getenv("TIDE_TOKEN"), os.Getenv("TIDE_INSTANCE")
	client             = http.Client{Timeout: 20 * time.Second}
)

type object map[string]any

type hold struct {
	Run   string `json:"run"`
	Fence int64  `json:"fence"`
}

func main() {
	leaving, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	queues := strings.FieldsFunc(os.Getenv("TIDE_QUEUES"), func(r rune) bool { return r == ',' })
	for leaving.Err() == nil {
		var leased struct {
			Runs []struct {
				hold
				Payload json.RawMessage
			}
			Drain bool
			Beat  float64 `json:"beat_seconds"`
		}
		// It is not cut short by the end: the answer may hold a run.
		if err := post("leases", object{"runner": runner, "queues": queues, "wait_seconds": 10, "started": true}, &leased); err != nil {
			log.Print(err)
			time.Sleep(time.Second)
		}
		for _, run := range leased.Runs {
			carryOut(run.hold, run.Payload, time.Duration(leased.Beat*float64(time.Second)))
		}
		if leased.Drain { // another release has taken over
			return
		}
	}
}

func carryOut(run hold, payload json.RawMessage, beat time.Duration) {
	held, lose := context.WithCancel(context.Background())
	silent := time.AfterFunc(2*beat, lose)
	ended := make(chan object, 1)
	go func() {
		if result, err := work(held, payload); err != nil {
			ended <- object{"run": run.Run, "fence": run.Fence, "verdict": "failed", "reason": err.Error()}
		} else {
			ended <- object{"run": run.Run, "fence": run.Fence, "verdict": "succeeded", "result": result}
		}
	}()
	for {
		select {
		case end := <-ended:
			for try := 0; try < 30 && post("leases/complete", object{"runs": []object{end}}, &object{}) != nil; try++ {
				time.Sleep(time.Second) // after 30 s the lease is over
			}
			return
		case <-time.After(beat):
			var standing struct{ Runs []struct{ Held, Cancel bool } }
			sent := time.Now()
			if err := post("leases/heartbeat", object{"runner": runner, "runs": []hold{run}}, &standing); err != nil {
				log.Print(err)
			} else if silent.Reset(2*beat - time.Since(sent)); !standing.Runs[0].Held || standing.Runs[0].Cancel {
				lose()
			}
		}
	}
}

func post(path string, body, answer any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPost, api+"/"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, response.Status)
	}
	return json.NewDecoder(response.Body).Decode(answer)
}
