package forecast

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// h0 is the first hour of the grids of the tests, and the first of a Thursday.
const h0 = hour(20454 * day)

// hr returns the start of the nth hour of a grid.
func hr(n int) time.Time { return startOf(h0.plus(n)) }

// A grid is what happens at one location from its first hour on, and the forecasts of it.
type grid struct {
	first     hour
	actual    []float64
	forecasts []receivedForecast
	weather   []receivedWeather
}

// receivedWeather is a forecast of the weather and when it was received.
type receivedWeather struct {
	received time.Time
	weather  Weather
}

// receivedForecast is a forecast and when it was received.
type receivedForecast struct {
	received time.Time
	series   *Series
}

// synthetic returns a grid with days, weeks and noise that stays for a while. Its forecasts of 96
// hours are issued at midnight and wrong by noise. With biased, they are also wrong by that much at
// noon.
func synthetic(seed uint64, days int, biased float64) *grid {
	rng, g := rand.New(rand.NewPCG(seed, 1)), &grid{first: h0}
	noise := 0.0
	for h := h0; h < h0.plus(days*day); h++ {
		noise = 0.9*noise + 10*rng.NormFloat64()
		level := 300 + 80*math.Sin(2*math.Pi*float64(h%day)/day) + noise
		if !workday(h) {
			level -= 40
		}
		g.actual = append(g.actual, level)
	}
	for d := range days {
		g.announce(d*day, 96, func(h hour) float64 { return g.at(h) + biased*noon(h) + 20*rng.NormFloat64() })
	}
	return g
}

// windy returns a grid that is cleaner the more wind there is and the more the sun shines, and whose
// forecasts of the weather come at six in the morning, for today and tomorrow, and are wrong by noise.
func windy(seed uint64, days int) *grid {
	g, rng := synthetic(seed, days, 0), rand.New(rand.NewPCG(seed, 2))
	g.forecasts = nil
	winds, slow := make([]float64, (days+3)*day), 0.0
	for i := range winds {
		slow = 0.97*slow + 0.7*rng.NormFloat64()
		winds[i] = max(0, 7+slow)
	}
	sun := func(i int) float64 { return max(0, 500*noon(g.first.plus(i))) }
	for i := range g.actual {
		g.actual[i] = 380 - 12*winds[i] - 0.1*sun(i) + 10*rng.NormFloat64()
	}
	for d := range days {
		var w Weather
		for i := d * day; i < (d+2)*day; i++ {
			w = append(w, weatherAt(hr(i), max(0, winds[i]+0.5*rng.NormFloat64()), 10+rng.NormFloat64(), sun(i)))
		}
		g.weather = append(g.weather, receivedWeather{hr(d*day + 6), w})
	}
	return g
}

// noon is 1 at noon, 0 six hours from noon, and -1 at night.
func noon(h hour) float64 { return -math.Cos(2 * math.Pi * float64(h%day) / day) }

func (g *grid) at(h hour) float64 {
	if i := h.since(g.first); i >= 0 && i < len(g.actual) {
		return g.actual[i]
	}
	return 250
}

// announce adds a forecast for the given number of hours, received at its start.
func (g *grid) announce(n, hours int, value func(hour) float64) {
	var values []float64
	for h := g.first.plus(n); h < g.first.plus(n+hours); h++ {
		values = append(values, value(h))
	}
	start := startOf(g.first.plus(n))
	g.forecasts = append(g.forecasts, receivedForecast{start, even(start, time.Hour, values...)})
}

// even returns slots of one width, one after the other.
func even(start time.Time, width time.Duration, values ...float64) *Series {
	var slots []Slot
	for _, v := range values {
		slots = append(slots, Slot{start, start.Add(width), v})
		start = start.Add(width)
	}
	return NewSeries(slots)
}

// tell gives a model what becomes known in the hours of [from, to): a forecast when it is received,
// and the actual intensity of an hour at its start. It then calls see, at the start of each hour.
func (g *grid) tell(m *Model, from, to int, see func(now time.Time)) {
	for n := from; n < to; n++ {
		for _, w := range g.weather {
			if hourOf(w.received) == g.first.plus(n) {
				m.HearWeather(w.weather, w.received)
			}
		}
		for _, i := range g.forecasts {
			if hourOf(i.received) == g.first.plus(n) {
				m.Receive(i.series, i.received)
			}
		}
		now := startOf(g.first.plus(n))
		m.Observe(Slot{now, now.Add(time.Hour), g.at(g.first.plus(n))})
		if see != nil {
			see(now)
		}
	}
}

