package runner

import (
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// The variables that say what a runner is to do. Its commands do not get those
// in private.
const (
	apiVariable      = "TIDE_API"
	tokenVariable    = "TIDE_TOKEN"
	instanceVariable = "TIDE_INSTANCE"
	queuesVariable   = "TIDE_QUEUES"
	slotsVariable    = "TIDE_SLOTS"
	commandVariable  = "TIDE_RUNNER_COMMAND"
	timeoutVariable  = "TIDE_RUNNER_TIMEOUT"
	graceVariable    = "TIDE_RUNNER_GRACE"

	credentialsVariable = "CREDENTIALS_DIRECTORY"
	authorityVariable   = "TIDE_CA"
)

// private is what the commands of runs are not given.
var private = []string{queuesVariable, slotsVariable, commandVariable, timeoutVariable, graceVariable}

// mostSlots is how many runs one request to the platform may be about.
const mostSlots = 1000

// Options say what to carry out, and how. API, Token, Output and Log are
// required.
type Options struct {
	// API is the URL of an environment in the API of the platform.
	API string
	// Token is what the platform knows the runner by.
	Token string
	// Authority is the file of the certificate, in PEM, that the API is known by. Empty:
	// the system knows it, or it speaks plain HTTP.
	Authority string
	// Name is unique among runners. Default: made of host, PID and chance.
	Name string
	// Queues are where runs are taken from; none: from all.
	Queues []springtide.QueueName
	// Slots is how many runs are carried out at a time. Default: 1.
	Slots int
	// Command is run by sh for each run that has none of its own. May be empty.
	Command string
	// Timeout is how long a run may take that does not say itself. 0: as long as
	// it likes.
	Timeout time.Duration
	// Grace is how long a command may go on after SIGTERM. Default: 10 s.
	Grace time.Duration
	// Folder is where each run has a folder. Default: that for temporary files.
	Folder string
	// Credentials is a folder of files with values that no output of a run may have
	// in it. May be empty.
	Credentials string
	// Init is the init's program. Default: the one built into this binary.
	Init []byte
	// Output is given each line of the commands, after its run's ID.
	Output io.Writer
	Log    *slog.Logger
}

// OptionsOf reads what the environment says. The error is of kind Invalid.
func OptionsOf(getenv func(string) string) (o Options, err error) {
	o = Options{API: getenv(apiVariable), Token: getenv(tokenVariable), Name: getenv(instanceVariable), Command: getenv(commandVariable), Credentials: getenv(credentialsVariable), Authority: getenv(authorityVariable)}
	for queue := range strings.SplitSeq(getenv(queuesVariable), ",") {
		if queue = strings.TrimSpace(queue); queue != "" {
			o.Queues = append(o.Queues, springtide.QueueName(queue))
		}
	}
	if text := getenv(slotsVariable); text != "" {
		if o.Slots, err = strconv.Atoi(text); err != nil {
			return o, springtide.Errorf(springtide.Invalid, "%s is %q, not a number", slotsVariable, text)
		}
	}
	for name, value := range map[string]*time.Duration{timeoutVariable: &o.Timeout, graceVariable: &o.Grace} {
		if text := getenv(name); text != "" {
			if *value, err = time.ParseDuration(text); err != nil {
				return o, springtide.Errorf(springtide.Invalid, "%s is %q, not a duration such as 30s", name, text)
			}
		}
	}
	return o, nil
}

// Validate says what is missing or makes no sense.
func (o Options) Validate() error {
	base, err := url.Parse(o.API)
	switch {
	case o.API == "":
		return springtide.Errorf(springtide.Invalid, "there is no platform to take runs from").
			WithHint("set %s to the URL of an environment, for example http://127.0.0.1:7070/v1/apps/quiz/environments/production", apiVariable)
	case err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "":
		return springtide.Errorf(springtide.Invalid, "%s is %q, not a URL", apiVariable, o.API)
	case o.Token == "":
		return springtide.Errorf(springtide.Invalid, "there is no token for %s", o.API).WithHint("set %s", tokenVariable)
	case o.Slots < 1 || o.Slots > mostSlots:
		return springtide.Errorf(springtide.Invalid, "%d slots are not possible: 1 to %d are", o.Slots, mostSlots)
	case o.Timeout < 0 || o.Grace < 0:
		return springtide.Errorf(springtide.Invalid, "a time limit cannot be negative")
	case len(o.Name) > 100:
		return springtide.Errorf(springtide.Invalid, "the runner's name has more than 100 bytes")
	case strings.Contains(o.Command, "\x00"):
		return springtide.Errorf(springtide.Invalid, "the command has a zero byte in it")
	case o.Output == nil || o.Log == nil:
		return springtide.Errorf(springtide.Internal, "runner: an output and a log are required")
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.API = strings.TrimSuffix(o.API, "/")
	if o.Slots == 0 {
		o.Slots = 1
	}
	if o.Grace == 0 {
		o.Grace = 10 * time.Second
	}
	if o.Folder == "" {
		o.Folder = os.TempDir()
	}
	if o.Name == "" {
		host, _ := os.Hostname()
		o.Name = fmt.Sprintf("%.60s-%d-%s", host, os.Getpid(), strings.ToLower(rand.Text()[:6]))
	}
	return o
}
