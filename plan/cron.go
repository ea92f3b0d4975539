package plan

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The names of months and days. Their first three letters are names, too.
const (
	monthNames = "january february march april may june july august september october november december"
	dayNames   = "sunday monday tuesday wednesday thursday friday saturday"
)

// A cronField is what may stand in one field of a cron expression.
type cronField struct {
	name     string
	min, max int
	names    []string // of the values from min on
	// wrapsAround says that min comes after max: a range may begin late and end early, such as 22-5
	// of hours.
	wrapsAround bool
	want        string
}

// cronFields returns the seven fields, in the order in which they are written.
func cronFields() [7]cronField {
	return [7]cronField{
		{name: "second", max: 59, wrapsAround: true, want: "0 to 59"},
		{name: "minute", max: 59, wrapsAround: true, want: "0 to 59"},
		{name: "hour", max: 23, wrapsAround: true, want: "0 to 23"},
		{name: "day-of-month", min: 1, max: 31, wrapsAround: true, want: "1 to 31, L, LW, or such as 15W"},
		{name: "month", min: 1, max: 12, wrapsAround: true, names: strings.Fields(monthNames), want: "1 to 12, or JAN to DEC"},
		{name: "day-of-week", max: 6, wrapsAround: true, names: strings.Fields(dayNames), want: "0 to 7, SUN to SAT, or such as 5L and 5#3"},
		{name: "year", min: 1970, max: 2099, want: "1970 to 2099"},
	}
}

// cronAliases returns the words that stand for a whole expression.
func cronAliases() map[string]string {
	return map[string]string{
		"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
		"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
	}
}

// A cronExpression is a cron expression in a form that the library reads as it is meant: seven
// fields, with every range written as the list of its values.
type cronExpression struct {
	line    string
	seconds bool // the expression has seconds, and they count
	// stride is how far apart matches are searched for to find out when they stop. If the minutes
	// are not limited, either all moments of an hour match or none. byMinute is the stride if a
	// match lasts to the end of its minute.
	stride, byMinute time.Duration
	warning          string
}

// readCron reads an expression of five fields (minute, hour, day of the month, month, day of the
// week), six (a year behind them) or seven (seconds in front).
func readCron(expression string) (cronExpression, error) {
	if alias, ok := cronAliases()[strings.ToLower(strings.TrimSpace(expression))]; ok {
		expression = alias
	}
	written := strings.Fields(expression)
	if len(expression) > 256 || len(written) < 5 || len(written) > 7 {
		return cronExpression{}, errors.New("want a cron expression of five to seven fields, such as \"* 23 * * 1-5\"")
	}
	c := cronExpression{seconds: len(written) == 7}
	six := len(written) == 6
	var entries [7]cronEntries
	for i, text := range sevenFields(written) {
		var err error
		if entries[i], err = cronFields()[i].read(text); err == nil {
			c.line += " " + entries[i].String()
			continue
		}
		if six && i == 6 {
			err = fmt.Errorf("%w: the sixth field is the year; %s", err, adviseSeven(written))
		}
		return cronExpression{}, err
	}
	if six && entries[6].matchesAll {
		c.warning = "the sixth field is the year, and the first the minute; if the first is meant as seconds, " + adviseSeven(written)
	}
	c.setStrides(entries)
	return c, nil
}

// sevenFields completes the fields to seven: at second 0, in any year.
func sevenFields(written []string) []string {
	all := written
	if len(written) < 7 {
		all = append([]string{"0"}, written...)
	}
	if len(written) == 5 {
		all = append(all, "*")
	}
	return all
}

func adviseSeven(written []string) string {
	return fmt.Sprintf("want seven fields: \"%s *\"", strings.Join(written, " "))
}

func (c *cronExpression) setStrides(entries [7]cronEntries) {
	second, minute, hour := &entries[0], &entries[1], &entries[2]
	long := time.Minute
	if minute.matchesEach(60) {
		long = time.Hour
		if hour.matchesEach(24) {
			long = 24 * time.Hour
		}
	}
	c.stride, c.byMinute = time.Second, time.Minute
	if second.matchesEach(60) {
		c.stride = long
	}
	if second.matchesAll || second.values[0] {
		c.byMinute = long
	}
}

// cronEntries are the values that one field matches.
type cronEntries struct {
	matchesAll bool // the field is not limited
	values     map[int]bool
	dayEntries []string // entries such as 5L, which the library evaluates
}

func (e *cronEntries) matchesEach(size int) bool { return e.matchesAll || len(e.values) == size }

