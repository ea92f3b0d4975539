package forecast

import (
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// windOf returns an hour of which the wind alone is known.
func windOf(start time.Time, wind float64) WeatherHour {
	h := UnknownWeather(start)
	h.WindSpeed = wind
	return h
}

// withWeather returns what a ConfigMap has with a forecast of a location, and some weather.
func withWeather(tb testing.TB, weather []byte) (binaryData map[string][]byte, data map[string]string) {
	tb.Helper()
	d := Document{Series: map[string]*Series{"A": series(0, 300, 310)}, Details: map[string]Details{"A": {Origin: Origin{Provider: "P"}, Issued: t0}}}
	binaryData, data, err := d.ConfigMap(t0)
	if err != nil {
		tb.Fatal(err)
	}
	binaryData[weatherKey] = weather
	return binaryData, data
}

func TestDamagedWeatherIsLeftOutAndMentioned(t *testing.T) {
	for name, weather := range map[string][]byte{
		"data that is not compressed": []byte("[]"),
		"no runs":                     zipped(t, `{}`),
		"a bomb":                      zipped(t, "["+strings.Repeat(" ", maxActualsSize)+"]"),
		"lists of two sizes":          zipped(t, `[{"location":"A","start":"2026-03-31T00:00:00Z","windSpeed":[1]}]`),
		"the year 1":                  zipped(t, `[{"location":"A","start":"0001-01-01T00:00:00Z"}]`),
		"a year of nobody":            zipped(t, `[{"location":"A","start":"9999-01-01T00:00:00Z"}]`),
		"too large a number":          zipped(t, `[{"location":"A","start":"2026-03-31T00:00:00Z","windSpeed":[1e309],"temperature":[1],"solarRadiation":[1]}]`),
		"a text":                      zipped(t, `[{"location":"A","start":"2026-03-31T00:00:00Z","windSpeed":["NaN"],"temperature":[1],"solarRadiation":[1]}]`),
	} {
		binaryData, data := withWeather(t, weather)
		d, err := FromConfigMap(binaryData, data, "data", t0)
		if err != nil || d.Series["A"].IsEmpty() || len(d.Weather) > 0 {
			t.Errorf("%s: got %+v, %v, want the forecast without the weather", name, d, err)
		}
		if !strings.HasPrefix(d.Message, `key "weather": `) || !strings.Contains(d.Message, "the weather is left out") {
			t.Errorf("%s: the message is %q", name, d.Message)
		}
	}
}

// TestSomebodyElsesKeyOfThisNameIsNoWeather has a ConfigMap that Gridlatch has not written.
func TestSomebodyElsesKeyOfThisNameIsNoWeather(t *testing.T) {
	d, err := FromConfigMap(map[string][]byte{"data": document(t, 3), weatherKey: []byte("sunny")}, nil, "data", t0)
	if err != nil || d.Message != "" || len(d.Series) == 0 {
		t.Errorf("got %+v, %v, want the forecast", d, err)
	}
}

func TestDamagedWeatherTakesBoundedMemory(t *testing.T) {
	run := `{"start":"2026-03-31T00:00:00Z","windSpeed":[1` + strings.Repeat(",1", maxActualsSize/2-60) + `]}`
	runs := strings.Repeat(`,{"start":"2026-03-31T00:00:00Z"}`, maxActualsSize/40)
	for _, worst := range [][]byte{zipped(t, "["+run+"]"), zipped(t, "["+runs[1:]+"]"), zipped(t, "[{}"+strings.Repeat(",{}", maxActualsSize/3-10)+"]")} {
		binaryData, data := withWeather(t, worst)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		d, err := FromConfigMap(binaryData, data, "data", t0)
		runtime.ReadMemStats(&after)
		if taken := after.TotalAlloc - before.TotalAlloc; err != nil || len(d.Weather) > maxLocations || taken > 200<<20 {
			t.Errorf("%d KiB of a ConfigMap take %d MiB (%v)", len(worst)>>10, taken>>20, err)
		}
	}
}

// FuzzWeather offers whatever a ConfigMap says of the weather to a store that knows a grid, with a clock
// that jumps.
func FuzzWeather(f *testing.F) {
	run := func(location, start, values string) string {
		return fmt.Sprintf(`[{"location":%q,"start":%q,"windSpeed":[%s],"temperature":[%s],"solarRadiation":[%s]}]`, location, start, values, values, values)
	}
	f.Add(run("A", "2026-03-31T00:00:00Z", "5,null,1e308,-1"), int64(time.Hour))
	f.Add(run("B", "2200-12-31T23:59:59.999999999Z", "0,0"), int64(-9*time.Hour))
	shares := `,"windShare":[0.3,null,10,1e308,-1],"solarShare":[10,0.1,null,0,0]}]`
	f.Add(strings.TrimSuffix(run("A", "2026-03-30T21:00:00Z", "5,6,7,8,9"), "}]")+shares, int64(time.Hour))
	f.Add(run("A", "2026-03-29T00:30:00+02:00", strings.Repeat("7,", 200)+"8")[:len(run("A", "2026-03-29T00:30:00+02:00", strings.Repeat("7,", 200)+"8"))-1]+","+run("A", "2026-03-30T00:00:00Z", "9,9")[1:], int64(60*24*time.Hour))
	var values []float64
	for h := range 5 * day {
		values = append(values, 300+50*math.Sin(float64(h)))
	}
	actuals := even(t0.Add(-5*day*time.Hour), time.Hour, values...)
	f.Fuzz(func(t *testing.T, text string, jump int64) {
		binaryData, data := withWeather(t, zipped(t, text))
		d, err := FromConfigMap(binaryData, data, "data", t0)
		if err != nil {
			t.Fatal(err)
		}
		d.Actuals = map[string]*Series{"A": actuals}
		var store Store
		for _, now := range []time.Time{t0, t0.Add(time.Duration(jump)), t0.Add(time.Hour)} {
			_ = store.Offer(Source{}, d, now) // a refusal is fine
			if known, ok := store.Snapshot(Source{}).Forecast("A"); ok {
				checkSane(t, known.Model.Predict(now, trust), now)
				saveModel(t, known.Model)
			}
		}
	})
}

// TestWeatherThatIsNotRenewedIsTrustedLess has weather that comes for two weeks and then no more: a source
// that is silent, or a policy that names none any more.
func TestWeatherThatIsNotRenewedIsTrustedLess(t *testing.T) {
	var m Model
	g := windy(9, 40)
	g.tell(&m, 0, 14*day, nil)
	if b := m.Predict(hr(14*day-1), trust).Basis; b != BasisWeather {
		t.Fatalf("the basis is %q", b)
	}
	g.weather = nil
	lasted := 0
	g.tell(&m, 14*day, 20*day, func(now time.Time) {
		if m.Predict(now, trust).Basis == BasisWeather {
			lasted = hourOf(now).since(h0 + 14*day)
		}
	})
	if lasted > maxLatenessHours+2*day {
		t.Errorf("the weather counts for %d hours after it was renewed last", lasted)
	}
	var restored Model
	now := hr(20*day - 1)
	if err := restored.Restore(saveModel(t, &m), now); err != nil {
		t.Fatal(err)
	}
	if b := restored.Predict(now, trust).Basis; b != BasisHistory {
		t.Errorf("after a restart, the basis is %q", b)
	}
}

// TestOldWeatherIsNotNewToSomebodyWhoReadsItFirst has a reader that starts while nobody renews the weather.
func TestOldWeatherIsNotNewToSomebodyWhoReadsItFirst(t *testing.T) {
	g := windy(9, 40)
	now := hr(25 * day)
	for days, want := range map[int]Basis{0: BasisWeather, 1: BasisWeather, 4: BasisHistory, 30: BasisHistory} {
		hours := map[time.Time]WeatherHour{}
		for _, issue := range g.weather[:26-min(days, 20)] {
			for _, h := range issue.weather {
				hours[h.Start] = h
			}
		}
		for h := range 9 * day { // it looks far ahead
			start := now.Add(time.Duration(h-4*day) * time.Hour)
			if _, ok := hours[start]; !ok {
				hours[start] = windOf(start, 7)
			}
		}
		d := Document{
			Actuals: map[string]*Series{"A": even(hr(0), time.Hour, g.actual[:25*day]...)},
			Details: map[string]Details{"A": {Origin: Origin{Provider: "P"}, WeatherReceived: now.AddDate(0, 0, -days)}},
			Weather: map[string]Weather{"A": slices.Collect(maps.Values(hours))},
		}
		var store Store
		if err := store.Offer(Source{}, d, now); err != nil {
			t.Fatal(err)
		}
		known, _ := store.Snapshot(Source{}).Forecast("A")
		if p := known.Model.Predict(now, trust); p.Basis != want {
			t.Errorf("weather of %d days ago: the basis is %q, want %q", days, p.Basis, want)
		}
	}
}

// TestAClockThatWasAheadKeepsNoWeatherOut offers a document with weather and nothing else that is new.
func TestAClockThatWasAheadKeepsNoWeatherOut(t *testing.T) {
	weather := func(from time.Time) Document {
		return Document{
			Details: map[string]Details{"A": {Origin: Origin{Provider: "P"}}}, Weather: map[string]Weather{"A": {windOf(from.Add(time.Hour), 7)}},
		}
	}
	var store Store
	for _, now := range []time.Time{t0.Add(5 * day * time.Hour), t0} {
		d := weather(now)
		if err := store.Offer(Source{}, d, now); err != nil {
			t.Fatal(err)
		}
	}
	known, _ := store.Snapshot(Source{}).Forecast("A")
	if !known.Model.sky.weather.isKnownAt(hourOf(t0) + 1) {
		t.Error("the weather of a clock that is right is not heard")
	}
}

// TestWeatherThatComesAndGoesTakesBoundedMemory lets the weather change each minute.
func TestWeatherThatComesAndGoesTakesBoundedMemory(t *testing.T) {
	var m Model
	now := afterWeather(4*day, true)(&m)
	for i := range 3000 {
		var w Weather
		for h := range 200 {
			w = append(w, windOf(now.Add(time.Duration(h)*time.Hour), float64(i%2)))
		}
		if i%5 == 0 {
			w = nil
		}
		m.HearWeather(w, now.Add(time.Duration(i)*time.Minute))
	}
	kept := len(m.sky.outlooks)
	for _, l := range m.outlookLearners {
		kept = max(kept, len(l.features.(*outlookFeatures).forecasts))
	}
	for _, l := range m.forecastLearners {
		kept = max(kept, len(l.features.(*forecastFeatures).outlooks))
	}
	if kept > 10*day {
		t.Errorf("%d outlooks are kept", kept)
	}
}

// TestWindOfAnotherHeightIsBetterThanNoWeather has a policy that names another source, whose winds are of
// another height: what was learned is kept, and follows.
func TestWindOfAnotherHeightIsBetterThanNoWeather(t *testing.T) {
	missed := func(factor float64) float64 {
		var m Model
		g, sum, n := windy(1, 40), 0.0, 0.0
		g.tell(&m, 0, 20*day, nil)
		if factor == 0 {
			g.weather = nil
		}
		for _, issue := range g.weather[min(20, len(g.weather)):] {
			for i := range issue.weather {
				issue.weather[i].WindSpeed *= factor
			}
		}
		g.tell(&m, 20*day, 30*day, func(now time.Time) {
			p := m.Predict(now, trust)
			for h := hourOf(now) + 1; h <= hourOf(now)+18; h++ {
				got, _ := p.Series.At(startOf(h))
				sum, n = sum+math.Abs(got-g.at(h)), n+1
			}
		})
		return sum / n
	}
	if other, without := missed(1.4), missed(0); other > 0.8*without {
		t.Errorf("the mean error is %.1f, and without any weather %.1f", other, without)
	}
}

// TestAHistoryOfManyOutlooksIsRestoredSoon has as many outlooks as fit.
func TestAHistoryOfManyOutlooksIsRestoredSoon(t *testing.T) {
	var m Model
	now := afterWeather(10*day, true)(&m)
	saved, err := decodeModel(saveModel(t, &m))
	if err != nil {
		t.Fatal(err)
	}
	saved.sky.outlooks = slices.Repeat(saved.sky.outlooks[:1], 30_000)
	for i := range saved.sky.outlooks {
		saved.sky.outlooks[i].values = record{}
	}
	hostile := &Model{knowledge: saved}
	_, plain := hostile.encode()
	began := time.Now()
	_ = new(Model).Restore(compressedAs(weatherVersion, plain), now) // a refusal is fine
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("a history of %d KiB takes %v", len(plain)>>10, took)
	}
}
