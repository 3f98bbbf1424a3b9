package manifest

// outsideSection names a queue that the platform does not keep itself: one of
// redis, celery, sqs and http.
type outsideSection struct {
	At position `json:"-"`

	Redis      []set[queueKey]  `json:"redis,omitempty" jsonschema_description:"Lists of Redis, by their keys."`
	Celery     []set[queueKey]  `json:"celery,omitempty" jsonschema_description:"Queues of Celery in Redis, with all their priorities."`
	SQS        set[queuePlace]  `json:"sqs,omitempty" jsonschema_description:"The URL of a queue of Amazon SQS, or of what speaks its JSON protocol; or the variable that has it."`
	HTTP       set[queuePlace]  `json:"http,omitempty" jsonschema_description:"A URL that answers with a number, or with JSON in which there is one; or the variable that has it."`
	URL        set[queuePlace]  `json:"url,omitempty" jsonschema_description:"Where Redis is: a URL, or the variable that has it. Default: REDIS_URL."`
	Processing set[queueKey]    `json:"processing,omitempty" jsonschema_description:"The list of Redis into which workers move what they took until it is done (LMOVE). Without it nobody knows what is under way."`
	Prefix     set[queueKey]    `json:"prefix,omitempty" jsonschema_description:"What all keys of Celery begin with (its global_keyprefix)."`
	Region     set[content]     `json:"region,omitempty" jsonschema_description:"The region of SQS. Without it the URL says, or the variable AWS_REGION."`
	Value      set[jsonPointer] `json:"value,omitempty" jsonschema_description:"Where the number is in the JSON of http, by a JSON pointer: /queues/0/messages. Without it the answer is the number."`
	Token      set[variable]    `json:"token,omitempty" jsonschema_description:"The variable whose value is sent to http as a bearer token. Without it none is sent."`
	Every      set[duration]    `json:"every,omitempty" jsonschema:"minimum=1s,maximum=5m" jsonschema_description:"How often it is looked at. Default: 1s, for sqs and http 5s."`
}
