package forecast

import "math"

// featureCount is the largest number of features that a prediction is made of.
const featureCount = 10

// A vector has a value for each feature. Unused and unknown features are zero.
type vector [featureCount]float64

// A featureSet computes the features that a prediction is made of: what can be known of the future
// at some hour. All features are differences of intensities, so that neither the level nor the size
// of a grid matters.
type featureSet interface {
	// receive takes the hourly values of a forecast and the hour at which it became known, in order
	// of time.
	receive(known hour, values *record)
	// closeHour takes note of an hour that is over.
	closeHour(h hour)
	// names returns the names of the features, in the order of the vectors.
	names() []string
	// at returns the features, seen from the hour v, for the later hour u. It returns false for an
	// hour that the feature set does not reach.
	at(v, u hour) (vector, bool)
	// ruleOfThumb returns the change of the intensity from v to u that is expected before anything
	// has been learned.
	ruleOfThumb(v, u hour) float64
	// prior returns the weights that learning starts from, for a lead in hours.
	prior(lead float64) vector
}

// sameHourBefore returns the newest hour before v that has the same hour of the day as u.
func sameHourBefore(v, u hour) hour { return u - day*((u-v)/day+1) }

// isWithin reports whether no feature is larger than a bound.
func (x *vector) isWithin(bound float64) bool {
	for _, v := range x {
		if math.Abs(v) > bound {
			return false
		}
	}
	return true
}

// zeroUnknown replaces unknown features by zero.
func zeroUnknown(x vector) vector {
	for i, v := range x {
		if math.IsNaN(v) {
			x[i] = 0
		}
	}
	return x
}

// forecastFeatures looks ahead with forecasts, as they were known lag hours after they came.
type forecastFeatures struct {
	past         *past
	lag          int
	forecasts    []*hourlyForecast
	inForce      record // at each hour, what the forecast in force said of that hour
	actualErrors record // at each hour, the actual intensity less that
}

func (*forecastFeatures) names() []string {
	return []string{
		"change in the forecast", "forecast's error now", "earlier forecast's error now", "change in the smoothed forecast",
		"same hour of the last 7 days", "same hour of yesterday", "same hour of the same weekday",
		"forecast's error at that hour yesterday", "change in the last hour", "bias of that hour",
	}
}

func (s *forecastFeatures) at(v, u hour) (vector, bool) {
	now := s.newest(v)
	if now == nil {
		return vector{}, false
	}
	ahead, here, level := now.at(u), now.at(v), s.past.actual.at(v)
	if math.IsNaN(ahead - here) {
		return vector{}, false
	}
	before, b := math.NaN(), sameHourBefore(v, u)
	if now.earlier != nil {
		before = now.earlier.at(v)
	}
	return zeroUnknown(vector{
		ahead - here,
		here - level,
		before - level,
		now.smoothed(u) - now.smoothed(v),
		s.past.days7.at(b) - s.past.days7.at(v-day),
		s.past.actual.at(b) - s.past.actual.at(v-day),
		s.past.sameWeekday(u) - s.past.sameWeekday(v),
		s.actualErrors.at(b) - s.actualErrors.at(v-day),
		level - s.past.actual.at(v-1),
		s.past.spreadAt(v),
	}), true
}

// ruleOfThumb follows the change in the forecast, from the level now to the level of the forecast,
// mixed with what the days have in common.
func (s *forecastFeatures) ruleOfThumb(v, u hour) float64 {
	x, _ := s.at(v, u)
	forecast := x[0] + x[1]*fade(u.since(v))
	days := float64(v.since(s.past.actual.first)) / day
	w := 0.3 * min(1, max(0, days-1)/7)
	return (1-w)*forecast + w*x[4]
}

func (s *forecastFeatures) prior(lead float64) vector {
	return vector{0: 0.7, 1: 0.7 * fade(int(math.Round(lead))), 4: 0.3}
}

// fade returns the share of today's level that is gone after some hours.
func fade(hours int) float64 { return 1 - math.Exp(-float64(hours)/12) }

// pastFeatures looks ahead with the past alone.
type pastFeatures struct{ past *past }

func (*pastFeatures) receive(hour, *record) {}

func (*pastFeatures) closeHour(hour) {}

func (*pastFeatures) names() []string {
	return []string{
		"same hour of the last 7 days", "same hour of the last 28 days", "same hour of workdays, or of weekend days",
		"change in the last hour", "change in the last 3 hours", "change in the last 6 hours",
		"yesterday's next hour", "yesterday's previous hour", "mean of the last 28 days",
	}
}

func (s *pastFeatures) at(v, u hour) (vector, bool) {
	p, b := s.past, sameHourBefore(v, u)
	level, then := p.actual.at(v), p.actual.at(b)
	next := math.NaN()
	if b+1 <= v {
		next = p.actual.at(b + 1)
	}
	return zeroUnknown(vector{
		p.days7.at(b) - p.days7.at(v-day),
		p.days28.at(b) - p.days28.at(v-day),
		p.sameHour(b, workday(u)) - p.sameHour(v-day, workday(v)),
		level - p.actual.at(v-1),
		level - p.actual.at(v-3),
		level - p.actual.at(v-6),
		next - then,
		p.actual.at(b-1) - then,
		p.mean28.at(v-1) - level,
	}), true
}

// ruleOfThumb follows the same hour of the last 7 days, starting from the level now.
func (s *pastFeatures) ruleOfThumb(v, u hour) float64 {
	p := s.past
	here, ahead := p.days7.at(v-day), p.days7.at(sameHourBefore(v, u))
	change := ahead - here + (here-p.actual.at(v))*fade(u.since(v))
	if math.IsNaN(change) {
		return 0
	}
	return change
}

func (s *pastFeatures) prior(float64) vector { return vector{0: 0.3} }