func (e *cronEntries) String() string {
	if e.matchesAll {
		return "*"
	}
	words := slices.Clone(e.dayEntries)
	for _, value := range slices.Sorted(maps.Keys(e.values)) {
		words = append(words, strconv.Itoa(value))
	}
	return strings.Join(words, ",")
}

// read reads the entries of a field. Commas separate them.
func (f cronField) read(text string) (cronEntries, error) {
	e := cronEntries{values: map[int]bool{}}
	for entry := range strings.SplitSeq(strings.ToLower(text), ",") {
		special, ok := f.dayEntry(entry)
		switch {
		case entry == "":
		case entry == "*" || entry == "?":
			e.matchesAll = true
		case ok:
			e.dayEntries = append(e.dayEntries, special)
		default:
			if err := f.addRange(entry, e.values); err != nil {
				return e, fmt.Errorf("%s field: %.40q: %w", f.name, entry, err)
			}
		}
	}
	if !e.matchesAll && len(e.dayEntries)+len(e.values) == 0 {
		return e, fmt.Errorf("%s field: %.40q: want %s", f.name, text, f.want)
	}
	return e, nil
}

// dayEntry returns an entry for days that differ from month to month, in the form of the library.
func (f cronField) dayEntry(entry string) (string, bool) {
	suffix := ""
	switch f.name {
	case "day-of-month":
		if entry == "l" || entry == "lw" {
			return entry, true
		}
		suffix = suffixOf(entry, "w")
	case "day-of-week":
		suffix = suffixOf(entry, "l", "#1", "#2", "#3", "#4", "#5")
	}
	if suffix == "" {
		return "", false
	}
	value, err := f.value(strings.TrimSuffix(entry, suffix))
	return strconv.Itoa(value%(f.max+1)) + suffix, err == nil
}

// suffixOf returns the suffix that an entry has, or "" if it has none of them.
func suffixOf(entry string, suffixes ...string) string {
	for _, suffix := range suffixes {
		if strings.HasSuffix(entry, suffix) {
			return suffix
		}
	}
	return ""
}

// addRange adds the values of one entry: 5, 5-20, 5/10, */10 or 5-20/10. A range that is written
// backwards goes on after the largest value with the smallest one, and its steps go on, too.
func (f cronField) addRange(entry string, values map[int]bool) error {
	span, by, stepped := strings.Cut(entry, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(by)
		if err != nil || n < 1 || n > f.max {
			return fmt.Errorf("want a step of 1 to %d", f.max)
		}
		step = n
	}
	from, to, err := f.rangeEnds(span, stepped)
	if err != nil {
		return err
	}
	size := f.max - f.min + 1
	for value := from; value <= to; value += step {
		values[f.min+(value-f.min)%size] = true
	}
	return nil
}

// rangeEnds returns the first and the last value of a range. The last value is above the largest
// one if the range is written backwards.
func (f cronField) rangeEnds(span string, stepped bool) (from, to int, err error) {
	if span == "*" {
		return f.min, f.max, nil
	}
	first, last, ranged := strings.Cut(span, "-")
	if from, err = f.value(first); err != nil {
		return 0, 0, err
	}
	switch {
	case ranged:
		if to, err = f.value(last); err != nil {
			return 0, 0, err
		}
	case stepped:
		from, to = f.min+(from-f.min)%(f.max-f.min+1), f.max
	default:
		to = from
	}
	return f.wrapRange(from, to)
}

// wrapRange puts the last value of a range that is written backwards above the largest value.
func (f cronField) wrapRange(from, to int) (int, int, error) {
	size := f.max - f.min + 1
	switch {
	case from > f.max && to > f.max: // Sunday alone, as the seventh day
		return from - size, to - size, nil
	case from > f.max:
		return from - size, to, nil
	case to < from && !f.wrapsAround:
		return 0, 0, errors.New("want a range whose first year is not after its last")
	case to < from:
		return from, to + size, nil
	default:
		return from, to, nil
	}
}

// value reads one number or name. Sunday is the day of the week 0, and 7.
func (f cronField) value(text string) (int, error) {
	for i, name := range f.names {
		if text == name || text == name[:3] {
			return f.min + i, nil
		}
	}
	top := f.max
	if f.name == "day-of-week" {
		top++
	}
	n, err := strconv.ParseUint(text, 10, 16) // without a sign
	if err != nil || int(n) < f.min || int(n) > top || len(text) > 4 {
		return 0, fmt.Errorf("want %s", f.want)
	}
	return int(n), nil
}