// mae returns the mean absolute error of a model over the next hours, predicted at the start of
// each hour of [from, to), and the error of the newest forecast itself.
func (g *grid) mae(m *Model, from, to, hours int) (learned, raw float64) {
	n := 0.0
	g.tell(m, from, to, func(now time.Time) {
		p := m.Predict(now, 48*time.Hour)
		for h := hourOf(now) + 1; h <= hourOf(now).plus(hours); h++ {
			if said, ok := m.course.At(startOf(h)); ok && h < g.first.plus(len(g.actual)) {
				got, _ := p.Series.At(startOf(h))
				learned, raw, n = learned+math.Abs(got-g.at(h)), raw+math.Abs(said-g.at(h)), n+1
			}
		}
	})
	return learned / n, raw / n
}

// traceFolder returns the folder with the real grids: the one that GRIDLATCH_TRACES names, or else
// the forty days of one grid that the repository ships.
func traceFolder() string {
	if folder := os.Getenv("GRIDLATCH_TRACES"); folder != "" {
		return folder
	}
	return filepath.Join("testdata", "traces")
}

// traceRegions returns the names of the real grids. There must be at least one.
func traceRegions(t *testing.T) []string {
	t.Helper()
	var regions []string
	files, err := filepath.Glob(filepath.Join(traceFolder(), "*.forecast.csv"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no REGION.forecast.csv: %v", traceFolder(), err)
	}
	for _, file := range files {
		regions = append(regions, strings.TrimSuffix(filepath.Base(file), ".forecast.csv"))
	}
	return regions
}

// readTrace reads days of a real grid, from the day before its first forecast on.
func readTrace(t *testing.T, region string, days int) *grid {
	t.Helper()
	g := &grid{}
	var slots []Slot
	forecasts := readRows(t, region+".forecast.csv")
	for i, row := range forecasts {
		start := parseInstant(t, row[1])
		slots = append(slots, Slot{start, start.Add(time.Hour), parseNumber(t, row[2])})
		if i+1 == len(forecasts) || forecasts[i+1][0] != row[0] {
			g.forecasts = append(g.forecasts, receivedForecast{parseInstant(t, row[0]), NewSeries(slots)})
			slots = nil
		}
	}
	g.first = hourOf(g.forecasts[0].received) - day
	for _, row := range readRows(t, region+".actual.csv") {
		if h := hourOf(parseInstant(t, row[0])); h >= g.first && len(g.actual) < days*day {
			g.actual = append(g.actual, parseNumber(t, row[1]))
		}
	}
	g.weather = readWeather(t, region, startOf(g.first), startOf(g.first.plus(days*day)))
	return g
}

// readWeather reads the weather of a real grid that is issued within some time, if there is any. It is
// received six hours later.
func readWeather(t *testing.T, region string, from, to time.Time) []receivedWeather {
	t.Helper()
	if _, err := os.Stat(filepath.Join(traceFolder(), region+".weather.csv")); err != nil {
		return nil
	}
	var all []receivedWeather
	for _, row := range readRows(t, region+".weather.csv") {
		received := parseInstant(t, row[0]).Add(6 * time.Hour)
		if received.Before(from) || received.After(to) {
			continue
		}
		if n := len(all); n == 0 || !all[n-1].received.Equal(received) {
			all = append(all, receivedWeather{received: received})
		}
		newest := &all[len(all)-1]
		newest.weather = append(newest.weather, weatherAt(parseInstant(t, row[1]), parseNumber(t, row[2]), parseNumber(t, row[3]), parseNumber(t, row[4])))
	}
	return all
}

// readRows reads a file of the traces, without its header.
func readRows(t *testing.T, name string) [][]string {
	t.Helper()
	file, err := os.Open(filepath.Join(traceFolder(), name))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return rows[1:]
}

func parseInstant(t *testing.T, s string) time.Time {
	t.Helper()
	instant, err := ParseTime(s)
	if err != nil {
		t.Fatal(err)
	}
	return instant
}

func parseNumber(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
