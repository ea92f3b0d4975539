package forecast

import "math"

const (
	// weatherTerms is how many terms stand for the weather of an hour, and shareTerms for the shares of wind
	// and sun.
	weatherTerms, shareTerms = 8, 2
	// responseTerms is how many terms explain the intensity of an hour: one for each hour of the day,
	// one more for each hour of a weekend day, those of the weather, and those of the shares.
	responseTerms = 2*day + weatherTerms + shareTerms
	// responseMemoryDays is the time after which an hour counts 1/e of what it counted at first. A longer
	// memory is no better, and would not survive a restart: weather is kept for eight weeks.
	responseMemoryDays = 60
	// outlookHours is how far an outlook reaches, from the beginning of the day on.
	outlookHours = 5 * day
	// enoughShareHours is after how many hours with known shares the shares count, even if more hours are
	// known without them.
	enoughShareHours = 14 * day
	// shareScale makes the terms of shares large, so that little pulls their effect to none: what an operator
	// expects of wind and sun says more than the wind itself.
	shareScale = 40
	// negligibleShare is a share that makes no difference if it is unknown.
	negligibleShare = 0.01
	// credibleShares is how many times its root mean square a share may be, and alwaysCredibleShare is a share
	// that may always be.
	credibleShares, alwaysCredibleShare = 6, 0.5
)

// The pulls of the terms, in hours whose term is 1: the intensity of an hour of the day is pulled
// towards the mean of all hours, and everything else towards no effect.
const (
	pullOfHour    = 1
	pullOfWeekend = 10
	pullOfWeather = 20
)

// A response is how the intensity of a grid answers to the calendar and to the weather. What it makes of a
// forecast of the weather is an outlook: a forecast of the intensity.
//
// Operators publish the shares of wind and sun for less time ahead than a forecast of the weather has. So
// there are two answers, and hours without shares have the one that never knew any.
type response struct {
	weather ridge // learned from all hours, without their shares
	shares  ridge // learned from the hours with shares

	least, most float64 // of the intensities that were learned
}

func newResponse() *response { return &response{least: math.MaxFloat64, most: -math.MaxFloat64} }

// A ridge is a ridge regression of the intensities of hours on their terms.
type ridge struct {
	sums         moments
	sum, count   float64 // of the intensities
	learnedHours int
}

// A term is one that is not zero.
type term struct {
	index int
	value float64
}

// terms returns the terms of an hour, in their order.
func terms(h hour, c conditions) []term {
	all := make([]term, 0, 2+weatherTerms+shareTerms)
	all = append(all, term{h.ofDay(), 1})
	if !workday(h) {
		all = append(all, term{day + h.ofDay(), 1})
	}
	for i, value := range c.terms() {
		if value != 0 {
			all = append(all, term{2*day + i, value})
		}
	}
	return all
}

// terms returns the terms of the weather, each about as large as 1. Wind counts as it is, as turbines
// turn it to power, and as a storm. Temperature counts as it is, as heating, and as cooling. An
// unknown value has no effect.
func (c conditions) terms() [weatherTerms + shareTerms]float64 {
	var t [weatherTerms + shareTerms]float64
	if wind := c[0]; !math.IsNaN(wind) {
		t[0], t[1], t[2] = wind/3, 3/(1+math.Exp((6-wind)/1.5)), max(0, wind-8)/2
	}
	if degrees := c[1]; !math.IsNaN(degrees) {
		t[5], t[6], t[7] = max(0, 15-degrees)/8, max(0, degrees-18)/5, degrees/8
	}
	if sun := c[2]; !math.IsNaN(sun) {
		t[3], t[4] = sun/250, sun*sun/125000
	}
	for i, share := range c[skyValues:] {
		if !math.IsNaN(share) {
			t[weatherTerms+i] = share * shareScale
		}
	}
	return t
}

// withoutShares returns the conditions as they were if nobody knew the shares.
func (c conditions) withoutShares() conditions {
	for i := skyValues; i < len(c); i++ {
		c[i] = math.NaN()
	}
	return c
}

// learn takes what the intensity of an hour was, and its weather.
func (r *response) learn(h hour, c conditions, actual float64) {
	if math.IsNaN(actual) {
		return
	}
	r.least, r.most = min(r.least, actual), max(r.most, actual)
	r.weather.learn(terms(h, c.withoutShares()), actual)
	if c, ok := r.usableShares(h, c); ok {
		r.shares.learn(terms(h, c), actual)
	}
}

// usableShares reports whether the shares of an hour tell something, and returns them without those that
// cannot be. An unknown share would look like a calm, or like a night, so it makes the other share useless too,
// unless it makes no difference at that hour of the day. A share that is far from all that was learned is an
// error of its writer: a load that lacks a part of the area, or another unit.
func (r *response) usableShares(h hour, c conditions) (credible conditions, ok bool) {
	for i := skyValues; i < len(c); i++ {
		if limit := credibleShares * r.shares.rootMeanSquare(weatherTerms+i-skyValues) / shareScale; r.shares.learnedHours >= minHistoryHours && c[i] > max(limit, alwaysCredibleShare) {
			c[i] = math.NaN()
		}
	}
	for i := skyValues; i < len(c); i++ {
		if math.IsNaN(c[i]) && r.shares.usual(weatherTerms+i-skyValues, h)/shareScale > negligibleShare {
			return c, false
		}
	}
	return c, c.hasShares()
}

