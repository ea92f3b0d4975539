package forecast

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// saveModel returns the history of a model.
func saveModel(tb testing.TB, m *Model) []byte {
	tb.Helper()
	data, err := m.Save()
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func restored(t *testing.T, data []byte, now time.Time) *Model {
	t.Helper()
	m := &Model{}
	if err := m.Restore(data, now); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestARestoredModelPredictsTheSame(t *testing.T) {
	for name, tt := range map[string]struct {
		tell   func(m *Model) time.Time
		within float64
	}{
		"of nothing":                         {func(*Model) time.Time { return hr(0) }, 0},
		"of a day":                           {afterActuals(day, day), 1e-3},
		"of the past alone":                  {afterActuals(20*day, -1), 1e-3},
		"of four weeks":                      {afterActuals(28*day, 28*day), 1e-3},
		"of four weeks, the forecast died":   {afterActuals(28*day, 27*day), 1e-3},
		"of the weather":                     {afterWeather(28*day, false), 1e-3},
		"of the weather and forecasts":       {afterWeather(28*day, true), 1e-3},
		"of forecasts alone, each half hour": {afterForecasts(20*day, 0), 20},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.within == 20 && testing.Short() {
				t.Skip("a forecast each half hour takes long to learn from")
			}
			var m Model
			now := tt.tell(&m)
			want := m.Predict(now, trust)
			if want.Basis == BasisNothing {
				return // and too old to be restored
			}
			again := restored(t, saveModel(t, &m), now)
			got := again.Predict(now, trust)
			if got.Basis != want.Basis || got.LearnedTime != want.LearnedTime && tt.within < 1 {
				t.Errorf("basis %q of %v, want %q of %v", got.Basis, got.LearnedTime, want.Basis, want.LearnedTime)
			}
			checkAlike(t, got, want, tt.within)
			if math.Abs(got.SavingShare-want.SavingShare) > 0.02 {
				t.Errorf("share is %v, want %v", got.SavingShare, want.SavingShare)
			}
			if !bytes.Equal(saveModel(t, &m), saveModel(t, again)) {
				t.Error("it is not saved as it was restored")
			}
		})
	}
}

// checkAlike compares the hourly means of two predictions. Slots within the current hour are not
// restored.
func checkAlike(t *testing.T, got, want Prediction, most float64) {
	t.Helper()
	from := startOf(hourOf(want.Series.Start()) + 1)
	g, w := hourlyMeans(got.Series, from, 90), hourlyMeans(want.Series, from, 90)
	for i := range g {
		if math.Abs(g[i]-w[i]) > most {
			t.Errorf("%d hours ahead, it predicts %v, want %v", i+1, g[i], w[i])
		}
	}
}

func TestARestoredModelIsOneOfTheLastWeeks(t *testing.T) {
	if testing.Short() {
		t.Skip("it learns from 150 days")
	}
	var long, short Model
	g := synthetic(20, 150, 50)
	g.tell(&long, 0, 140*day, nil)
	late := *g
	late.forecasts = slices.DeleteFunc(slices.Clone(g.forecasts), func(a receivedForecast) bool { return a.received.Before(hr(84 * day)) })
	late.tell(&short, 140*day-retentionHours-month, 140*day, nil)
	now := hr(140*day - 1)
	again := restored(t, saveModel(t, &long), now)
	checkAlike(t, again.Predict(now, trust), short.Predict(now, trust), 1)
	want, _ := g.mae(&long, 140*day, 146*day, 24)
	if got, _ := g.mae(again, 140*day, 146*day, 24); got > 1.1*want {
		t.Errorf("the mean error after a restart is %.2f, without it %.2f", got, want)
	}
}

func TestRestoreKeepsWhatWasReceivedSince(t *testing.T) {
	var before Model
	now := afterActuals(28*day, 28*day)(&before)
	data := saveModel(t, &before)
	forecast := even(now, time.Hour, flat(48, 123)...)
	first, second := restored(t, data, now), &Model{}
	first.Receive(forecast, now)
	second.Receive(forecast, now)
	if err := second.Restore(data, now); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(bits(first.Predict(now, trust)), bits(second.Predict(now, trust))) {
		t.Error("it matters whether a forecast is received before or after")
	}
}

