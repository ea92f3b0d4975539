package backtest

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// A table reads a CSV file with a header, row by row. Every error of its
// methods names the file and, below the header, line, column and value.
type table struct {
	name    string
	csv     *csv.Reader
	columns []string // as the file has them
	record  []string
	line    int // of the record
}

// openTable reads the header. It must have all the required columns, and may
// have the optional ones; in any order, and in any case.
func openTable(name string, r io.Reader, required []string, optional ...string) (*table, error) {
	t := &table{name: name, csv: csv.NewReader(withoutMark(r))}
	t.csv.FieldsPerRecord = -1 // checked here: the error is clearer
	t.csv.ReuseRecord = true
	t.csv.TrimLeadingSpace = true
	want := "want the columns " + strings.Join(required, ",")
	if len(optional) > 0 {
		want += "[," + strings.Join(optional, ",") + "]"
	}
	header, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty: %s, and rows of them", name, want)
	}
	if err != nil {
		return nil, t.broken(err)
	}
	t.record = header
	for i, field := range header {
		column := strings.ToLower(strings.TrimSpace(field))
		if !slices.Contains(required, column) && !slices.Contains(optional, column) || slices.Contains(t.columns, column) {
			return nil, t.at(i, fmt.Sprintf("%.40q: %s", field, want))
		}
		t.columns = append(t.columns, column)
	}
	for _, column := range required {
		if !slices.Contains(t.columns, column) {
			return nil, fmt.Errorf("%s, line 1: no column %q: %s", name, column, want)
		}
	}
	return t, nil
}

// withoutMark skips a byte order mark.
func withoutMark(r io.Reader) io.Reader {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = buffered.Discard(len(mark)) // cannot fail: they are in the buffer
	}
	return buffered
}

// next reads a row; false is the end.
func (t *table) next() (bool, error) {
	record, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, t.broken(err)
	}
	t.record = record
	t.line, _ = t.csv.FieldPos(0)
	if len(record) != len(t.columns) {
		return false, fmt.Errorf("%s, line %d: %d columns, want %d: %s",
			t.name, t.line, len(record), len(t.columns), strings.Join(t.columns, ","))
	}
	return true, nil
}

// broken is an error of the CSV itself.
func (t *table) broken(err error) error {
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("%s, line %d, column %d: %w: want CSV, plain or with \"quoted\" fields", t.name, parse.Line, parse.Column, parse.Err)
	}
	return fmt.Errorf("read %s: %w", t.name, err)
}

// at is an error at a field of the record.
func (t *table) at(field int, problem string) error {
	line, column := t.csv.FieldPos(field)
	return fmt.Errorf("%s, line %d, column %d: %s", t.name, line, column, problem)
}

// has reports whether the file has an optional column.
func (t *table) has(column string) bool { return slices.Contains(t.columns, column) }

// text returns a field.
func (t *table) text(column string) string {
	return strings.TrimSpace(t.record[slices.Index(t.columns, column)])
}

// refuse is an error about a field: its column, its value, and what is wanted.
func (t *table) refuse(column, want string) error {
	return t.at(slices.Index(t.columns, column), fmt.Sprintf("%s %.40q: %s", column, t.text(column), want))
}

// time reads an instant.
func (t *table) time(column string) (time.Time, error) {
	instant, err := time.Parse(time.RFC3339, t.text(column))
	if err != nil || instant.UTC().Year() < 2000 || instant.UTC().Year() > 2200 {
		return time.Time{}, t.refuse(column, "want RFC 3339 with a zone in the years 2000 to 2200, such as 2021-07-01T00:00:00Z")
	}
	return instant.UTC(), nil
}

// intensity reads gCO2eq/kWh.
func (t *table) intensity(column string) (float64, error) {
	value, err := strconv.ParseFloat(t.text(column), 64)
	if err != nil || !(math.Abs(value) <= forecast.MaxIntensity) {
		return 0, t.refuse(column, fmt.Sprintf("want gCO2eq/kWh, a number from %.0f to %.0f", -forecast.MaxIntensity, forecast.MaxIntensity))
	}
	return value, nil
}
