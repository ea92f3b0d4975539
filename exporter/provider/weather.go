package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// WeatherSource knows the weather of places. It is safe for concurrent use.
type WeatherSource interface {
	// DescribeWeather tells what the source gives. It asks nobody.
	DescribeWeather() WeatherDescription
	// Weather returns the mean weather of the points of a location as it is expected now, and as it was
	// if the source knows the past. A source that asks a URL of one's own by the name of the zone needs
	// no points.
	Weather(ctx context.Context, zone string, points []Point) (WeatherReading, error)
}

// WeatherType names a source of weather, as a CarbonPolicy does.
type WeatherType string

// The sources of weather.
const (
	WeatherMETNorway WeatherType = "METNorway"
	WeatherOpenMeteo WeatherType = "OpenMeteo"
	WeatherHTTP      WeatherType = "HTTP"
)

// The operators of grids, and who speaks for them, as sources of weather: they expect wind and sun as
// shares of the load. They know their areas by name and need no points.
const (
	WeatherEnergyCharts WeatherType = "EnergyCharts"
	WeatherEnerginet    WeatherType = "Energinet"
	WeatherElexon       WeatherType = "Elexon"
)

// Point is a place on Earth, in degrees. North and east are positive.
type Point struct{ Latitude, Longitude float64 }

// ParsePoints reads the points of a text: pairs of a latitude and a longitude in degrees, with a comma
// within a pair and a semicolon between two. An empty text has no points.
func ParsePoints(text string) ([]Point, error) {
	var points []Point
	for pair := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		north, east, _ := strings.Cut(pair, ",")
		latitude, errNorth := strconv.ParseFloat(strings.TrimSpace(north), 64)
		longitude, errEast := strconv.ParseFloat(strings.TrimSpace(east), 64)
		point := Point{latitude, longitude}
		if errNorth != nil || errEast != nil || point.check() != nil {
			return nil, errors.New("want degrees as LATITUDE,LONGITUDE, and a semicolon between points: 54.3,9.7;53.5,7.3")
		}
		points = append(points, point)
	}
	return points, nil
}

// check returns an error for a point that is not on Earth.
func (p Point) check() error {
	if !(math.Abs(p.Latitude) <= 90 && math.Abs(p.Longitude) <= 180) {
		return fmt.Errorf("point %v,%v: want a latitude from -90 to 90 and a longitude from -180 to 180", p.Latitude, p.Longitude)
	}
	return nil
}

// maxPoints bounds the points of a location: more make the mean weather no better.
const maxPoints = 16

// WeatherDescription tells what a source of weather is.
type WeatherDescription struct {
	Type   WeatherType
	Source string
	// Attribution is the sentence that the licence demands.
	Attribution string
	// NeedsPoints reports whether the source asks by points, and not by the name of a zone.
	NeedsPoints bool
	// Rhythm is how often there is new weather.
	Rhythm time.Duration
}

// WeatherReading is what a source says of one location.
type WeatherReading struct {
	Weather forecast.Weather
	// Issued is when the source made the forecast, or the zero time if it does not say.
	Issued time.Time
	// Points counts the points with an answer. Problem says what is wrong with the first other one.
	Points  int
	Problem string
}

// WeatherConfig says which source of weather to ask, and how.
type WeatherConfig struct {
	Type WeatherType
	// BaseURL is where the source is, if not at its public address.
	BaseURL string
	// Key is the key of OpenMeteo, or of a server of one's own.
	Key Secret
	// AcceptNonCommercial says that the use is not commercial, which the free service of OpenMeteo wants.
	AcceptNonCommercial bool
	// URL is for [WeatherHTTP]. {zone} stands for the zone.
	URL string

	Options Options
}

// NewWeather makes the source that a configuration describes. It asks nobody.
func NewWeather(c WeatherConfig) (WeatherSource, error) {
	if c.Options.Now == nil {
		return nil, errors.New("options: want a clock")
	}
	makers := map[WeatherType]func(WeatherConfig) (WeatherSource, error){
		WeatherMETNorway:    newMETNorway,
		WeatherOpenMeteo:    newOpenMeteo,
		WeatherHTTP:         newWeatherServer,
		WeatherEnergyCharts: newEnergyChartsPower,
		WeatherEnerginet:    newEnerginetPower,
		WeatherElexon:       newElexon,
	}
	makeSource, ok := makers[c.Type]
	if !ok {
		return nil, fmt.Errorf("type: %.40q: want METNorway, OpenMeteo, HTTP, EnergyCharts, Energinet or Elexon", c.Type)
	}
	source, err := makeSource(c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Type, err)
	}
	return source, nil
}

// checkPoints returns an error if a location has no points, too many, or one that is not on Earth.
func checkPoints(points []Point) error {
	if len(points) == 0 {
		return fmt.Errorf("no points are known where the weather counts: %w", ErrUnknownZone)
	}
	if len(points) > maxPoints {
		return fmt.Errorf("%d points: want at most %d", len(points), maxPoints)
	}
	for _, p := range points {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// maxWeatherHours bounds the hours of a reading: the past of a quarter, and two weeks ahead.
const maxWeatherHours = 120 * 24

// A weatherTally takes the mean of the weather of several points, hour by hour.
type weatherTally struct {
	hours map[time.Time]*weatherSums
}

type weatherSums struct{ wind, temperature, radiation, windShare, solarShare meanValue }

// A meanValue is the sum of the values that are known, and their number.
type meanValue struct {
	sum   float64
	count int
}

func (m *meanValue) add(value *float64) {
	if value != nil && !math.IsNaN(*value) && !math.IsInf(*value, 0) {
		m.sum += *value
		m.count++
	}
}

// mean returns NaN if nothing is known.
func (m *meanValue) mean() float64 { return m.sum / float64(m.count) }

// add notes the weather of an hour at one point. A nil value is unknown.
func (t *weatherTally) add(start time.Time, wind, temperature, radiation *float64) {
	if hour := t.hour(start); hour != nil {
		hour.wind.add(wind)
		hour.temperature.add(temperature)
		hour.radiation.add(radiation)
	}
}

// addShares notes which shares of the load wind and sun supply in an hour, or a part of it. A nil value is
// unknown.
func (t *weatherTally) addShares(start time.Time, wind, solar *float64) {
	if hour := t.hour(start); hour != nil {
		hour.windShare.add(wind)
		hour.solarShare.add(solar)
	}
}

// hour returns the sums of an hour; nil if there are too many hours.
func (t *weatherTally) hour(start time.Time) *weatherSums {
	if t.hours == nil {
		t.hours = map[time.Time]*weatherSums{}
	}
	start = start.UTC().Truncate(time.Hour)
	if t.hours[start] == nil && len(t.hours) < maxWeatherHours {
		t.hours[start] = &weatherSums{}
	}
	return t.hours[start]
}

// weather returns the means in order of time.
func (t *weatherTally) weather() forecast.Weather {
	var all forecast.Weather
	for _, start := range slices.SortedFunc(maps.Keys(t.hours), time.Time.Compare) {
		hour := t.hours[start]
		mean := forecast.UnknownWeather(start)
		mean.WindSpeed, mean.Temperature, mean.SolarRadiation = hour.wind.mean(), hour.temperature.mean(), hour.radiation.mean()
		mean.WindShare, mean.SolarShare = hour.windShare.mean(), hour.solarShare.mean()
		all = append(all, mean)
	}
	return all
}
