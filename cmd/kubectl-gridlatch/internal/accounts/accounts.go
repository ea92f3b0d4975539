// Package accounts makes reports of the ledger: what work emitted, what waiting saved and lost, and
// what these figures can and cannot claim.
package accounts

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger"
	"github.com/gridlatch/gridlatch/ledger/energy"
)

const day = 24 * time.Hour

// Dimension is what a report can be broken down by.
type Dimension string

// The dimensions. Source is the source of the energy.
const (
	Namespace Dimension = "namespace"
	Policy    Dimension = "policy"
	Location  Dimension = "location"
	Owner     Dimension = "owner"
	Day       Dimension = "day"
	Month     Dimension = "month"
	Source    Dimension = "source"
	Mode      Dimension = "mode"
)

// Dimensions returns all dimensions.
func Dimensions() []Dimension {
	return []Dimension{Namespace, Policy, Location, Owner, Day, Month, Mode, Source}
}

// IsTime reports whether a dimension is a span of time.
func (d Dimension) IsTime() bool { return d == Day || d == Month }

// ParseDimensions reads the names of dimensions. A name that comes twice counts once.
func ParseDimensions(names []string) ([]Dimension, error) {
	var by []Dimension
	for _, name := range names {
		d := Dimension(strings.TrimSpace(name))
		if !slices.Contains(Dimensions(), d) {
			return nil, fmt.Errorf("%q: want %s", name, join(Dimensions(), "or"))
		}
		if !slices.Contains(by, d) {
			by = append(by, d)
		}
	}
	if len(by) == 0 {
		return nil, errors.New("want at least one of " + join(Dimensions(), "and"))
	}
	return by, nil
}

// join lists words, with a word before the last one.
func join[T ~string](words []T, last string) string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	if len(texts) < 2 {
		return strings.Join(texts, "")
	}
	return strings.Join(texts[:len(texts)-1], ", ") + " " + last + " " + texts[len(texts)-1]
}

// Question says what a report is about.
type Question struct {
	// Since and Until bound the time in which work ended. Each day and month counts as a whole.
	Since, Until time.Time
	By           []Dimension
	// Namespace is the only namespace that counts; all count if it is empty.
	Namespace string
	// WithGroups asks for each group that the pages still have.
	WithGroups bool
	Now        time.Time
}

// covers reports whether a page has work that ended in the time that is asked for.
func (q Question) covers(name string) bool {
	from, to, ok := spanOf(name)
	return ok && from.Before(q.Until) && to.After(q.Since)
}

// spanOf returns the span of a page by its name: a day or a month.
func spanOf(name string) (from, to time.Time, ok bool) {
	if from, err := time.Parse(time.DateOnly, name); err == nil {
		return from, from.Add(day), true
	}
	from, err := time.Parse("2006-01", name)
	return from, from.AddDate(0, 1, 0), err == nil
}

// isMonth reports whether a page is the page of a month.
func isMonth(name string) bool { return len(name) == len("2006-01") }

// Report is the report of a time. Sections of different modes are never summed.
type Report struct {
	// From and To are the first and the last day of the report.
	From string    `json:"from"`
	To   string    `json:"to"`
	Made time.Time `json:"made"`
	// Written is when the ledger was last written; nil if that is unknown.
	Written   *time.Time  `json:"ledgerWritten,omitempty"`
	Namespace string      `json:"namespace,omitempty"`
	By        []Dimension `json:"by"`
	Sections  []Section   `json:"sections"`
	Signals   []Signal    `json:"signals"`
	// Census is of the whole cluster; nil if nobody has counted, or if the report is of one namespace.
	Census *Census `json:"census,omitempty"`
	// Claims say in plain words what the figures can and cannot claim.
	Claims []string `json:"claims"`
	// Groups are the groups that the pages still have one by one; nil if nobody asks for them.
	Groups []GroupRow `json:"groups,omitempty"`

	Warnings []string `json:"-"`
	// IsPartial says that a part of the ledger could not be read.
	IsPartial bool `json:"partial,omitempty"`
}

