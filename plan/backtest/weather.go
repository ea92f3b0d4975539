package backtest

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// WeatherIssue is one publication of a forecast of the weather.
type WeatherIssue struct {
	Issued  time.Time
	Weather forecast.Weather
}

// WeatherIssues are all forecasts of the weather of a source.
type WeatherIssues struct {
	// Issues are ascending.
	Issues []WeatherIssue
	// Hours counts the hours of all issues, and UnknownValues the values of them that are empty or
	// cannot be read.
	Hours, UnknownValues int
	// Skipped counts the rows that do not count.
	Skipped SkippedRows
}

// The columns of the weather.
const (
	windColumn        = "wind_speed_10m"
	temperatureColumn = "temperature_2m"
	radiationColumn   = "shortwave_radiation"
	windShareColumn   = "wind_share"
	solarShareColumn  = "solar_share"
)

// weatherColumns returns the columns of the weather, and names of them that are usual. Of several winds, that at the height
// of the turbines counts.
func weatherColumns() []column {
	return []column{
		{name: windColumn, optional: true, also: []string{
			"windspeed100m", "windspeed100mms", "windspeed120m", "windspeed120mms", "windspeed80m", "windspeed80mms",
			"windspeed10m", "windspeed10mms", "windspeed", "windspeedms", "wind",
		}},
		{name: temperatureColumn, optional: true, also: []string{"temperature2m", "temperature2mc", "temperature", "airtemperature", "temp"}},
		{name: radiationColumn, optional: true, also: []string{
			"shortwaveradiation", "shortwaveradiationwm", "solarradiation", "globalradiation", "ghi", "radiation",
		}},
		{name: windShareColumn, optional: true, also: []string{"windshare"}},
		{name: solarShareColumn, optional: true, also: []string{"solarshare"}},
	}
}

// ReadWeather reads CSV with the columns issued, timestamp, wind_speed_10m (m/s), temperature_2m (degrees
// Celsius), shortwave_radiation (W/m2), wind_share and solar_share (of the load: 0.4 is 40 %): what was
// forecast at issued for the hour that starts at timestamp. Of the last five columns, one is enough. A
// value that is empty or cannot be read is unknown. Otherwise it is like [ReadForecasts].
func ReadWeather(name string, r io.Reader) (WeatherIssues, error) {
	var w WeatherIssues
	issues, hasWeather := weatherByIssue{}, false
	err := w.Skipped.read(name, r, append([]column{issued(), timestamp()}, weatherColumns()...), func(t *table) error {
		hasWeather = hasWeather || slices.ContainsFunc(weatherColumns(), func(c column) bool { return t.has(c.name) })
		return w.readRow(t, issues)
	})
	switch {
	case err != nil:
		return WeatherIssues{}, err
	case len(issues) == 0:
		return WeatherIssues{}, fmt.Errorf("%s has no usable row%s", name, w.Skipped.firstProblem())
	case !hasWeather:
		return WeatherIssues{}, fmt.Errorf("%s, line 1: no weather: want one of the columns %s, %s, %s, %s, %s",
			name, windColumn, temperatureColumn, radiationColumn, windShareColumn, solarShareColumn)
	}
	for _, at := range slices.Sorted(maps.Keys(issues)) {
		issue := WeatherIssue{Issued: time.Unix(at, 0).UTC()}
		for _, start := range slices.Sorted(maps.Keys(issues[at])) {
			issue.Weather = append(issue.Weather, issues[at][start])
		}
		w.Hours += len(issue.Weather)
		w.Issues = append(w.Issues, issue)
	}
	return w, nil
}

// weatherByIssue has hours by their issue and their start, in Unix seconds.
type weatherByIssue map[int64]map[int64]forecast.WeatherHour

// readRow adds the hour of a row, unless an earlier row has it.
func (w *WeatherIssues) readRow(t *table, issues weatherByIssue) error {
	at, err := t.time("issued")
	if err != nil {
		return err
	}
	given, unknown, err := t.weatherHour()
	if err != nil {
		return err
	}
	hours := issues[at.Unix()]
	if hours == nil {
		hours = map[int64]forecast.WeatherHour{}
		issues[at.Unix()] = hours
	}
	if _, ok := hours[given.Start.Unix()]; ok {
		w.Skipped.Repeated++
		return nil
	}
	hours[given.Start.Unix()] = given
	w.UnknownValues += unknown
	return nil
}

// weatherHour reads the weather of an hour, and counts the columns of the file that have no value.
func (t *table) weatherHour() (given forecast.WeatherHour, unknown int, err error) {
	start, err := t.time("timestamp")
	if err != nil {
		return forecast.WeatherHour{}, 0, err
	}
	given = forecast.UnknownWeather(start)
	for i, into := range []*float64{&given.WindSpeed, &given.Temperature, &given.SolarRadiation, &given.WindShare, &given.SolarShare} {
		name := weatherColumns()[i].name
		if !t.has(name) {
			continue
		}
		value, err := strconv.ParseFloat(t.text(name), 64)
		if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
			unknown++
			continue
		}
		*into = value
	}
	return given, unknown, nil
}
