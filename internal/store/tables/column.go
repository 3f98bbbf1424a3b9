package tables

import (
	"database/sql/driver"
	"encoding/json"
	"time"

	"github.com/springtide/springtide"
)

// moment is a time in a column: UTC nanoseconds since 1970, 0 for the zero time.
type moment time.Time

// Value gives what is stored.
func (m moment) Value() (driver.Value, error) {
	if time.Time(m).IsZero() {
		return int64(0), nil
	}
	return time.Time(m).UnixNano(), nil
}

// Scan reads what Value gave.
func (m *moment) Scan(stored any) error {
	nanoseconds, ok := stored.(int64)
	if !ok {
		return springtide.Errorf(springtide.Internal, "a time is stored as %T", stored)
	}
	*m = moment{}
	if nanoseconds != 0 {
		*m = moment(time.Unix(0, nanoseconds).UTC())
	}
	return nil
}

// document is a value in a column of JSON; of is a pointer when it is scanned.
type document struct{ of any }

// Value gives what is stored.
func (d document) Value() (driver.Value, error) {
	text, err := json.Marshal(d.of)
	if err != nil {
		return nil, springtide.Errorf(springtide.Invalid, "cannot be stored: %w", err)
	}
	return string(text), nil
}

// Scan reads what Value gave.
func (d document) Scan(stored any) error {
	text, ok := stored.(string)
	if !ok {
		return springtide.Errorf(springtide.Internal, "JSON is stored as %T", stored)
	}
	return json.Unmarshal([]byte(text), d.of)
}
