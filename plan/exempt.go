package plan

import (
	"errors"
	"fmt"
	"strings"
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
// The syntax is that of https://github.com/gorhill/cronexpr.
func Cron(expression string, now time.Time) (Exemption, error) {
	const want = "want a cron expression of five to seven fields, such as \"* 23 * * 1-5\""
	if len(expression) > 256 || len(strings.Fields(expression)) > 7 {
		return Exemption{}, errors.New(want)
	}
	cron, err := cronexpr.Parse(expression)
	if err != nil {
		return Exemption{}, fmt.Errorf("%w: %s", err, want)
	}
	e := Exemption{cron: cron, step: time.Minute}
	if len(strings.Fields(expression)) == 7 {
		e.step = time.Second
	}
	first, err := cronNext(cron, now.UTC())
	if err != nil {
		return Exemption{}, fmt.Errorf("%w: %s", err, want)
	}
	if first.IsZero() {
		return Exemption{}, ErrOver
	}
	return e, nil
}

// cronNext returns the first match after t, zero if there is none. The library
// accepts some expressions, such as the reversed range in `* 22-2 * * *`, and
// panics when asked for their next match; that is an error here.
func cronNext(cron *cronexpr.Expression, t time.Time) (at time.Time, err error) {
	defer func() {
		if recover() != nil {
			at, err = time.Time{}, errors.New("a field matches nothing (ranges cannot be reversed)")
		}
	}()
	own := *cron // Next keeps notes in its receiver
	return own.Next(t), nil
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
	at, err := cronNext(e.cron, t.Truncate(e.step).Add(-time.Second))
	switch {
	case err != nil || at.IsZero():
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