// within returns an intensity that is not far beyond all that were learned: of a weather that never was, little
// is known.
func (r *response) within(intensity float64) float64 {
	low, high := 2*r.least-r.most, 2*r.most-r.least
	if low > high {
		return intensity // nothing was learned
	}
	if r.least >= 0 {
		low = max(0, low)
	}
	return min(high, max(low, intensity))
}

// endDay makes what was learned count less.
func (r *response) endDay() {
	r.weather.fade(math.Exp(-1.0 / responseMemoryDays))
	r.shares.fade(math.Exp(-1.0 / responseMemoryDays))
}

func (r *ridge) learn(given []term, actual float64) {
	if r.learnedHours == 0 {
		r.sums = newMoments(responseTerms)
	}
	for n, a := range given {
		r.sums.xy[a.index] += a.value * actual
		row := r.sums.xx[a.index*(a.index+1)/2:]
		for _, b := range given[:n+1] {
			row[b.index] += a.value * b.value
		}
	}
	r.sum += actual
	r.count++
	r.learnedHours++
}

// moment returns the weighted sum of the products of two terms, the one with the larger index first.
func (r *ridge) moment(i, j int) float64 {
	if r.learnedHours == 0 {
		return 0
	}
	return r.sums.xx[i*(i+1)/2+j]
}

// rootMeanSquare returns that of a term of [conditions.terms].
func (r *ridge) rootMeanSquare(term int) float64 {
	if r.count == 0 {
		return 0
	}
	return math.Sqrt(r.moment(2*day+term, 2*day+term) / r.count)
}

// usual returns the mean of a term of [conditions.terms] at the same hour of other days.
func (r *ridge) usual(term int, h hour) float64 {
	if count := r.moment(h.ofDay(), h.ofDay()); count > 0 {
		return r.moment(2*day+term, h.ofDay()) / count
	}
	return 0
}

func (r *ridge) fade(factor float64) {
	r.sums.times(factor)
	r.sum *= factor
	r.count *= factor
}

// effects returns what each term adds to the intensity, nil if nothing was learned.
func (r *ridge) effects() []float64 {
	if r.learnedHours == 0 {
		return nil
	}
	a, b := append([]float64(nil), r.sums.xx...), append([]float64(nil), r.sums.xy...)
	for i := range b {
		pull := float64(pullOfWeather)
		switch {
		case i < day:
			pull = pullOfHour
			b[i] += pull * r.sum / r.count
		case i < 2*day:
			pull = pullOfWeekend
		}
		a[i*(i+3)/2] += pull
	}
	solve(a, b)
	return b
}

// sharesCount reports whether enough is known of the shares.
func (r *response) sharesCount() bool {
	return r.shares.learnedHours >= min(max(r.weather.learnedHours, 1), enoughShareHours)
}

// outlook returns what is expected of the hours from the beginning of the day of now on. It is in the
// precision of [Model.Save].
func (r *response) outlook(now hour, w *weather) record {
	first := now - now%day
	outlook, byWeather, byShares := unknown(first, first+outlookHours), r.weather.effects(), []float64(nil)
	if r.sharesCount() {
		byShares = r.shares.effects()
	}
	var beyond surplus
	for i := range outlook.values {
		h := first.plus(i)
		c, hasShares := r.usableShares(h, w.at(h))
		if !hasShares && !c.hasSky() {
			continue
		}
		value := sumOfTerms(terms(h, c.withoutShares()), byWeather)
		if byShares != nil && hasShares {
			expected := sumOfTerms(terms(h, c), byShares)
			if c.hasSky() {
				beyond.note(h, expected-value)
			}
			value = expected
		} else {
			value += beyond.at(h)
		}
		if value = r.within(value); math.Abs(value) <= MaxIntensity {
			outlook.set(h, float64(float32(value)))
		}
	}
	return outlook
}

// sumOfTerms returns what the terms of an hour make together.
func sumOfTerms(given []term, effects []float64) float64 {
	sum := 0.0
	for _, t := range given {
		sum += t.value * effects[t.index]
	}
	return sum
}

const (
	// surplusMeanHours is over how many hours about the mean of a surplus is taken.
	surplusMeanHours = 3
	// surplusFadeHours is the time after which a surplus is 1/e of what it was.
	surplusFadeHours = 12
)

// A surplus is by how much the shares tell another intensity than the weather, in the last hours that
// have shares. What the weather does not tell of the power of wind and sun lasts for hours, so it is added
// to what the weather tells of the hours after them.
type surplus struct {
	mean  float64
	count int
	last  hour
}

func (s *surplus) note(h hour, value float64) {
	s.count, s.last = s.count+1, h
	s.mean += (value - s.mean) / float64(min(s.count, surplusMeanHours))
}

// at returns what is left at a later hour.
func (s *surplus) at(h hour) float64 {
	if s.count == 0 {
		return 0
	}
	return s.mean * (1 - fade(h.since(s.last), surplusFadeHours))
}
