package simulate

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/springtide/springtide"
)

// Trace is a rate of arrivals over time.
type Trace struct {
	Name string
	// Rates are requests per second, one a second.
	Rates []float64
	// Step is the second at which a rise begins that is to be met; -1: none.
	Step int
	// Floors are what was announced.
	Floors []Floor
	// Clump is the mean number of requests that arrive together; 1 if they are independent.
	Clump float64
	// Tuned says that the law was tuned on it.
	Tuned bool
}

// Floor announces that so many instances are to be there.
type Floor struct {
	From, To  time.Duration // since the trace began
	Instances int
}

// LongestTrace bounds what is read: 40 days.
const LongestTrace = 40 * 24 * 3600

// ReadTrace reads a CSV of requests per row. The column is that of the given
// name; else the first named rate_per_s, requests, value or count; else the sum
// of all numbers but the first column. The rows are so long as their times are
// apart, or as the name of the first column says (second, minute); a rate_per_s
// is per second whatever the rows are.
//
// Errors are of kind Invalid and begin with the name and the line.
func ReadTrace(r io.Reader, name, column string) ([]float64, error) {
	line, rates, err := readTrace(r, column)
	if err != nil {
		if parse := (*csv.ParseError)(nil); errors.As(err, &parse) {
			line, err = parse.Line, parse.Err
		}
		return nil, springtide.Errorf(springtide.Invalid, "%s:%d: %w", name, line, err).
			WithHint("a trace is a CSV of times and requests, see docs/simulate.md")
	}
	return rates, nil
}

// readTrace gives the line too on which it ended.
func readTrace(r io.Reader, column string) (line int, rates []float64, err error) {
	in := csv.NewReader(&lineLimit{from: r})
	in.ReuseRecord, in.FieldsPerRecord = true, -1
	head, err := in.Read()
	if err != nil {
		return 1, nil, fmt.Errorf("the first line: %w", err)
	}
	head = slices.Clone(head)
	head[0] = strings.TrimPrefix(head[0], "\ufeff") // spreadsheets begin with it
	at, perSecond, err := findColumn(head, column)
	if err != nil {
		return 1, nil, err
	}
	var rows rows
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return line, nil, err
		}
		line, _ = in.FieldPos(0)
		value, err := rowValue(row, at)
		if err != nil {
			return line, nil, err
		}
		when, err := rowTime(head[0], row[0])
		if err == nil {
			err = rows.add(when, value)
		}
		if err != nil {
			return line, nil, err
		}
	}
	if len(rows.values) < 2 {
		return max(line, 1), nil, errors.New("fewer than two rows")
	}
	rates, err = perSecondRates(rows.values, int(rows.every/time.Second), perSecond)
	return line, rates, err
}

// rows gathers values that are as far apart as the first two.
type rows struct {
	first, last, every time.Duration
	values             []float64
}

// add takes the next row. Where some are missing it goes straight from one to the other.
func (r *rows) add(at time.Duration, value float64) error {
	switch n := len(r.values); {
	case n == 0:
		r.first = at
	case n == 1:
		if r.every = at - r.first; r.every < time.Second || r.every > time.Hour {
			return fmt.Errorf("rows that are %s apart: 1 s to 1 h can be read", r.every)
		}
	case at <= r.last:
		return errors.New("its time is not after that of the row before")
	default:
		place := int((at - r.first + r.every/2) / r.every)
		if place > LongestTrace {
			break
		}
		known := len(r.values) - 1
		for step, missing := (value-r.values[known])/float64(max(place-known, 1)), 1; known+missing < place; missing++ {
			r.values = append(r.values, r.values[known]+step*float64(missing))
		}
	}
	r.last, r.values = at, append(r.values, value)
	if len(r.values) > LongestTrace || (at-r.first)/time.Second >= LongestTrace {
		return errors.New("longer than 40 days")
	}
	return nil
}

// longestLine is how many bytes a line of a trace may have.
const longestLine = 1 << 20

// lineLimit ends with an error in a line that is too long: it would be held in
// memory as a whole.
type lineLimit struct {
	from io.Reader
	line int // bytes of the line so far
}

