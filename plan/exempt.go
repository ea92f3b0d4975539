package plan

import (
	"errors"
	"fmt"
	"time"

	"github.com/gorhill/cronexpr"
)

// Exemption is a time when carbon does not count: either the minutes that a
// cron expression names, or one window. The zero value never applies. It is
// safe for concurrent use.
type Exemption struct {
	cron     *cronexpr.Expression
	step     time.Duration // what one match of cron stands for
	early    time.Duration // how much earlier than cron says
	from, to time.Time
	// stride is how far apart matches of cron are looked for to tell when they
	// stop, byMinute the same if each stands for what is left of its minute.
	stride, byMinute time.Duration
	warning          string
}

// ErrOver is the error of a cron expression that will not match again.
var ErrOver = errors.New("this expression matches no time to come")

// Window exempts [from, to).
func Window(from, to time.Time) (Exemption, error) {
	if !from.Before(to) {
		return Exemption{}, fmt.Errorf("from %s must be before to %s", Clock(from), Clock(to))
	}
	return Exemption{from: from, to: to}, nil
}

// Cron exempts the minutes (the seconds, if there are seven fields) that a
// cron expression of five to seven fields matches, in UTC. An expression that
// matches no time after now is [ErrOver].
//
// The syntax is that of https://github.com/gorhill/cronexpr, and a range may be
// written backwards in every field but the year: 22-5 are the hours from 22 to 5,
// FRI-MON the days from Friday to Monday, and NOV-FEB/2 November and January.
// Sunday is 0 and 7. Each field is for itself: with days beside them, hours 22-5
// are the first and the last hours of those days.
func Cron(expression string, now time.Time) (Exemption, error) {
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
		return Exemption{}, ErrOver
	}
	return e, nil
}

// Warning says what about a cron expression is probably not meant; it is empty
// if there is nothing.
func (e Exemption) Warning() string { return e.warning }

// cronNext returns the first match after t, zero if there is none.
func cronNext(cron *cronexpr.Expression, t time.Time) time.Time {
	own := *cron // Next keeps notes in its receiver
	return own.Next(t)
}

// next returns the first exempt moment at or after t, zero if there is none.
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
	t = t.UTC().Add(e.early)
	at := cronNext(e.cron, t.Truncate(e.step).Add(-time.Second))
	switch {
	case at.IsZero():
		return time.Time{}
	case at.Before(t):
		return t.Add(-e.early)
	default:
		return at.Add(-e.early)
	}
}

// nextExempt returns the first exempt moment in [now, until], zero if there is
// none.
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
