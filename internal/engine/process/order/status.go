package order

import (
	"errors"
	"strconv"
	"strings"
)

// Status is how one attempt ended.
type Status struct {
	Attempt int
	// Code is the exit status, Signal the signal that ended the command if not 0.
	Code   int
	Signal int
	// TimedOut says that the order's Timeout had passed.
	TimedOut bool
	// Failure says why the command could not be started at all. Empty: it was.
	Failure string
}

// Encode gives the status as one line of text.
func (s Status) Encode() []byte {
	b := []byte("attempt " + strconv.Itoa(s.Attempt) + " code " + strconv.Itoa(s.Code) + " signal " + strconv.Itoa(s.Signal))
	if s.TimedOut {
		b = append(b, " timeout 1"...)
	}
	if s.Failure != "" {
		b = append(b, " failure "+strings.ReplaceAll(s.Failure, "\n", " ")...)
	}
	return append(b, '\n')
}

// DecodeStatus reads what Encode wrote.
func DecodeStatus(data []byte) (Status, error) {
	rest, whole := strings.CutSuffix(string(data), "\n")
	if !whole {
		return Status{}, errors.New("status: cut off")
	}
	var s Status
	for rest != "" {
		var key, value string
		key, rest, _ = strings.Cut(rest, " ")
		if key == "failure" {
			s.Failure = rest
			return s, nil
		}
		value, rest, _ = strings.Cut(rest, " ")
		number, err := strconv.Atoi(value)
		if err != nil {
			return Status{}, errors.New("status: " + key + ": " + err.Error())
		}
		switch key {
		case "attempt":
			s.Attempt = number
		case "code":
			s.Code = number
		case "signal":
			s.Signal = number
		case "timeout":
			s.TimedOut = number != 0
		default:
			return Status{}, errors.New("status: unknown field " + key)
		}
	}
	return s, nil
}
