package plan

import (
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// furthest is how far ahead the end of an exempt time is looked for.
const maxExemptionSearch = 12 * time.Hour

// Level is what holds at one location at one moment, of which ceilings are
// made: the intensity, and whether it counts.
type Level struct {
	// Location is as the forecast names it.
	Location string
	// Intensity in gCO2eq/kWh; it means nothing unless Known.
	Intensity float64
	IsKnown   bool
	// Missing says why the intensity is not known, or not to be trusted.
	UnknownReason string
	// Exempt says that carbon does not count now.
	IsExempt bool
	// Buckets may set no limit.
	Buckets Buckets
	// Expected is what is expected from now on; it may be empty.
	Expected *forecast.Series
	// Until is the first moment at which Intensity, Known or Exempt may be
	// other than now by itself; zero if there is none.
	ValidUntil time.Time
}

// Applies reports whether t is exempt.
func (e Exemption) Applies(t time.Time) bool {
	at := e.next(t)
	return !at.IsZero() && at.Equal(t)
}

// Turn returns the next moment after t at which the exemption begins or ends,
// zero if it never does. The end of one that lasts longer than twelve hours is
// not looked for: it is then t plus twelve hours.
func (e Exemption) NextChange(t time.Time) time.Time {
	begins := e.next(t)
	switch {
	case begins.IsZero() || begins.After(t):
		return begins
	case e.cron == nil:
		return e.to.UTC()
	}
	latest := t.UTC().Add(maxExemptionSearch)
	for at := e.boundary(t.Add(e.moved)); ; at = e.boundary(at) {
		switch end := at.Add(-e.moved); {
		case !end.Before(latest):
			return latest
		case !e.Applies(end):
			return end
		}
	}
}

// boundary returns the next moment after t at which the wall clock of the zone shows a
// multiple of stride, or changes.
func (e Exemption) boundary(t time.Time) time.Time {
	local := t.In(e.zoneOrUTC())
	_, offset := local.Zone()
	ahead := time.Duration(offset) * time.Second
	at := t.UTC().Add(ahead).Truncate(e.stride).Add(e.stride - ahead)
	if _, change := local.ZoneBounds(); !change.IsZero() && change.Before(at) {
		return change.UTC()
	}
	return at
}

// ByMinute returns the exemption with each match of a cron expression standing
// for what is left of its minute, however many fields there are.
func (e Exemption) WholeMinutes() Exemption {
	e.step, e.stride = time.Minute, e.byMinute
	return e
}

// Earlier returns the exemption of a cron expression, moved to an earlier time.
func (e Exemption) MovedEarlier(by time.Duration) Exemption {
	e.moved += by
	return e
}

// NextTurn returns the next moment after t at which one of the exemptions
// begins or ends, zero if there is none, and whether one applies at t.
func NextExemptionChange(exemptions []Exemption, t time.Time) (next time.Time, exempt bool) {
	for _, e := range exemptions {
		exempt = exempt || e.Applies(t)
		if at := e.NextChange(t); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, exempt
}