// incompressible returns a model whose history does not compress, with the longest forecasts, one
// an hour.
func incompressible(days int) *Model {
	rng, m := rand.New(rand.NewPCG(21, 1)), &Model{}
	for n := range days * day {
		var values []float64
		for range 9 * day {
			values = append(values, 300*rng.Float64())
		}
		m.Receive(even(hr(n), time.Hour, values...), hr(n))
		var w Weather
		for i := range 9 * day {
			w = append(w, weatherAt(hr(n+i), 20*rng.Float64(), 20*rng.Float64(), 900*rng.Float64()))
		}
		m.HearWeather(w, hr(n))
		m.Observe(Slot{hr(n), hr(n + 1), 300 * rng.Float64()})
	}
	return m
}

func TestHistoryIsSmall(t *testing.T) {
	m := incompressible(60)
	if n := len(saveModel(t, m)); n > 256<<10 {
		t.Errorf("a history that does not compress has %d bytes", n)
	}
	if n := len(m.forecastLearner(0).features.(*forecastFeatures).forecasts); n > 200 {
		t.Errorf("%d forecasts are held", n)
	}
}

func TestForecastsAloneDoNotPileUp(t *testing.T) {
	var m Model
	m.Observe(Slot{hr(0), hr(1), 1}) // and never again
	for n := range 70 * day {
		m.Receive(even(hr(n), time.Hour, irregular(hour(n), 1), 2, 3), hr(n))
	}
	if n, held := len(m.archive), len(m.forecastLearner(0).features.(*forecastFeatures).forecasts); n > 300 || held > 300 {
		t.Errorf("%d forecasts are archived and %d held", n, held)
	}
}

func compressed(plain ...[]byte) []byte { return compressedAs(archiveVersion, plain...) }

func compressedAs(version byte, plain ...[]byte) []byte {
	b := bytes.NewBuffer([]byte{version})
	z := gzip.NewWriter(b)
	_, _ = z.Write(bytes.Join(plain, nil))
	_ = z.Close()
	return b.Bytes()
}

// le returns the little-endian encoding of a number in some bytes.
func le(n uint64, bytes int) []byte { return binary.LittleEndian.AppendUint64(nil, n)[:bytes] }

func TestRestoreRefuses(t *testing.T) {
	var m Model
	now := afterActuals(10*day, 10*day)(&m)
	good := saveModel(t, &m)
	var plain []byte
	header := func(received time.Time) []byte { return append([]byte{1}, le(uint64(received.Unix()), 8)...) }
	none := le(0, 6)
	newest := le(uint64(hourOf(now)), 4)
	single := func(v float64) []byte { return le(uint64(math.Float32bits(float32(v))), 4) }
	windy := func(rest ...[]byte) []byte {
		return compressedAs(weatherVersion, slices.Concat([][]byte{header(now), none}, rest)...)
	}
	heard := func(at time.Time) []byte { return le(uint64(at.Unix()), 8) }
	outlook := func(known int) []byte { return append(le(uint64(int(hourOf(now))+known), 4), none...) }
	for name, tt := range map[string]struct {
		data []byte
		now  time.Time
		want string
	}{
		"weather without records":      {windy(heard(now)), now, "cut off"},
		"weather of tomorrow":          {windy(heard(now.Add(day*time.Hour)), none, none, none, none, none, le(0, 2)), now, ErrFromFuture.Error()},
		"a wind that nobody survives":  {windy(heard(now), newest, le(1, 2), single(1000), none, none, none, none, le(0, 2)), now, "want at most 150"},
		"a share that no wind has":     {windy(heard(now), none, none, none, newest, le(1, 2), single(11), none, le(0, 2)), now, "want at most 10"},
		"weather of too many hours":    {windy(heard(now), newest, le(9999, 2), make([]byte, 4*9999)), now, "in a row"},
		"outlooks that are not there":  {windy(heard(now), none, none, none, none, none, le(9, 2), outlook(-1)), now, "cut off"},
		"outlooks in no order":         {windy(heard(now), none, none, none, none, none, le(2, 2), outlook(-1), outlook(-2)), now, "history has an outlook of"},
		"an outlook of tomorrow":       {windy(heard(now), none, none, none, none, none, le(1, 2), outlook(day)), now, "history has an outlook of"},
		"nothing":                      {nil, now, "begins with"},
		"another version":              {append([]byte{maxArchiveVersion + 1}, good[1:]...), now, "begins with"},
		"a version to come":            {append([]byte{weatherVersion + 1}, good[1:]...), now, "history is of version 4, want 1 to 3: " + ErrFromFuture.Error()},
		"what is not compressed":       {append([]byte{archiveVersion}, "history"...), now, "not compressed"},
		"what is cut off":              {good[:len(good)/2], now, "cut off or damaged"},
		"what is followed by more":     {append(slices.Clone(good), "more"...), now, "damaged"},
		"an empty encoding":            {compressed(plain), now, "cut off"},
		"half a header":                {compressed(header(now)[:5]), now, "cut off"},
		"half a record":                {compressed(header(now), newest, le(5, 2), single(1)), now, "cut off"},
		"half a forecast":              {compressed(header(now), none, newest), now, "cut off"},
		"a bomb":                       {compressed(make([]byte, 50<<20)), now, "more than"},
		"an hour of another era":       {compressed(header(now), le(math.MaxUint32, 4), le(0, 2)), now, "want at most"},
		"too many hours":               {compressed(header(now), newest, le(math.MaxUint16, 2), make([]byte, 4*math.MaxUint16)), now, "in a row"},
		"too long a forecast":          {compressed(header(now), none, newest, newest, le(horizonHours+1, 2), make([]byte, 4*(horizonHours+1))), now, "in a row"},
		"too large an intensity":       {compressed(header(now), newest, le(1, 2), single(2e6)), now, "want at most"},
		"an infinite intensity":        {compressed(header(now), newest, le(1, 2), single(math.Inf(-1))), now, "want at most"},
		"what was told tomorrow":       {good, now.Add(-day * time.Hour), ErrFromFuture.Error()},
		"what was received tomorrow":   {compressed(header(now.Add(day*time.Hour)), none), now, ErrFromFuture.Error()},
		"what was received next era":   {compressed([]byte{1}, le(math.MaxInt64, 8), none), now, "want at most"},
		"what was received last era":   {compressed([]byte{1}, le(1<<63, 8), none), now, "want at most"},
		"what is too old":              {good, now.Add(57 * day * time.Hour), "want at most"},
		"forecasts in the wrong order": {compressed(header(now), none, newest, none, le(uint64(hourOf(now)-5), 4), none), now, "before one of"},
		"a forecast after the newest":  {compressed(header(now), none, le(uint64(hourOf(now)+9), 4), none), now, "before one of"},
	} {
		t.Run(name, func(t *testing.T) {
			want := bits(m.Predict(now, trust))
			err := m.Restore(tt.data, tt.now)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("the error is %v, want one that has %q", err, tt.want)
			}
			if !slices.Equal(want, bits(m.Predict(now, trust))) {
				t.Error("the model is not as it was")
			}
		})
	}
}

