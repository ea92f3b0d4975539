package forecast

import (
	"math"
	"testing"
	"time"
)

// TestASingleWrongShareMovesNoWork has an operator whose load lacks a part of the area for an hour, so that wind
// and sun seem to supply many times the load.
func TestASingleWrongShareMovesNoWork(t *testing.T) {
	g := windy(4, 40)
	withShares(g)
	least := math.Inf(1)
	for _, actual := range g.actual[:30*day] {
		least = min(least, actual)
	}
	for _, share := range []float64{2, 5, 10} {
		var m Model
		g.tell(&m, 0, 30*day, nil)
		at, now := hr(30*day+20), hr(30*day).Add(time.Minute)
		w := Weather{windOf(at.Add(-time.Hour), 7), windOf(at, 7), windOf(at.Add(time.Hour), 7)}
		for i := range w {
			w[i].WindShare, w[i].SolarShare = 0.3, 0
		}
		w[1].WindShare = share
		m.HearWeather(w, now)
		before, _ := m.Predict(now, trust).Series.At(at.Add(-time.Hour))
		if got, ok := m.Predict(now, trust).Series.At(at); !ok || got < -0.2*least || share > 3 && math.Abs(got-before) > 60 {
			t.Errorf("share %v: %.0f is predicted, and %.0f for the hour before", share, got, before)
		}
	}
}

// TestAWrongShareSpoilsNoOther has a week in which one hour a day is wrong, and that is over.
func TestAWrongShareSpoilsNoOther(t *testing.T) {
	missed := func(isWrong bool) float64 {
		g := windy(4, 40)
		withShares(g)
		for d, issue := range g.weather {
			if isWrong && d >= 20 && d < 27 {
				issue.weather[12].WindShare = 9
			}
		}
		var m Model
		sum := 0.0
		g.tell(&m, 0, 29*day, nil)
		g.tell(&m, 29*day, 36*day, func(now time.Time) {
			newest := m.sky.outlooks[len(m.sky.outlooks)-1].values
			for h := hourOf(now) + 1; h <= hourOf(now)+12; h++ {
				if v := math.Abs(newest.at(h) - g.at(h)); !math.IsNaN(v) {
					sum += v
				}
			}
		})
		return sum
	}
	if right, wrong := missed(false), missed(true); wrong > 1.02*right {
		t.Errorf("the errors are %.0f times an hour after seven wrong hours, and %.0f without", wrong, right)
	}
}

// TestAnUnknownShareIsNoCalm has hours of which the operator has told of the sun only.
func TestAnUnknownShareIsNoCalm(t *testing.T) {
	g := windy(4, 40)
	withShares(g)
	var m Model
	g.tell(&m, 0, 30*day, nil)
	at, now := hr(30*day+20), hr(30*day).Add(time.Minute)
	m.HearWeather(Weather{windOf(at, 10)}, now)
	outlook := func(sun float64) float64 {
		m.sky.weather[skyValues].set(hourOf(at), math.NaN()) // nobody has told of the wind
		m.sky.weather[skyValues+1].set(hourOf(at), sun)
		made := m.response.outlook(hourOf(now), &m.sky.weather)
		return made.at(hourOf(at))
	}
	without, with := outlook(math.NaN()), outlook(0)
	if math.Abs(with-without) > 1 {
		t.Errorf("the outlook is %.0f with the share of the sun alone, and %.0f without a share", with, without)
	}
}
