package manifest

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/springtide/springtide"
)

const outsideManifest = `app: shop
processes:
  web: ./web
  worker:
    command: ./worker
    scale: { target: { wait: 30s }, queue: QUEUE }
environments:
  staging: { scale: { worker: { queue: { http: "https://example.com/depth" } } } }
`

func TestAProcessCanBeScaledByAnOutsideQueue(t *testing.T) {
	for written, want := range map[string]springtide.OutsideQueue{
		"{ redis: [jobs, more] }":                                 {Kind: "redis", Names: []string{"jobs", "more"}, URL: "REDIS_URL", Every: time.Second},
		"{ redis: [jobs], processing: doing, url: BROKER }":       {Kind: "redis", Names: []string{"jobs"}, Processing: "doing", URL: "BROKER", Every: time.Second},
		"{ celery: [celery], prefix: \"shop:\", every: 10s }":     {Kind: "celery", Names: []string{"celery"}, Prefix: "shop:", URL: "REDIS_URL", Every: 10 * time.Second},
		"{ sqs: \"https://sqs.eu-west-1.amazonaws.com/1/jobs\" }": {Kind: "sqs", URL: "https://sqs.eu-west-1.amazonaws.com/1/jobs", Every: 5 * time.Second},
		"{ http: DEPTH_URL, value: /queues/0/n, token: TOKEN }":   {Kind: "http", URL: "DEPTH_URL", Value: "/queues/0/n", Token: "TOKEN", Every: 5 * time.Second},
	} {
		scale := parse(t, strings.Replace(outsideManifest, "QUEUE", written, 1)).App(springtide.Production).Processes["worker"].Scale
		want.Wait = 30 * time.Second
		if diff := cmp.Diff(&want, scale.Queue); diff != "" {
			t.Errorf("%s:\n%s", written, diff)
		}
		if scale.Min != 0 || scale.Max != 4 || scale.Concurrency != 1 || scale.Idle != 5*time.Minute {
			t.Errorf("%s: %+v", written, scale)
		}
	}
}

func TestAnEnvironmentCanHaveAnotherOutsideQueue(t *testing.T) {
	app := parse(t, strings.Replace(outsideManifest, "QUEUE", "{ redis: [jobs] }", 1)).App("staging")
	if q := app.Processes["worker"].Scale.Queue; q.Kind != springtide.OutsideHTTP || q.Names != nil || q.URL != "https://example.com/depth" {
		t.Errorf("%+v", q)
	}
}

func TestAnOutsideQueueThatCannotBeIsRefused(t *testing.T) {
	for written, want := range map[string]string{
		"{ every: 2s }":                                      "say which queue: redis, celery, sqs or http",
		"{ redis: [a], celery: [b] }":                        "choose one of redis and celery",
		"{ redis: [] }":                                      "the list is empty",
		"{ redis: [a, a] }":                                  "a is in the list twice",
		"{ redis: [\"\"] }":                                  "want a key of Redis",
		"{ redis: [a], url: \"https://h/\" }":                "https:// is not how redis is reached; want redis:// or rediss://",
		"{ redis: [a], url: \"redis://u:p@h/\" }":            "holds a password; make the whole URL a secret",
		"{ http: \"redis://h/\" }":                           "redis:// is not how http is reached",
		"{ http: \"not a variable\" }":                       "want a URL, or the name of a variable",
		"{ http: DEPTH, value: depth }":                      "want a JSON pointer like /queues/0/messages",
		"{ sqs: QUEUE_URL, value: /depth }":                  "worker.scale.queue.value: means nothing to sqs",
		"{ sqs: QUEUE_URL, url: REDIS_URL }":                 "worker.scale.queue.url: means nothing to sqs",
		"{ celery: [a], processing: b }":                     "worker.scale.queue.processing: means nothing to celery",
		"{ redis: [a], every: 10ms }":                        "10ms is too little; it is at least 1s",
		"{ redis: [a] }, min: 3, max: 2":                     "min 3 is more than max 2",
		"{ redis: [a] } }, http: true, env: { A: b }":        "the process is given the requests; let another process take the messages",
		"{ redis: [a] } }, queues: [default], env: { A: b }": "takes runs from queues of its own; keep one of them",
	} {
		end := " } }"
		if strings.Count(written, "}") > strings.Count(written, "{") {
			end = " }"
		}
		text := "app: shop\nprocesses:\n  web: ./web\n  worker: { command: ./worker, scale: { queue: " + written + end + "\n"
		_, err := Parse(FileName, []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", written, err, want)
		}
	}
}