func TestADamagedHistoryIsRefused(t *testing.T) {
	var m Model
	now := afterActuals(4*day, 4*day)(&m)
	good := saveModel(t, &m)
	const header = 11 // of gzip, after the version; it has a time that does not matter
	for i := header; i < len(good); i += 7 {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if err := new(Model).Restore(bad, now); err == nil {
			t.Errorf("a bit is flipped in byte %d of %d, and nobody notices", i, len(good))
		}
	}
}

// FuzzRestore checks that every history is refused, or gives a model that works and can be saved
// again.
func FuzzRestore(f *testing.F) {
	var m Model
	now := afterActuals(4*day, 4*day)(&m)
	for _, m := range []*Model{&m, {}, restoredWithWeather(f, now)} {
		version, plain := m.encode()
		f.Add(version, plain, int64(0))
	}
	f.Add(byte(archiveVersion), []byte{}, int64(1<<62))
	f.Fuzz(func(t *testing.T, version byte, plain []byte, shift int64) {
		now := now.Add(time.Duration(shift))
		var m Model
		if err := m.Restore(plain, now); err == nil {
			t.Fatal("what is not compressed is restored")
		}
		if err := m.Restore(compressedAs(version, plain), now); err != nil {
			return
		}
		checkSane(t, m.Predict(now, trust), now)
		m.Contributions(now, now.Add(5*time.Hour), trust)
		m.Receive(even(now, time.Hour, 1, 2, 3), now)
		m.Observe(Slot{now, now.Add(time.Hour), 5})
		checkSane(t, m.Predict(now, 0), now)
		if err := new(Model).Restore(saveModel(t, &m), now.Add(time.Hour)); err != nil {
			t.Fatalf("what was saved is not restored: %v", err)
		}
	})
}

// restoredWithWeather returns a model that was restored, and has heard weather since.
func restoredWithWeather(tb testing.TB, now time.Time) *Model {
	tb.Helper()
	var m Model
	afterWeather(4*day, false)(&m)
	again := &Model{}
	if err := again.Restore(saveModel(tb, &m), now); err != nil {
		tb.Fatal(err)
	}
	again.HearWeather(windy(8, 10).weather[5].weather, now)
	return again
}

