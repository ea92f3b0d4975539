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
	"unicode"

	"github.com/gridlatch/gridlatch/forecast"
)

// A table reads a CSV file with a header, row by row. Every error of its methods names the file
// and, below the header, the line, the column and the value.
type table struct {
	name   string
	csv    *csv.Reader
	header []string       // as the file has it
	fields map[string]int // the index of each column
	record []string
	line   int // of the record
}

// A column is a column that a table is asked for.
type column struct {
	name string
	// also are other names of the column, the best first: in lower case, letters and digits alone.
	also     []string
	optional bool
}

// timestamp, intensity and issued are the columns of a series. Of several intensities the
// life-cycle one is taken, as exporters do.
func timestamp() column {
	return column{name: "timestamp", also: []string{
		"datetimeutc", "utctime", "timeutc", "timestamputc", "utctimestamp", "datetime", "time", "pointtime", "validtime", "start", "from", "starttime", "intervalstart", "periodstart", "startdate", "date",
	}}
}

func intensity(also ...string) column {
	return column{name: "intensity", also: append([]string{
		"carbonintensitygco2eqkwhlifecycle", "carbonintensitygco2eqkwhlca", "carbonintensitylifecycle", "carbonintensity",
		"carbonintensitygco2eqkwh", "carbonintensitygco2eqperkwh", "carbonintensitygco2kwh", "carbonintensitygco2perkwh", "carbonintensityavg",
		"gco2eqkwh", "gco2eqperkwh", "gco2kwh", "gco2perkwh", "co2eq", "co2intensity", "value", "rating",
		"carbonintensitygco2eqkwhdirect", "carbonintensitydirect",
	}, also...)}
}

func issued() column {
	return column{name: "issued", also: []string{
		"issuedat", "issuetime", "generatedat", "createdat", "created", "requestedat", "updatedat", "forecasttime", "runtime", "reftime",
	}}
}

// openTable reads the header, which has the columns in any order and case. A strict table has no
// other columns.
func openTable(name string, r io.Reader, strict bool, columns ...column) (*table, error) {
	t := &table{name: name, csv: csv.NewReader(skipByteOrderMark(r)), fields: map[string]int{}}
	t.csv.FieldsPerRecord = -1 // checked here: the error is clearer
	t.csv.ReuseRecord = true
	t.csv.TrimLeadingSpace = true
	want := wantedColumns(columns)
	header, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s is empty: %s, and at least one row", name, want)
	}
	if err != nil {
		return nil, t.csvError(err)
	}
	t.record, t.header = header, slices.Clone(header)
	for _, c := range columns {
		if err := t.find(c, want); err != nil {
			return nil, err
		}
	}
	for i, field := range header {
		if at, ok := t.fields[normalizeName(field)]; strict && (!ok || at != i) {
			return nil, t.errorAt(i, fmt.Sprintf("%.40q: %s", field, want))
		}
	}
	return t, nil
}

// wantedColumns says which columns a table is asked for.
func wantedColumns(columns []column) string {
	want := "want the columns "
	for i, c := range columns {
		switch {
		case c.optional:
			want += "[," + c.name + "]"
		case i > 0:
			want += "," + c.name
		default:
			want += c.name
		}
	}
	return want
}

// find notes the index of a column: the one with its own name, or with the best of the other names.
func (t *table) find(c column, want string) error {
	for _, name := range append([]string{c.name}, c.also...) {
		for i, field := range t.header {
			if _, taken := t.fields[c.name]; !taken && normalizeName(field) == name {
				t.fields[c.name] = i
			}
		}
	}
	if _, ok := t.fields[c.name]; !ok && !c.optional {
		return fmt.Errorf("%s, line 1: no column %q: %s", t.name, c.name, want)
	}
	return nil
}

// normalizeName makes the spellings of a name equal: Carbon Intensity gCO₂eq/kWh (direct) and
// carbon_intensity_gco2eq_kwh_direct are the same.
func normalizeName(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '₂':
			return '2'
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			return unicode.ToLower(r)
		default:
			return -1
		}
	}, name)
}

// skipByteOrderMark skips a byte order mark, if there is one.
func skipByteOrderMark(r io.Reader) io.Reader {
	buffered := bufio.NewReaderSize(r, 64<<10)
	if mark, err := buffered.Peek(3); err == nil && string(mark) == "\ufeff" {
		_, _ = buffered.Discard(len(mark)) // cannot fail: they are in the buffer
	}
	return buffered
}

// next reads a row; it returns false at the end.
func (t *table) next() (bool, error) {
	record, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, t.csvError(err)
	}
	t.record = record
	t.line, _ = t.csv.FieldPos(0)
	return true, nil
}

// checkFieldCount refuses a row with more or fewer fields than the header.
func (t *table) checkFieldCount() error {
	if len(t.record) != len(t.header) {
		return fmt.Errorf("%s, line %d: %d columns, want %d: %.200s",
			t.name, t.line, len(t.record), len(t.header), strings.Join(t.header, ","))
	}
	return nil
}

// csvError returns an error of the CSV itself.
func (t *table) csvError(err error) error {
	if parse, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Errorf("%s, line %d, column %d: %w: want CSV, plain or with \"quoted\" fields", t.name, parse.Line, parse.Column, parse.Err)
	}
	return fmt.Errorf("read %s: %w", t.name, err)
}

// errorAt returns an error at a field of the record.
func (t *table) errorAt(field int, problem string) error {
	line, column := t.csv.FieldPos(field)
	return fmt.Errorf("%s, line %d, column %d: %s", t.name, line, column, problem)
}

// has reports whether the file has an optional column.
func (t *table) has(column string) bool {
	_, ok := t.fields[column]
	return ok
}

// text returns a field.
func (t *table) text(column string) string { return strings.TrimSpace(t.record[t.fields[column]]) }

// errorIn returns an error with the column of a field, its value, and what is wanted.
func (t *table) errorIn(column, want string) error {
	return t.errorAt(t.fields[column], fmt.Sprintf("%s %.40q: %s", column, t.text(column), want))
}

// time reads an instant.
func (t *table) time(column string) (time.Time, error) {
	instant, err := forecast.ParseTime(t.text(column))
	if err != nil {
		return time.Time{}, t.errorIn(column, "want RFC 3339 in the years 2000 to 2200, such as 2021-07-01T00:00:00Z")
	}
	return instant, nil
}

// intensity reads gCO2eq/kWh.
func (t *table) intensity(column string) (float64, error) {
	value, err := strconv.ParseFloat(t.text(column), 64)
	if err != nil || !(math.Abs(value) <= forecast.MaxIntensity) {
		return 0, t.errorIn(column, fmt.Sprintf("want gCO2eq/kWh, a number from %.0f to %.0f", -forecast.MaxIntensity, forecast.MaxIntensity))
	}
	return value, nil
}
