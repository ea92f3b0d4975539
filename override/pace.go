package override

import (
	"cmp"
	"time"
)

// Damp keeps a number from following an intensity that wobbles around a bound. It returns the
// number to set now. If the wanted number may only be set later, Damp also returns when to look
// again.
//
// A number rises only as far as cautious, which is the number that a slightly worse intensity would
// give. A number falls from mayFall on. The zero mayFall lets the number fall at once.
func Damp[N cmp.Ordered](current, wanted, cautious N, mayFall, now time.Time) (number N, again time.Time) {
	switch {
	case wanted > current:
		return max(current, min(wanted, cautious)), time.Time{}
	case wanted < current && now.Before(mayFall):
		return current, mayFall
	default:
		return wanted, time.Time{}
	}
}

// MayChange returns from when on what was last changed at a time may change again, if that is to take an
// interval. It returns zero, for at once, if the time is not known. A time in the future does not count: a
// clock that was ahead has noted the time, and nothing would change until then.
func MayChange(changed time.Time, interval time.Duration, now time.Time) time.Time {
	if changed.IsZero() || changed.After(now) {
		return time.Time{}
	}
	return changed.Add(interval)
}

// Soonest returns the first of some times. Zero times do not count. If all are zero, so is the result.
func Soonest(times ...time.Time) (first time.Time) {
	for _, at := range times {
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}
