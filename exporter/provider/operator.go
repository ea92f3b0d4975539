package provider

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

const (
	// powerMemory is how far back the power of an area is kept. Shares of a past train a forecast at once.
	powerMemory = 56 * 24 * time.Hour
	// powerHorizon is how far ahead operators are asked. They look less far.
	powerHorizon = 3 * 24 * time.Hour
	// minLoad and maxPower bound the power of an area in MW. No grid on Earth has as little load, or as much
	// power.
	minLoad, maxPower = 1, 1e7
)

// A powerKind is a part of the power of an area that its operator forecasts.
type powerKind int

const (
	onshoreWind powerKind = iota
	offshoreWind
	sunPower
	loadPower
	// powerKinds is how many there are.
	powerKinds
)

// powerHours has the mean of each kind of power by hour, in MW. A kind that nobody forecasts has no hour.
// Hours that are far from now do not count.
type powerHours struct {
	now   time.Time
	kinds [powerKinds]map[time.Time]meanValue
}

// isPowerOfUse reports whether the power at an instant counts.
func isPowerOfUse(at, now time.Time) bool {
	return !at.Before(now.Add(-powerMemory-24*time.Hour)) && !at.After(now.Add(2*powerHorizon))
}

// add notes the power at an instant. A power that no area has is unknown.
func (p *powerHours) add(kind powerKind, at time.Time, megawatts float64) {
	if !(math.Abs(megawatts) <= maxPower) || !isPowerOfUse(at, p.now) {
		return
	}
	if p.kinds[kind] == nil {
		p.kinds[kind] = map[time.Time]meanValue{}
	}
	start := at.UTC().Truncate(time.Hour)
	mean := p.kinds[kind][start]
	mean.add(&megawatts)
	p.kinds[kind][start] = mean
}

// shares returns wind and sun as shares of the load, for the hours of which both are known.
func (p *powerHours) shares() forecast.Weather {
	var all forecast.Weather
	for _, start := range slices.SortedFunc(maps.Keys(p.kinds[loadPower]), time.Time.Compare) {
		hour := forecast.UnknownWeather(start)
		hour.WindShare, hour.SolarShare = p.share(start, onshoreWind, offshoreWind), p.share(start, sunPower)
		if !math.IsNaN(hour.WindShare) || !math.IsNaN(hour.SolarShare) {
			all = append(all, hour)
		}
	}
	return all
}

// share returns the sum of several kinds as a share of the load. A kind that the area has in other hours
// and not in this one makes the share unknown: wind without the wind at sea would look like a calm.
func (p *powerHours) share(start time.Time, kinds ...powerKind) float64 {
	sum, known := 0.0, 0
	for _, kind := range kinds {
		if len(p.kinds[kind]) > 0 {
			mean := p.kinds[kind][start]
			sum += mean.mean()
			known++
		}
	}
	load := p.kinds[loadPower][start]
	if known == 0 || !(load.mean() >= minLoad) {
		return math.NaN()
	}
	return sum / load.mean()
}

// A powerBook keeps what operators have said of the power of areas. So the past of an area is asked for
// once, and each reading has it. The zero powerBook is empty.
type powerBook struct {
	mu       sync.Mutex
	areas    map[string]*powerHours
	answered map[string]time.Time // when the operator gave the last whole answer, by area
}

// from returns the beginning of what to ask for. It is the beginning of a day. A clock that was ahead has let
// the past be forgotten.
func (b *powerBook) from(area string, now time.Time) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	from := now.Add(-powerMemory)
	if last := b.answered[area]; last.After(from) && !last.After(now) {
		from = last
	}
	return from.UTC().Truncate(24 * time.Hour)
}

// lacks reports whether the operator of an area has answered today, and had nothing of a kind of power.
func (b *powerBook) lacks(area string, kind powerKind, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known, today := b.areas[area], now.UTC().Truncate(24*time.Hour)
	return known != nil && len(known.kinds[kind]) == 0 && b.answered[area].UTC().Truncate(24*time.Hour).Equal(today)
}

// join takes over a whole answer, and returns all that is known of the area. News of an hour replaces
// what was known.
func (b *powerBook) join(area string, news *powerHours, now time.Time) (WeatherReading, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	joined := &powerHours{now: now}
	for kind := range joined.kinds {
		hours := map[time.Time]meanValue{}
		if known := b.areas[area]; known != nil {
			maps.Copy(hours, known.kinds[kind])
		}
		maps.Copy(hours, news.kinds[kind])
		maps.DeleteFunc(hours, func(start time.Time, _ meanValue) bool { return !isPowerOfUse(start, now) })
		joined.kinds[kind] = hours
	}
	r := WeatherReading{Weather: joined.shares()}
	if len(r.Weather) == 0 {
		return WeatherReading{}, fmt.Errorf("zone %.40q: %w: no hour has a forecast of the load and of wind or sun", area, ErrNoData)
	}
	if b.areas == nil {
		b.areas, b.answered = map[string]*powerHours{}, map[string]time.Time{}
	}
	b.areas[area], b.answered[area] = joined, now
	return r, nil
}