// Section has the figures of the work of one mode.
type Section struct {
	Mode ledger.Mode `json:"mode"`
	Rows []Row       `json:"rows"`
	// Total sums the rows.
	Total Figures `json:"total"`
	// Course has a row for each day, or for each month if the report covers many days.
	Course []Row `json:"-"`
}

// Row has the figures of some work.
type Row struct {
	Keys map[Dimension]string `json:"keys"`
	Figures
	// Values are the values of the keys, in the order that was asked for.
	Values []string `json:"-"`
}

// Signal says where the intensities of a location come from.
type Signal struct {
	Location string          `json:"location"`
	Origin   forecast.Origin `json:"origin"`
}

// maxCourseDays is how many days are drawn one by one.
const maxCourseDays = 93

// New makes a report of what was read of the ledger.
func New(q Question, l *Ledger) Report {
	r := Report{
		Made: q.Now, Namespace: q.Namespace, By: q.By, Warnings: l.Warnings, IsPartial: l.IsPartial,
		From: ledger.DayOf(q.Since), To: ledger.DayOf(q.Until.Add(-1)), Sections: []Section{}, Signals: []Signal{},
	}
	if !l.Written.IsZero() {
		written := l.Written.UTC()
		r.Written = &written
	}
	found := l.sums(q)
	course := Day
	if q.Until.Sub(q.Since) > maxCourseDays*day {
		course = Month
	}
	for _, mode := range []ledger.Mode{ledger.Enforce, ledger.Audit} {
		section := Section{Mode: mode, Rows: found.rows(mode, q.By), Course: found.rows(mode, []Dimension{course})}
		if len(section.Rows) == 0 {
			continue
		}
		section.Total = found.rows(mode, nil)[0].Figures
		r.Sections = append(r.Sections, section)
	}
	r.Signals, r.Census = l.signals(found), l.census(q)
	r.Claims = claims(r, q, l, found)
	if q.WithGroups {
		r.Groups = l.groups(q)
	}
	return r
}

// dated is a sum of a page.
type dated struct {
	page string
	ledger.Sum
}

// sums are the sums of a report.
type sums []dated

// sums returns the sums that a question is about.
func (l *Ledger) sums(q Question) sums {
	var found sums
	for _, p := range l.Pages {
		for _, sum := range p.Sums(l.Actuals) {
			l.hasOthers = l.hasOthers || sum.Owner == ledger.Others || sum.Namespace == ledger.Others
			if q.Namespace == "" || sum.Namespace == q.Namespace {
				found = append(found, dated{p.Name(), sum})
			}
		}
	}
	return found
}

// value returns the value of a dimension.
func (s dated) value(d Dimension) string {
	switch d {
	case Namespace:
		return s.Namespace
	case Policy:
		return s.Policy
	case Location:
		return s.Location
	case Owner:
		return s.Owner
	case Day:
		return s.page
	case Month:
		return s.page[:len("2006-01")]
	case Source:
		return string(s.Energy)
	default:
		return string(s.Mode)
	}
}

// rows returns a row for each combination of values. Rows of days and months are in the order of
// time, other rows begin with those that took the most energy.
func (all sums) rows(mode ledger.Mode, by []Dimension) []Row {
	tallies, order := map[string]*tally{}, []*tally(nil)
	for _, sum := range all {
		if sum.Mode != mode {
			continue
		}
		values := make([]string, len(by))
		for i, d := range by {
			values[i] = sum.value(d)
		}
		key := fmt.Sprintf("%q", values)
		if tallies[key] == nil {
			tallies[key] = &tally{mode: mode, values: values, energy: map[energy.Source]share{}}
			order = append(order, tallies[key])
		}
		tallies[key].add(sum.Sum)
	}
	slices.SortStableFunc(order, func(a, b *tally) int {
		if len(by) > 0 && by[0].IsTime() {
			return slices.Compare(a.values, b.values)
		}
		return cmp.Or(-cmp.Compare(a.sum.Joules, b.sum.Joules), slices.Compare(a.values, b.values))
	})
	rows := make([]Row, len(order))
	for i, t := range order {
		rows[i] = Row{Keys: map[Dimension]string{}, Values: t.values, Figures: t.figures()}
		for k, d := range by {
			rows[i].Keys[d] = t.values[k]
		}
	}
	return rows
}
