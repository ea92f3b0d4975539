package plan

import (
	"errors"
	"fmt"
	"time"

	"github.com/gorhill/cronexpr"
)

// Exemption is a time when carbon does not count: either the minutes that a cron expression names,
// or one period. The zero value never applies. An exemption is safe for concurrent use.
type Exemption struct {
	cron     *cronexpr.Expression
	step     time.Duration  // how long one match of cron lasts
	movedBy  time.Duration  // by how much earlier than cron says
	zone     *time.Location // the zone of cron; nil is UTC
	from, to time.Time
	// The end of an exemption is searched for at multiples of stride. byMinute is the stride if
	// each match lasts to the end of its minute.
	stride, byMinute time.Duration
	warning          string
}

// ErrNeverMatches is the error of a cron expression that does not match any more.
var ErrNeverMatches = errors.New("this expression matches no future time")

// NewExemption exempts [from, to).
func NewExemption(from, to time.Time) (Exemption, error) {
	if !from.Before(to) {
		return Exemption{}, fmt.Errorf("from %s must be before to %s", FormatTime(from), FormatTime(to))
	}
	return Exemption{from: from, to: to}, nil
}

// ParseCronExemption exempts the minutes (the seconds, if there are seven fields) that a cron
// expression of five to seven fields matches, in UTC. It returns [ErrNeverMatches] for an
// expression that matches no time after now.
//
// The syntax is the one of https://github.com/gorhill/cronexpr. In addition, a range may be written
// backwards in every field but the year: 22-5 are the hours from 22 to 5, FRI-MON the days from
// Friday to Monday, and NOV-FEB/2 November and January. Sunday is 0 and 7. Each field counts by
// itself: if days are given, too, the hours 22-5 are the first and the last hours of those days.
func ParseCronExemption(expression string, now time.Time) (Exemption, error) {
	text, err := readCron(expression)
	if err != nil {
		return Exemption{}, err
	}
	cron, err := cronexpr.Parse(text.line)
	if err != nil {
		return Exemption{}, fmt.Errorf("want a cron expression: %w", err)
	}
	e := Exemption{cron: cron, step: time.Minute, stride: text.byMinute, byMinute: text.byMinute, warning: text.warning}
	if text.seconds {
		e.step, e.stride = time.Second, text.stride
	}
	if cronNext(cron, now.UTC()).IsZero() {
		return Exemption{}, ErrNeverMatches
	}
	return e, nil
}

// Warning says what in a cron expression is probably a mistake; empty if there is nothing.
func (e Exemption) Warning() string { return e.warning }

// cronNext returns the first match after t, or zero if there is none.
func cronNext(cron *cronexpr.Expression, t time.Time) time.Time {
	own := *cron // Next writes to its receiver
	return own.Next(t)
}

// next returns the first exempt moment at or after t, or zero if there is none.
func (e Exemption) next(t time.Time) time.Time {
	if e.cron == nil {
		switch {
		case e.from.IsZero() || !t.Before(e.to):
			return time.Time{}
		case t.Before(e.from):
			return e.from.UTC()
		default:
			return t
		}
	}
	at := e.match(t.Add(e.movedBy))
	if at.IsZero() {
		return time.Time{}
	}
	return at.Add(-e.movedBy)
}

// match returns the first moment at or after t that cron matches, or zero if there is none. It asks
// cron about the wall clock of the zone, between one change of the clock and the next. A minute
// that the clock skips never matches, and a minute that it repeats matches twice.
func (e Exemption) match(t time.Time) time.Time {
	for t = t.In(e.zoneOrUTC()); ; {
		_, seconds := t.Zone()
		offset := time.Duration(seconds) * time.Second
		wall := t.UTC().Add(offset)
		found := cronNext(e.cron, wall.Truncate(e.step).Add(-time.Second))
		if found.IsZero() {
			return time.Time{}
		}
		if found.Before(wall) {
			found = wall
		}
		at := found.Add(-offset)
		_, change := t.ZoneBounds()
		if change.IsZero() || at.Before(change) {
			return at
		}
		t = change
	}
}

// InZone returns the exemption with its cron expression in a time zone. The zone of a new exemption
// is UTC.
func (e Exemption) InZone(zone *time.Location) Exemption {
	e.zone = zone
	return e
}

func (e Exemption) zoneOrUTC() *time.Location {
	if e.zone == nil {
		return time.UTC
	}
	return e.zone
}

// nextExempt returns the first exempt moment in [now, until], or zero if there is none.
func nextExempt(exemptions []Exemption, now, until time.Time) time.Time {
	var first time.Time
	for _, e := range exemptions {
		at := e.next(now)
		if at.IsZero() || at.After(until) {
			continue
		}
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}
