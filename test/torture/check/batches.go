package main

import "encoding/json"

// checkBatches looks whether each batch is complete, and what was to be done then
// was enqueued once, when its last run was over.
func checkBatches(b *book, r *report) {
	type name struct {
		environment int64
		batch       string
	}
	runs, keys := map[name][]*job{}, map[string]int{}
	for i := range b.runs {
		run := &b.runs[i]
		keys[run.key]++
		if run.batch != "" {
			key := name{run.environment, run.batch}
			runs[key] = append(runs[key], run)
		}
	}
	made, ended := map[int64]int64{}, map[int64]int64{}
	for _, e := range b.events {
		if made[e.run] == 0 {
			made[e.run] = e.seq
		}
		if over(e.state) {
			ended[e.run] = e.seq
		}
	}
	for _, batch := range b.batches {
		its := runs[name{batch.environment, batch.name}]
		delete(runs, name{batch.environment, batch.name})
		dead, finished, last := 0, 0, int64(0)
		for _, run := range its {
			last = max(last, ended[run.number])
			if over(run.state) {
				finished++
			}
			if run.state == "dead" {
				dead++
			}
		}
		if int64(len(its)) != batch.size || int64(finished) != batch.ended || int64(dead) != batch.dead {
			r.violation("batch %s says %d runs, %d over, %d dead; there are %d, %d, %d", batch.name, batch.size, batch.ended, batch.dead, len(its), finished, dead)
		}
		if batch.callback == "" {
			continue
		}
		var callback struct {
			Key string `json:"key"`
		}
		_ = json.Unmarshal([]byte(batch.callback), &callback)
		switch done := b.byNumber[batch.done]; {
		case done == nil:
			r.violation("batch %s is over, and what was to be done then was not enqueued", batch.name)
		case made[batch.done] < last:
			r.violation("batch %s was not over when what was to be done then was enqueued, as run %s", batch.name, identifier(batch.done))
		case callback.Key != "" && (done.key != callback.Key || keys[callback.Key] != 1):
			r.violation("batch %s was to be followed by one run with the key %q: there are %d", batch.name, callback.Key, keys[callback.Key])
		}
	}
	for key := range runs {
		r.violation("there are %d runs of batch %s, but no batch", len(runs[key]), key.batch)
	}
	r.number("batches", len(b.batches))
}

// checkCounts compares what the ledger counts with what there is.
func checkCounts(b *book, r *report) {
	actual := map[int64]count{}
	for _, run := range b.runs {
		c := actual[run.queue]
		c.queue = run.queue
		switch run.state {
		case "succeeded":
			c.succeeded++
		case "dead":
			c.dead++
		case "cancelled":
			c.cancelled++
		case "skipped":
			c.skipped++
		case "missed":
			c.missed++
		}
		actual[run.queue] = c
	}
	for _, counted := range b.counts {
		if has := actual[counted.queue]; counted != has && has.queue != 0 {
			r.violation("queue %s counts %+v, and has %+v", b.queues[counted.queue].name, counted, has)
		}
	}
}
