package plan

import (
	"fmt"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// maxExemptionSearch is how far ahead the end of an exemption is searched for.
const maxExemptionSearch = 12 * time.Hour

// Level is what ceilings are computed from: the intensity at one location at one moment, and
// whether carbon counts.
type Level struct {
	// Location is the name that the forecast uses.
	Location string
	// Intensity is in gCO2eq/kWh. It means nothing unless IsKnown.
	Intensity float64
	IsKnown   bool
	// UnknownReason says why the intensity is unknown, or not to be trusted.
	UnknownReason string
	// HasNoLocation says that the policy does not have the location that was asked for. UnknownReason
	// names the locations that the policy has.
	HasNoLocation bool
	// IsUnread says that nobody has looked for the forecast yet. So it is too early to say that there is none.
	IsUnread bool
	// IsExempt says that carbon does not count now.
	IsExempt bool
	// IsAudited says that the ceilings are only told, and not set.
	IsAudited bool
	// Buckets may set no limit.
	Buckets Buckets
	// Expected is what is expected from now on; it may be empty.
	Expected *forecast.Series
	// Past is what is known of the last two days. It may be empty, and may have gaps.
	Past *forecast.Series
	// ValidUntil is the first moment at which Intensity, IsKnown or IsExempt may change by itself;
	// zero if there is none.
	ValidUntil time.Time
}

// WhyNot says why nothing is limited at the level, for people: the part that stays true, and what is
// true at this moment. Both are empty if the intensity counts. isKnown says that the intensity would
// count if the policy did not only audit.
func (l Level) WhyNot(now time.Time) (why, detail string, isKnown bool) {
	switch {
	case l.IsExempt:
		return "carbon does not count, by an exemption of the policy", "since " + FormatTime(now), false
	case !l.IsKnown:
		return "there is no usable forecast", l.UnknownReason, false
	case l.IsAudited:
		return "the policy has the mode Audit", "", true
	default:
		return "", "", true
	}
}

// InBucket says in which of some buckets the intensity is: "at DE is in the bucket <=350".
func (l Level) InBucket(b Buckets) string {
	where, bucket := "", b.Name(l.Intensity)
	if l.Location != "" {
		where = "at " + l.Location + " "
	}
	if bucket == "" {
		bucket = "for any intensity"
	}
	return where + "is in the bucket " + bucket
}

// Tell names the intensity now, and says when the ceiling of some buckets is expected to change.
func (l Level) Tell(b Buckets, now time.Time) string {
	text := fmt.Sprintf("%.0f gCO2eq/kWh at %s", l.Intensity, FormatTime(now))
	for boundary := range l.Expected.Boundaries(now, l.Expected.End()) {
		next, isKnown := l.Expected.At(boundary)
		if isKnown && b.Ceiling(next) != b.Ceiling(l.Intensity) {
			return text + TellChange(boundary)
		}
	}
	return text
}

// expectedChange stands before the time of a change in what [TellChange] says.
const expectedChange = ", expected to change at "

// TellChange says when a change is expected, as the end of a sentence.
func TellChange(at time.Time) string { return expectedChange + FormatTime(at) }

// NextTold returns the first change after a moment that a text of [Level.Tell] or [TellChange] expects, or
// several of these in one text. It returns zero if the text expects none.
func NextTold(text string, after time.Time) (first time.Time) {
	for {
		var isThere bool
		if _, text, isThere = strings.Cut(text, expectedChange); !isThere {
			return first
		}
		at, err := time.Parse(timeLayout, text[:min(len(text), len(timeLayout))])
		if err == nil && at.After(after) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
}

// IsTold reports whether a text of [Level.Tell], or several of these in one text, expects a change at any time.
func IsTold(text string) bool { return strings.Contains(text, expectedChange) }

// Applies reports whether t is exempt.
func (e Exemption) Applies(t time.Time) bool {
	at := e.next(t)
	return !at.IsZero() && at.Equal(t)
}

// NextChange returns the next moment after t at which the exemption begins or ends, or zero if
// there is none. It searches twelve hours for the end of an exemption, and returns t plus twelve
// hours if it finds none.
func (e Exemption) NextChange(t time.Time) time.Time {
	begins := e.next(t)
	switch {
	case begins.IsZero() || begins.After(t):
		return begins
	case e.cron == nil:
		return e.to.UTC()
	}
	latest := t.UTC().Add(maxExemptionSearch)
	for at := e.boundary(t.Add(e.movedBy)); ; at = e.boundary(at) {
		switch end := at.Add(-e.movedBy); {
		case !end.Before(latest):
			return latest
		case !e.Applies(end):
			return end
		}
	}
}

// boundary returns the next moment after t at which the wall clock of the zone shows a multiple of
// stride, or is changed.
func (e Exemption) boundary(t time.Time) time.Time {
	local := t.In(e.zoneOrUTC())
	_, seconds := local.Zone()
	offset := time.Duration(seconds) * time.Second
	at := t.UTC().Add(offset).Truncate(e.stride).Add(e.stride - offset)
	if _, change := local.ZoneBounds(); !change.IsZero() && change.Before(at) {
		return change.UTC()
	}
	return at
}

// WholeMinutes returns the exemption with every match of its cron expression extended to the end of
// the minute, even if the expression has seconds.
func (e Exemption) WholeMinutes() Exemption {
	e.step, e.stride = time.Minute, e.byMinute
	return e
}

// MovedEarlier returns the exemption of a cron expression, moved to an earlier time.
func (e Exemption) MovedEarlier(by time.Duration) Exemption {
	e.movedBy += by
	return e
}

// NextExemptionChange returns the next moment after t at which one of the exemptions begins or
// ends, or zero if there is none, and whether an exemption applies at t.
func NextExemptionChange(exemptions []Exemption, t time.Time) (next time.Time, exempt bool) {
	for _, e := range exemptions {
		exempt = exempt || e.Applies(t)
		if at := e.NextChange(t); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return next, exempt
}
