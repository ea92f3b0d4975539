package forecast

import "math"

// featureCount is the largest number of features that a prediction is made of.
const featureCount = 14

// A vector has a value for each feature. Unused and unknown features are zero.
type vector [featureCount]float64

// A featureSet computes the features that a prediction is made of: what can be known of the future
// at some hour. All features are differences of intensities, so that neither the level nor the size
// of a grid matters.
type featureSet interface {
	// receive takes the hourly values of a forecast and the hour at which it became known, in order
	// of time.
	receive(known hour, values *record)
	// receiveOutlook takes the hourly values of an outlook in the same way.
	receiveOutlook(known hour, values *record)
	// closeHour takes note of an hour that is over.
	closeHour(h hour)
	// names returns the names of the features, in the order of the vectors. They become more, at the
	// end, once the feature set receives an outlook that it looks ahead with.
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

// forecastFeatureCount is how many features forecastFeatures has without outlooks.
const forecastFeatureCount = 10

// forecastFeatures looks ahead with forecasts, as they were known lag hours after they came.
type forecastFeatures struct {
	past         *past
	lag          int
	forecasts    issues
	outlooks     issues
	inForce      record // at each hour, what the forecast in force said of that hour
	actualErrors record // at each hour, the actual intensity less that
}

func (s *forecastFeatures) names() []string {
	names := []string{
		"change in the forecast", "forecast's error now", "earlier forecast's error now", "change in the smoothed forecast",
		"same hour of the last 7 days", "same hour of yesterday", "same hour of the same weekday",
		"forecast's error at that hour yesterday", "change in the last hour", "bias of that hour",
	}
	if len(s.outlooks) > 0 {
		names = append(names, "change by weather beyond that in the forecast", "error now of the outlook by weather beyond the forecast's",
			"change in the last 3 hours", "change in the last 6 hours")
	}
	return names
}

func (s *forecastFeatures) receiveOutlook(known hour, values *record) {
	s.outlooks = s.outlooks.with(&hourlyForecast{knownAt: known, values: *values})
	s.outlooks.forget(known - maxPastAgeHours)
}

func (s *forecastFeatures) at(v, u hour) (vector, bool) {
	now := s.forecasts.newest(v)
	if now == nil {
		return vector{}, false
	}
	ahead, here, level := now.at(u), now.at(v), s.past.actual.at(v)
	if math.IsNaN(ahead - here) {
		return vector{}, false
	}
	b, before := sameHourBefore(v, u), math.NaN()
	if now.earlier != nil {
		before = now.earlier.at(v)
	}
	x := vector{
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
	}
	if o := s.outlooks.newest(v); o != nil {
		x[10], x[11] = o.at(u)-o.at(v)-(ahead-here), o.at(v)-here
		x[12], x[13] = level-s.past.actual.at(v-3), level-s.past.actual.at(v-6)
	}
	return zeroUnknown(x), true
}

// ruleOfThumb follows the change in the forecast, from the level now to the level of the forecast,
// mixed with what the days have in common.
func (s *forecastFeatures) ruleOfThumb(v, u hour) float64 {
	x, _ := s.at(v, u)
	return s.past.mixedWithDays(v, x[0]+x[1]*fade(u.since(v), fadeHours), x[4])
}

// mixedWithDays mixes a change that is forecast with what the days have in common, as far as there are
// enough days.
func (p *past) mixedWithDays(v hour, forecast, days float64) float64 {
	known := float64(v.since(p.actual.first)) / day
	w := 0.3 * min(1, max(0, known-1)/7)
	return (1-w)*forecast + w*days
}

func (s *forecastFeatures) prior(lead float64) vector {
	faded := fade(int(math.Round(lead)), fadeHours)
	w := vector{0: 0.7, 1: 0.7 * faded, 4: 0.3}
	if len(s.outlooks) > 0 {
		w[10], w[11] = 0.3, 0.1*faded
	}
	return w
}

// fadeHours is the time over which today's level makes way for the level of the forecast.
const fadeHours = 12

// fade returns the share of today's level that is gone after some hours.
func fade(hours int, over float64) float64 { return 1 - math.Exp(-float64(hours)/over) }

// pastFeatures looks ahead with the past alone.
type pastFeatures struct{ past *past }

func (*pastFeatures) receive(hour, *record) {}

func (*pastFeatures) receiveOutlook(hour, *record) {}

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
	change := ahead - here + (here-p.actual.at(v))*fade(u.since(v), fadeHours)
	if math.IsNaN(change) {
		return 0
	}
	return change
}

func (s *pastFeatures) prior(float64) vector { return vector{0: 0.3} }

// outlookFeatures looks ahead with outlooks, as forecastFeatures does with the forecasts of a provider.
type outlookFeatures struct{ forecastFeatures }

// outlookFadeHours is fadeHours for outlooks.
const outlookFadeHours = 6

func newOutlookFeatures(p *past, lag int) *outlookFeatures {
	return &outlookFeatures{forecastFeatures{past: p, lag: lag}}
}

func (s *outlookFeatures) receive(hour, *record) {}

func (s *outlookFeatures) receiveOutlook(known hour, values *record) {
	s.forecastFeatures.receive(known, values)
}

func (*outlookFeatures) names() []string {
	return []string{
		"change by weather", "error now of the outlook by weather", "error now of the earlier outlook by weather", "smoothed change by weather",
		"same hour of the last 7 days", "same hour of yesterday", "same hour of the same weekday",
		"error of the outlook by weather at that hour yesterday", "change in the last hour", "bias of that hour",
	}
}

func (s *outlookFeatures) ruleOfThumb(v, u hour) float64 {
	x, _ := s.at(v, u)
	return s.past.mixedWithDays(v, x[0]+x[1]*fade(u.since(v), outlookFadeHours), x[4])
}

func (s *outlookFeatures) prior(lead float64) vector {
	return vector{0: 0.5, 1: 0.5 * fade(int(math.Round(lead)), outlookFadeHours), 4: 0.3}
}