// FuzzModel lets a model receive, observe and predict as the bytes say: each step takes four bytes.
func FuzzModel(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 1, 5, 6, 7, 2, 8, 200, 10, 3, 0, 0, 0})
	f.Add([]byte{2, 8, 200, 10, 5, 0, 0, 0, 2, 8, 200, 10, 5, 1, 2, 3, 5, 255, 9, 9})
	f.Add([]byte{1, 255, 0, 0, 2, 0, 255, 255, 1, 127, 3, 3, 2, 254, 9, 9, 4, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var m Model
		now := hr(0)
		for step := range slices.Chunk(data[:min(len(data), 160)], 4) {
			if len(step) < 4 {
				return
			}
			now = jumped(now, step[1])
			value := hostile(step[2])
			switch step[0] % 6 {
			case 0:
				width := time.Duration(1+int(step[3])) * time.Minute
				m.Receive(even(now.Add(time.Duration(int8(step[3]))*time.Minute), width, value, hostile(step[3]), 300, value), now)
			case 1:
				m.Observe(Slot{now, jumped(now, step[3]), value})
			case 2:
				for n := range 30 {
					now = now.Add(time.Hour)
					m.Observe(Slot{now, now.Add(time.Hour), value + float64(n%(1+int(step[3])))})
				}
			case 3:
				m.Receive(NewSeries([]Slot{{time.Time{}, jumped(now, step[3]), value}}), now)
			case 4:
				m.Contributions(now, jumped(now, step[3]), trust)
			case 5:
				m.HearWeather(Weather{{now, value, hostile(step[3]), value, value, value}, {jumped(now, step[3]), 5, value, hostile(step[3]), 0.5, hostile(step[3])}}, now)
			}
			checkAnything(t, m.Predict(now, time.Duration(step[3])*time.Hour))
			if n := len(m.past.actual.values); n > 2*(retentionHours+month)+2 {
				t.Fatalf("%d hours are held", n)
			}
		}
		saveModel(t, &m)
	})
}

// checkAnything is checkSane for a clock that may be wrong.
func checkAnything(t *testing.T, p Prediction) {
	t.Helper()
	if !p.Series.IsEmpty() {
		checkSane(t, p, p.Series.Start())
	} else if p.Basis != BasisNothing {
		t.Fatalf("nothing is predicted, from the basis %q", p.Basis)
	}
}

// jumped returns a time before or after another: often by hours, sometimes by ages.
func jumped(now time.Time, by byte) time.Time {
	switch {
	case by < 200:
		return now.Add(time.Duration(by) * 7 * time.Minute)
	case by < 230:
		return now.Add(time.Duration(by-200) * day * time.Hour)
	case by < 240:
		return now.Add(-time.Duration(by-230) * 7 * time.Hour)
	default:
		eras := []time.Time{{}, time.Unix(0, 0), time.Unix(1, 1), time.Unix(math.MaxInt64/1_000_000_000, 0), time.Unix(1<<40, 0), hr(0), hr(1000), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)}
		return eras[int(by)%len(eras)]
	}
}

// hostile returns an intensity: often a usual one, sometimes not.
func hostile(b byte) float64 {
	odd := []float64{0, math.Copysign(0, -1), 1e6, -1e6, 1e-300, math.NaN(), math.Inf(1), math.Inf(-1), 1e300, -5, 1e-6}
	if int(b) < len(odd) {
		return odd[b]
	}
	return float64(b) * 3
}

func TestAHistoryFromAFastClockKeepsNoForecastOut(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	forecast := func(intensity float64) *Series {
		return NewSeries([]Slot{{now.Add(-time.Hour), now.Add(9 * time.Hour), intensity}})
	}
	saved := &Model{}
	saved.Receive(forecast(400), now.Add(90*time.Minute))
	history, err := saved.Save()
	if err != nil {
		t.Fatal(err)
	}
	m := &Model{}
	if err := m.Restore(history, now); err != nil {
		t.Fatal(err)
	}
	m.Receive(forecast(100), now.Add(time.Minute))
	if got, _ := m.Predict(now.Add(time.Minute), 24*time.Hour).Series.At(now.Add(4 * time.Hour)); math.Abs(got-100) > 1 {
		t.Errorf("predicts %v, want 100, as the newest forecast says", got)
	}
}
