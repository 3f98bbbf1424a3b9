package simulate

// Figures are what is compared of a run.
type Figures struct {
	Requests int64 `json:"requests"`
	// Late is the share of requests that were held for longer than 250 ms, or were
	// dropped: from the step to 300 s after it, where there is one.
	Late    float64 `json:"late_percent"`
	Dropped int64   `json:"dropped"`
	Recover float64 `json:"recover_seconds"`
	// Cost is in instance-seconds over those of the clairvoyant, Overshoot the most
	// instances over the clairvoyant's.
	Cost      float64 `json:"instance_seconds_over_clairvoyant"`
	Overshoot float64 `json:"overshoot"`
	// Flaps is how often an hour it grew after it had shrunk.
	Flaps  float64 `json:"flaps_per_hour"`
	Starts int     `json:"starts"`
	// FalseAlarm is what was spent for nothing, in instance-hours: given where nobody comes.
	FalseAlarm float64 `json:"false_alarm_instance_hours"`
}

// Figures compares an outcome with that of the clairvoyant.
func (o Outcome) Figures(t Trace, base Outcome) Figures {
	f := Figures{
		Requests: o.Requests, Late: 100 * float64(o.WindowLate) / float64(max(o.WindowRequests, 1)), Dropped: o.Dropped,
		Recover: o.Recover.Seconds(), Cost: o.InstanceSeconds / max(base.InstanceSeconds, 1), Overshoot: float64(o.Peak) / float64(max(base.Peak, 1)),
		Flaps: float64(o.Flaps) / (float64(len(t.Rates)) / 3600), Starts: o.Starts,
	}
	if len(t.Floors) > 0 && t.Step < 0 {
		f.FalseAlarm = (o.InstanceSeconds - base.InstanceSeconds) / 3600
	}
	return f
}
