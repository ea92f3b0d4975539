package forecast

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

const (
	// levelDays is how much of the past tells the level of a second source.
	levelDays = 14
	// minCommonHours is how many hours of it both sources must know.
	minCommonHours = day
	// leastRatio and mostRatio bound the ratio of two sources. Beyond, one of them speaks of another grid,
	// or in another unit.
	leastRatio, mostRatio = 0.2, 5
	// maxMisfit is how wrong a second source may be about what the provider says, as a share of how wrong
	// the same hour a day before is. Plans by a source that is further off are worse than plans without.
	maxMisfit = 0.5
	// roundingError is what two sources of a grid that never changes may differ by, in gCO2eq/kWh.
	roundingError = 0.1
)

// SecondSource is who else tells how the intensity of a location was.
type SecondSource struct {
	// Provider names the source for people, and Zone is its own name of the zone.
	Provider string `json:"provider"`
	Zone     string `json:"zone,omitempty"`
	// Until is the end of the newest hour of which the source has told; zero if there is none.
	Until time.Time `json:"until,omitzero"`
	// Ratio is what the source's intensities are multiplied by. It is 0 if none of them counts.
	Ratio float64 `json:"ratio,omitempty"`
	// Problem says why none of them counts; "" if they count.
	Problem string `json:"problem,omitempty"`
}

// String says for people whose intensities these are, and how far they reach, such as "Energy-Charts
// (zone DE) until 10:00, times 1.12".
func (s *SecondSource) String() string {
	text := s.Provider
	if s.Zone != "" {
		text += " (zone " + s.Zone + ")"
	}
	if !s.Until.IsZero() {
		text += " until " + s.Until.UTC().Format("Jan 2 15:04")
	}
	switch {
	case s.Problem != "":
		return text + ", not used: " + s.Problem
	case s.Ratio > 0 && s.Ratio != 1:
		return fmt.Sprintf("%s, times %.2f", text, s.Ratio)
	default:
		return text
	}
}

// Level returns the hours that a second source knows and a provider does not, at the level of the
// provider's intensities: times the ratio of the means over the hours that both know of the last two
// weeks. The error says why the ratio is not known, or cannot be true. The result is an estimate, and
// nobody has measured it.
func Level(own, second *Series, now time.Time) (levelled *Series, ratio float64, err error) {
	if own.IsEmpty() || second.IsEmpty() {
		return &Series{}, 0, errors.New("one of the two knows nothing of the past")
	}
	end := hourOf(now)
	first := end.plus(-retentionHours)
	known, other := own.lastHours(first, end), second.lastHours(first, end)
	if ratio, err = ratioOf(known, other, end); err != nil {
		return &Series{}, 0, err
	}
	var slots []Slot
	for h := first; h < end; h++ {
		if b := other.at(h); math.IsNaN(known.at(h)) && !math.IsNaN(b) {
			slots = append(slots, Slot{startOf(h), startOf(h + 1), math.Round(b*ratio*100) / 100})
		}
	}
	return NewSeries(slots), ratio, nil
}

// ratioOf returns the ratio of the means of a provider and a second source, or why it is of no use.
func ratioOf(known, other record, end hour) (ratio float64, err error) {
	ofOwn, ofSecond, common := 0.0, 0.0, 0
	for h := end.plus(-levelDays * day); h < end; h++ {
		if a, b := known.at(h), other.at(h); !math.IsNaN(a) && !math.IsNaN(b) {
			ofOwn, ofSecond, common = ofOwn+a, ofSecond+b, common+1
		}
	}
	if common < minCommonHours {
		return 0, fmt.Errorf("both know %d of the hours of the last %d days, and at least %d are needed to compare their levels", common, levelDays, minCommonHours)
	}
	ratio = ofOwn / ofSecond
	if !(ratio >= leastRatio && ratio <= mostRatio) { // true if one of the means is zero
		return 0, fmt.Errorf("its level is too different: %.0f gCO2eq/kWh, where the provider has %.0f", ofSecond/float64(common), ofOwn/float64(common))
	}
	if wrong, usual := misfit(known, other, ratio, end); wrong > maxMisfit*usual+roundingError {
		return 0, fmt.Errorf("it is wrong about the provider's intensities by %.1f gCO2eq/kWh on average, where the same hour a day before is wrong by %.1f", wrong, usual)
	}
	return ratio, nil
}

// misfit returns the mean errors of a second source and of the same hour a day before, as estimates of
// what a provider says. The mean of the provider stands in for a day before that is not known.
func misfit(known, other record, ratio float64, end hour) (ofSecond, ofDayBefore float64) {
	mean, hours := known.mean(end-1, levelDays*day, 1), 0.0
	for h := end.plus(-levelDays * day); h < end; h++ {
		a, b, before := known.at(h), other.at(h), known.at(h.plus(-day))
		if math.IsNaN(a + b) {
			continue
		}
		if math.IsNaN(before) {
			before = mean
		}
		ofSecond, ofDayBefore, hours = ofSecond+math.Abs(ratio*b-a), ofDayBefore+math.Abs(before-a), hours+1
	}
	return ofSecond / hours, ofDayBefore / hours
}

// lastHours returns the means of the hours of [first, end).
func (s *Series) lastHours(first, end hour) record {
	recent := withTotals(s.part(startOf(first), startOf(end)))
	if recent.IsEmpty() {
		return record{}
	}
	return recent.hours(end)
}

// joined returns what two series know. Where both know something, the first counts.
func joined(first, second *Series) *Series {
	if second.IsEmpty() {
		return first
	}
	return withTotals(flatten(slices.Concat(first.all(), second.all())))
}

// unknownTo returns the slots of the last weeks that begin where another series knows nothing.
func (s *Series) unknownTo(known *Series, now time.Time) *Series {
	recent := s.slotsWithin(now.Add(-retentionHours*time.Hour), now)
	return NewSeries(slices.DeleteFunc(recent.Slots(), func(slot Slot) bool {
		_, isKnown := known.At(slot.Start)
		return isKnown
	}))
}

// checkSecond returns an error if a name is longer than those of Gridlatch.
func (d Details) checkSecond() error {
	if s := d.Second; s != nil && (isLongName(s.Provider) || isLongName(s.Zone)) {
		return fmt.Errorf("second source: want a provider and a zone of at most %d characters each", maxNameLength)
	}
	return nil
}

// cut returns the source with a sentence that is not too long.
func (s *SecondSource) cut() *SecondSource {
	if s == nil {
		return nil
	}
	c := *s
	c.Problem = cut(c.Problem)
	return &c
}