func (l *lineLimit) Read(into []byte) (int, error) {
	n, err := l.from.Read(into)
	if end := bytes.LastIndexByte(into[:n], '\n'); end >= 0 {
		l.line = n - end - 1
	} else if l.line += n; l.line > longestLine {
		return 0, errors.New("a line is longer than 1 MiB")
	}
	return n, err
}

func findColumn(head []string, column string) (at int, perSecond bool, err error) {
	for _, name := range []string{column, "rate_per_s", "requests", "value", "count"} {
		if i := slices.Index(head, name); i >= 0 && name != "" {
			return i, name == "rate_per_s", nil
		}
		if name == column && column != "" {
			return 0, false, fmt.Errorf("no column %q: there are %s", column, strings.Join(head, ", "))
		}
	}
	if len(head) < 2 {
		return 0, false, errors.New("one column only: a time and a number are needed")
	}
	return -1, false, nil
}

func rowValue(row []string, at int) (float64, error) {
	cells := row[1:]
	if at >= 0 {
		if at >= len(row) {
			return 0, errors.New("it is too short")
		}
		cells = row[at : at+1]
	}
	sum := 0.0
	for _, cell := range cells {
		x, err := strconv.ParseFloat(strings.TrimSpace(cell), 64)
		if err != nil || math.IsNaN(x) || x < 0 || x > 1e12 {
			return 0, fmt.Errorf("%q is no number of requests", cell)
		}
		sum += x
	}
	return sum, nil
}

// rowTime reads a time of day, or a number of what the head names; seconds and
// milliseconds may count from the year 1970.
func rowTime(head, cell string) (time.Duration, error) {
	if n, err := strconv.ParseFloat(strings.TrimSpace(cell), 64); err == nil {
		unit := time.Second
		switch {
		case strings.HasPrefix(head, "minute"):
			unit = time.Minute
		case math.Abs(n) >= 1e11: // since the year 1970
			unit = time.Millisecond
		}
		if math.Abs(n)*unit.Seconds() < 9e9 { // what a duration holds
			return time.Duration(n * float64(unit)), nil
		}
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if at, err := time.Parse(layout, strings.TrimSpace(cell)); err == nil {
			return at.Sub(time.Unix(0, 0)), nil
		}
	}
	return 0, fmt.Errorf("%q is no time: a number of seconds, or 2006-01-02T15:04:05", cell)
}

// perSecondRates makes seconds of rows. Of what happens within a longer row
// nothing is known: the rate goes straight from the middle of one to the next.
func perSecondRates(values []float64, every int, perSecond bool) ([]float64, error) {
	if len(values)*every > LongestTrace {
		return nil, errors.New("longer than 40 days")
	}
	rates := make([]float64, 0, len(values)*every)
	for i, value := range values {
		if !perSecond {
			value /= float64(every)
		}
		values[i] = value
	}
	for i := range len(values) * every {
		x := (float64(i)+0.5)/float64(every) - 0.5
		row := int(math.Floor(x))
		a, b := values[max(row, 0)], values[min(row+1, len(values)-1)]
		rates = append(rates, a+(b-a)*(x-float64(row)))
	}
	return rates, nil
}

// OpenTrace reads a file, scaled by a factor, from a second on and for so many (0: to the end).
func OpenTrace(path, column string, factor float64, from, length int) (Trace, error) {
	f, err := os.Open(path)
	if err != nil {
		return Trace{}, springtide.Errorf(springtide.NotFound, "%w", err)
	}
	defer f.Close()
	rates, err := ReadTrace(f, path, column)
	if err != nil {
		return Trace{}, err
	}
	if from >= len(rates) {
		return Trace{}, fmt.Errorf("%s: it has only %d seconds", path, len(rates))
	}
	rates = rates[from:]
	if length > 0 {
		rates = rates[:min(length, len(rates))]
	}
	for i := range rates {
		rates[i] *= factor
	}
	return Trace{Name: strings.TrimSuffix(filepath.Base(path), ".csv"), Rates: rates, Step: -1, Clump: 1}, nil
}
