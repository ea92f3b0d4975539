package trigger

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// steps is in how many steps the share of a gradual wish falls. Each step is a write.
const steps = 10

// Verdict is what a wish comes to at a moment.
type Verdict struct {
	// Share is how clean the grid is: 1 is clean, and 0 is dirty. Only a gradual wish has shares
	// between the two.
	Share float64
	// IsKnown is false if the grid counts as clean because nothing is known of it.
	IsKnown bool
	// IsMistake says that the wish cannot be granted, and Reason says why.
	IsMistake bool
	// Reason is a sentence for people.
	Reason string
	// Next is when another share is expected, zero if that is not known.
	Next time.Time
	// Until is the first moment at which the verdict may change by itself, zero if there is none.
	Until time.Time
}

// IsClean reports whether anything may run because of the trigger.
func (v Verdict) IsClean() bool { return v.Share > 0 }

// Judge returns what the wish comes to at a level. The level is that of the wish's region and policy.
func (w *Wish) Judge(level plan.Level, now time.Time) Verdict {
	v := Verdict{Share: 1, IsKnown: true, Until: level.ValidUntil}
	switch {
	case level.HasNoLocation:
		v.IsMistake, v.IsKnown, v.Reason = true, false, level.UnknownReason
	case level.IsExempt:
		v.Reason = "the grid counts as clean, because carbon does not count now, by an exemption of the policy"
	case level.IsAudited:
		v.Reason = "the grid counts as clean, because the policy has the mode Audit"
	case w.CleanHours > 0:
		w.judgeDay(&v, level, now)
	case !level.IsKnown:
		v.countAsClean(level)
	default:
		w.judgeIntensity(&v, level, now)
	}
	if !v.Next.IsZero() && v.Next.After(now) && (v.Until.IsZero() || v.Next.Before(v.Until)) {
		v.Until = v.Next
	}
	return v
}

// countAsClean is the verdict where nothing is known.
func (v *Verdict) countAsClean(level plan.Level) {
	v.IsKnown, v.Share = false, 1
	v.Reason = "the grid counts as clean, because there is no usable forecast and no history: " + level.UnknownReason
}

// judgeIntensity compares the intensity now with the threshold.
func (w *Wish) judgeIntensity(v *Verdict, level plan.Level, now time.Time) {
	wasClean := w.wasClean(level.Past, now)
	share, isClean := w.share(level.Intensity, wasClean)
	v.Share = share
	isLingering := isClean && level.Intensity > w.Threshold
	for at := range level.Expected.Boundaries(now, level.Expected.End()) {
		intensity, isKnown := level.Expected.At(at)
		if !isKnown {
			continue
		}
		later, isCleanThen := w.share(intensity, isClean)
		if later != share {
			v.Next = at
			break
		}
		isClean = isCleanThen
	}
	v.Reason = w.reason(v, level, isLingering)
}

// share returns how clean an intensity is, and whether it counts as clean for what follows. wasClean
// says whether the intensity before was clean.
func (w *Wish) share(intensity float64, wasClean bool) (share float64, isClean bool) {
	if intensity <= w.Threshold || wasClean && intensity <= w.Threshold*(1+w.Hysteresis) {
		return 1, true
	}
	if w.GradualUpTo <= w.Threshold {
		return 0, false
	}
	left := (w.GradualUpTo - intensity) / (w.GradualUpTo - w.Threshold)
	return max(0, math.Round(left*steps)/steps), false
}

// wasClean reports whether the grid was clean before a moment: the newest intensity beyond the
// hysteresis decides. Where the past does not tell, the grid was not clean.
func (w *Wish) wasClean(past *forecast.Series, now time.Time) bool {
	if w.Hysteresis == 0 {
		return false
	}
	slots := past.Slots()
	for i := len(slots) - 1; i >= 0; i-- {
		switch before := slots[i]; {
		case !before.Start.Before(now):
		case before.Intensity <= w.Threshold:
			return true
		case before.Intensity > w.Threshold*(1+w.Hysteresis):
			return false
		}
	}
	return false
}

// reason says how the intensity compares with the threshold. isLingering says that only the
// hysteresis keeps the grid clean.
func (w *Wish) reason(v *Verdict, level plan.Level, isLingering bool) string {
	intensity, place := number(level.Intensity), at(level.Location)
	switch {
	case isLingering:
		return fmt.Sprintf("the grid%s is still clean: %s gCO2eq/kWh is at most %s%% above %s%s", place, intensity, number(w.Hysteresis*100), number(w.Threshold), v.expectation())
	case level.Intensity <= w.Threshold:
		return fmt.Sprintf("the grid%s is clean: %s gCO2eq/kWh is at most %s%s", place, intensity, number(w.Threshold), v.expectation())
	case v.Share > 0:
		return fmt.Sprintf("the grid%s is clean to %.0f%%: %s gCO2eq/kWh is between %s and %s%s", place, v.Share*100, intensity, number(w.Threshold), number(w.GradualUpTo), v.expectation())
	default:
		return fmt.Sprintf("the grid%s is dirty: %s gCO2eq/kWh is more than %s%s", place, intensity, number(w.Threshold), v.expectation())
	}
}

// judgeDay says whether now is among the cleanest hours of the day.
func (w *Wish) judgeDay(v *Verdict, level plan.Level, now time.Time) {
	local := now.In(w.Zone)
	from, until := startOfDay(local, 0), startOfDay(local, 1)
	day := level.Past.Splice(level.Expected, from)
	isClean, next, isKnown := plan.Cleanest(day, from, until, now, w.CleanHours)
	if !isKnown {
		v.countAsClean(level)
		return
	}
	v.Next = next
	what := "is"
	if !isClean {
		v.Share, what = 0, "is not"
	}
	v.Reason = fmt.Sprintf("now %s among the cleanest %s hours of %s%s%s", what, number(w.CleanHours.Hours()), local.Format("2006-01-02 MST"), at(level.Location), v.expectation())
}

// startOfDay returns the beginning of a day some days after another one. Some zones skip midnight when
// summer begins. The day then begins at the change.
func startOfDay(local time.Time, after int) time.Time {
	midnight := time.Date(local.Year(), local.Month(), local.Day()+after, 0, 0, 0, 0, local.Location())
	noon := time.Date(local.Year(), local.Month(), local.Day()+after, 12, 0, 0, 0, local.Location())
	if midnight.Day() == noon.Day() {
		return midnight
	}
	_, change := midnight.ZoneBounds()
	return change
}

// expectation says when another share is expected.
func (v *Verdict) expectation() string {
	if v.Next.IsZero() {
		return ""
	}
	return ", expected to change at " + plan.FormatTime(v.Next)
}

func at(location string) string {
	if location == "" {
		return ""
	}
	return " at " + location
}

func number(n float64) string { return strconv.FormatFloat(math.Round(n*10)/10, 'f', -1, 64) }
