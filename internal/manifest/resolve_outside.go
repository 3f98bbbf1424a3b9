package manifest

import (
	"slices"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// What holds where a manifest says nothing of an outside queue.
const (
	defaultOutsideURL   = queuePlace("REDIS_URL")
	defaultOutsideEvery = time.Second
	// Whoever asks over HTTP may have to pay for it.
	defaultOutsideAsk = 5 * time.Second
)

// outside says which outside queue a process is scaled by; nil: by none.
func (r *resolver) outside(path string, s *scaleSection, target *targetSection, http, worker bool) *springtide.OutsideQueue {
	q := s.Queue
	if q == nil {
		return nil
	}
	path += ".scale.queue"
	switch {
	case http:
		r.problems.add(q.At, "%s: the process is given the requests; let another process take the messages", path)
	case worker:
		r.problems.add(q.At, "%s: the process takes runs from queues of its own; keep one of them", path)
	}
	queue := &springtide.OutsideQueue{
		Processing: string(q.Processing.Value), Prefix: string(q.Prefix.Value), Region: string(q.Region.Value),
		Value: string(q.Value.Value), Token: string(q.Token.Value), Wait: time.Duration(target.Wait.or(duration(defaultWorkerWait))),
	}
	every := defaultOutsideAsk
	var ways []string
	place, schemes := q.URL.or(defaultOutsideURL), []string{"redis", "rediss"}
	if q.Redis != nil {
		ways, every, queue.Kind, queue.Names = append(ways, "redis"), defaultOutsideEvery, springtide.OutsideRedis, r.keys(path+".redis", q.At, q.Redis)
	}
	if q.Celery != nil {
		ways, every, queue.Kind, queue.Names = append(ways, "celery"), defaultOutsideEvery, springtide.OutsideCelery, r.keys(path+".celery", q.At, q.Celery)
	}
	if q.SQS.IsSet || q.SQS.attempted() {
		ways, queue.Kind, place, schemes = append(ways, "sqs"), springtide.OutsideSQS, q.SQS.Value, []string{"https", "http"}
	}
	if q.HTTP.IsSet || q.HTTP.attempted() {
		ways, queue.Kind, place, schemes = append(ways, "http"), springtide.OutsideHTTP, q.HTTP.Value, []string{"https", "http"}
	}
	queue.URL, queue.Every = string(place), time.Duration(q.Every.or(duration(every)))
	switch scheme := place.scheme(); {
	case len(ways) == 0:
		r.problems.add(q.At, "%s: say which queue: redis, celery, sqs or http", path)
	case len(ways) > 1:
		r.problems.add(q.At, "%s: choose one of %s", path, strings.Join(ways, " and "))
	case scheme != "" && !slices.Contains(schemes, scheme):
		r.problems.add(q.At, "%s: %s:// is not how %s is reached; want %s://", path, shorten(scheme), queue.Kind, strings.Join(schemes, ":// or "))
	}
	r.outsideKeys(path, q, queue.Kind)
	return queue
}

// keys gives names that are in a list.
func (r *resolver) keys(path string, at position, written []set[queueKey]) (names []string) {
	if len(written) == 0 {
		r.problems.add(at, "%s: the list is empty", path)
	}
	for _, one := range written {
		if one.IsSet && slices.Contains(names, string(one.Value)) {
			r.problems.add(one.At, "%s: %s is in the list twice", path, shorten(string(one.Value)))
		}
		names = append(names, string(one.Value))
	}
	return names
}

// outsideKeys refuses keys that say nothing of a queue of that kind.
func (r *resolver) outsideKeys(path string, q *outsideSection, kind springtide.OutsideKind) {
	for _, key := range []struct {
		name string
		set  bool
		at   position
		of   []springtide.OutsideKind
	}{
		{"url", q.URL.IsSet, q.URL.At, []springtide.OutsideKind{springtide.OutsideRedis, springtide.OutsideCelery}},
		{"processing", q.Processing.IsSet, q.Processing.At, []springtide.OutsideKind{springtide.OutsideRedis}},
		{"prefix", q.Prefix.IsSet, q.Prefix.At, []springtide.OutsideKind{springtide.OutsideCelery}},
		{"region", q.Region.IsSet, q.Region.At, []springtide.OutsideKind{springtide.OutsideSQS}},
		{"value", q.Value.IsSet, q.Value.At, []springtide.OutsideKind{springtide.OutsideHTTP}},
		{"token", q.Token.IsSet, q.Token.At, []springtide.OutsideKind{springtide.OutsideHTTP}},
	} {
		if key.set && kind != "" && !slices.Contains(key.of, kind) {
			r.problems.add(key.at, "%s.%s: means nothing to %s", path, key.name, kind)
		}
	}
}

// outside compares the outside queue of a process.
func (d *difference) outside(path string, from, to *springtide.OutsideQueue) {
	words := func(q *springtide.OutsideQueue) string {
		if q == nil {
			return ""
		}
		return strings.TrimSpace(q.String() + " at " + q.URL + " every " + formatDuration(q.Every))
	}
	d.value(path, effectScale, words(from), words(to))
	if from != nil && to != nil {
		d.value(path+".wait", effectScale, formatDuration(from.Wait), formatDuration(to.Wait))
		d.value(path+".details", effectScale, strings.Join([]string{from.Processing, from.Prefix, from.Region, from.Value, from.Token}, " "),
			strings.Join([]string{to.Processing, to.Prefix, to.Region, to.Value, to.Token}, " "))
	}
}

// replaceQueue makes room for another outside queue than the one before.
func replaceQueue(process *processSection, different *scaleSection) {
	if different == nil || different.Queue == nil || process.Scale == nil {
		return
	}
	if q := different.Queue; q.Redis != nil || q.Celery != nil || q.SQS.IsSet || q.HTTP.IsSet {
		process.Scale.Queue = nil
	}
}
