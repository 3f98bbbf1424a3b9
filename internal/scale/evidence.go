package scale

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"io"
	"slices"
	"time"

	"github.com/springtide/springtide"
)

// Evidence is all that a decision was made of. From it the law decides the same
// again, as long as it is the same law.
type Evidence struct {
	Now  time.Time `json:"now"`
	Spec Spec      `json:"spec"`
	// Observation and History are those of a group with requests, Work and WorkHistory
	// those of workers.
	Observation *Observation     `json:"observation,omitempty"`
	History     *History         `json:"history,omitempty"`
	Work        *WorkObservation `json:"work,omitempty"`
	WorkHistory *WorkHistory     `json:"work_history,omitempty"`
}

// largestEvidence bounds what is unpacked, in bytes.
const largestEvidence = 16 << 20

// Decide decides as it was decided then.
func (e Evidence) Decide() Verdict {
	if e.Work != nil && e.WorkHistory != nil && e.Spec.Worker != nil {
		return DecideWork(e.Now, e.Spec, *e.Work, *e.WorkHistory)
	}
	o, h := Observation{}, History{}
	if e.Observation != nil {
		o = *e.Observation
	}
	if e.History != nil {
		h = *e.History
	}
	return Decide(e.Now, e.Spec, o, h)
}

// settled gives evidence that shares nothing with whoever gathered it and whose
// times are of one clock: the law goes by what lies between now and a time, and the
// clock on the wall may have been set in between.
func (e Evidence) settled() Evidence {
	now := e.Now.Round(0)
	settle := func(times ...*time.Time) {
		for _, t := range times {
			if !t.IsZero() {
				*t = now.Add(t.Sub(e.Now))
			}
		}
	}
	instances := func(all []springtide.Instance) []springtide.Instance {
		own := make([]springtide.Instance, len(all))
		for i, one := range all { // of which no law knows the output
			own[i] = springtide.Instance{
				ID: one.ID, State: one.State, CrashLoop: one.CrashLoop, Restarts: one.Restarts,
				Ordered: one.Ordered, Started: one.Started, Ready: one.Ready,
			}
			settle(&own[i].Ordered, &own[i].Started, &own[i].Ready)
		}
		return own
	}
	if e.Observation != nil {
		e.Observation = new(*e.Observation)
		e.Observation.Instances = instances(e.Observation.Instances)
	}
	if e.History != nil {
		h := new(*e.History)
		h.Seconds, h.Curve = slices.Clone(h.Seconds), slices.Clone(h.Curve)
		settle(&h.Since, &h.LastDemand, &h.LastOut, &h.LastIn)
		e.History = h
	}
	if e.Work != nil {
		e.Work = new(*e.Work)
		e.Work.Instances, e.Work.Queues = instances(e.Work.Instances), slices.Clone(e.Work.Queues)
	}
	if e.WorkHistory != nil {
		h := new(*e.WorkHistory)
		settle(&h.Since, &h.LastWork, &h.LastOut, &h.LastIn)
		e.WorkHistory = h
	}
	e.Now = now
	return e
}

// Pack makes bytes of it.
func (e Evidence) Pack() ([]byte, error) {
	plain, err := json.Marshal(e)
	if err != nil {
		return nil, springtide.Errorf(springtide.Internal, "the evidence of a decision cannot be written: %w", err)
	}
	var packed bytes.Buffer
	w, err := flate.NewWriter(&packed, flate.BestSpeed)
	if err != nil {
		return nil, err
	}
	_, _ = w.Write(plain) // a buffer takes everything
	_ = w.Close()
	return packed.Bytes(), nil
}

// Unpack reads what Pack gave. What is not whole is an error of kind Failed.
func Unpack(packed []byte) (Evidence, error) {
	var e Evidence
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), largestEvidence))
	if err == nil {
		err = json.Unmarshal(plain, &e)
	}
	if err != nil {
		return Evidence{}, springtide.Errorf(springtide.Failed, "the evidence of a decision cannot be read: %w", err)
	}
	return e, nil
}
