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
	name       string
	least, top int
	names      []string // of the values from least on
	// rounds says that the least value comes after the top one: a range may
	// begin late and end early, such as 22-5 of hours.
	rounds bool
	want   string
}

// cronFields are the seven fields, in the order in which they are written.
func cronFields() [7]cronField {
	return [7]cronField{
		{name: "second", top: 59, rounds: true, want: "0 to 59"},
		{name: "minute", top: 59, rounds: true, want: "0 to 59"},
		{name: "hour", top: 23, rounds: true, want: "0 to 23"},
		{name: "day-of-month", least: 1, top: 31, rounds: true, want: "1 to 31, L, LW, or such as 15W"},
		{name: "month", least: 1, top: 12, rounds: true, names: strings.Fields(monthNames), want: "1 to 12, or JAN to DEC"},
		{name: "day-of-week", top: 6, rounds: true, names: strings.Fields(dayNames), want: "0 to 7, SUN to SAT, or such as 5L and 5#3"},
		{name: "year", least: 1970, top: 2099, want: "1970 to 2099"},
	}
}

// cronAliases stand for a whole expression each.
func cronAliases() map[string]string {
	return map[string]string{
		"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
		"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
	}
}

// cronText is a cron expression in the words that the library takes as they are
// meant: seven fields, with every range as the list of its values.
type cronText struct {
	line    string
	seconds bool // they were written, and count
	// stride is how far apart matches are to be looked for, to tell when they
	// stop: all moments of an hour match, or none, if minutes are not limited.
	// byMinute is the same if a match stands for the rest of its minute.
	stride, byMinute time.Duration
	warning          string
}

// readCron reads an expression of five fields (minute, hour, day of the month,
// month, day of the week), six (a year behind them) or seven (seconds in front).
func readCron(expression string) (cronText, error) {
	if alias, ok := cronAliases()[strings.ToLower(strings.TrimSpace(expression))]; ok {
		expression = alias
	}
	written := strings.Fields(expression)
	if len(expression) > 256 || len(written) < 5 || len(written) > 7 {
		return cronText{}, errors.New("want a cron expression of five to seven fields, such as \"* 23 * * 1-5\"")
	}
	c := cronText{seconds: len(written) == 7}
	six := len(written) == 6
	var entries [7]cronEntries
	for i, text := range allFields(written) {
		var err error
		if entries[i], err = cronFields()[i].read(text); err == nil {
			c.line += " " + entries[i].String()
			continue
		}
		if six && i == 6 {
			err = fmt.Errorf("%w: the sixth field is the year; %s", err, withSeconds(written))
		}
		return cronText{}, err
	}
	if six && entries[6].any {
		c.warning = "the sixth field is the year, and the first the minute; if the first is meant as seconds, " + withSeconds(written)
	}
	c.setStrides(entries)
	return c, nil
}

// allFields returns seven fields: at second 0 of any year, unless they say more.
func allFields(written []string) []string {
	all := written
	if len(written) < 7 {
		all = append([]string{"0"}, written...)
	}
	if len(written) == 5 {
		all = append(all, "*")
	}
	return all
}

func withSeconds(written []string) string {
	return fmt.Sprintf("want seven fields: \"%s *\"", strings.Join(written, " "))
}

func (c *cronText) setStrides(entries [7]cronEntries) {
	second, minute, hour := &entries[0], &entries[1], &entries[2]
	long := time.Minute
	if minute.all(60) {
		long = time.Hour
		if hour.all(24) {
			long = 24 * time.Hour
		}
	}
	c.stride, c.byMinute = time.Second, time.Minute
	if second.all(60) {
		c.stride = long
	}
	if second.any || second.values[0] {
		c.byMinute = long
	}
}

// cronEntries are what one field matches.
type cronEntries struct {
	any     bool // it is not limited
	values  map[int]bool
	special []string // what only the library knows the days of
}

func (e *cronEntries) all(size int) bool { return e.any || len(e.values) == size }

func (e *cronEntries) String() string {
	if e.any {
		return "*"
	}
	words := slices.Clone(e.special)
	for _, value := range slices.Sorted(maps.Keys(e.values)) {
		words = append(words, strconv.Itoa(value))
	}
	return strings.Join(words, ",")
}

// read reads the entries of a field, which commas part.
func (f cronField) read(text string) (cronEntries, error) {
	e := cronEntries{values: map[int]bool{}}
	for entry := range strings.SplitSeq(strings.ToLower(text), ",") {
		special, ok := f.special(entry)
		switch {
		case entry == "":
		case entry == "*" || entry == "?":
			e.any = true
		case ok:
			e.special = append(e.special, special)
		default:
			if err := f.span(entry, e.values); err != nil {
				return e, fmt.Errorf("%s field: %.40q: %w", f.name, entry, err)
			}
		}
	}
	if !e.any && len(e.special)+len(e.values) == 0 {
		return e, fmt.Errorf("%s field: %.40q: want %s", f.name, text, f.want)
	}
	return e, nil
}

// special returns an entry for days that differ from month to month, as the
// library has it.
func (f cronField) special(entry string) (string, bool) {
	suffix := ""
	switch f.name {
	case "day-of-month":
		if entry == "l" || entry == "lw" {
			return entry, true
		}
		suffix = ending(entry, "w")
	case "day-of-week":
		suffix = ending(entry, "l", "#1", "#2", "#3", "#4", "#5")
	}
	if suffix == "" {
		return "", false
	}
	value, err := f.value(strings.TrimSuffix(entry, suffix))
	return strconv.Itoa(value%(f.top+1)) + suffix, err == nil
}

// ending returns the suffix that an entry has, empty if it has none of them.
func ending(entry string, suffixes ...string) string {
	for _, suffix := range suffixes {
		if strings.HasSuffix(entry, suffix) {
			return suffix
		}
	}
	return ""
}

// span adds the values of one entry: 5, 5-20, 5/10, */10 or 5-20/10. A range that
// is written backwards goes on after the top value with the least one, and its
// steps are counted through.
func (f cronField) span(entry string, values map[int]bool) error {
	span, by, stepped := strings.Cut(entry, "/")
	step := 1
	if stepped {
		n, err := strconv.Atoi(by)
		if err != nil || n < 1 || n > f.top {
			return fmt.Errorf("want a step of 1 to %d", f.top)
		}
		step = n
	}
	from, to, err := f.ends(span, stepped)
	if err != nil {
		return err
	}
	size := f.top - f.least + 1
	for value := from; value <= to; value += step {
		values[f.least+(value-f.least)%size] = true
	}
	return nil
}

// ends returns the first and the last value of a range, which is above the top
// value if the range begins anew below it.
func (f cronField) ends(span string, stepped bool) (from, to int, err error) {
	if span == "*" {
		return f.least, f.top, nil
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
		from, to = f.least+(from-f.least)%(f.top-f.least+1), f.top
	default:
		to = from
	}
	return f.wrap(from, to)
}

// wrap puts the last value of a range that is written backwards above the top value.
func (f cronField) wrap(from, to int) (int, int, error) {
	size := f.top - f.least + 1
	switch {
	case from > f.top && to > f.top: // Sunday alone, as the seventh day
		return from - size, to - size, nil
	case from > f.top:
		return from - size, to, nil
	case to < from && !f.rounds:
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
			return f.least + i, nil
		}
	}
	top := f.top
	if f.name == "day-of-week" {
		top++
	}
	n, err := strconv.ParseUint(text, 10, 16) // without a sign
	if err != nil || int(n) < f.least || int(n) > top || len(text) > 4 {
		return 0, fmt.Errorf("want %s", f.want)
	}
	return int(n), nil
}
