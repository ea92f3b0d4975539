package exporter

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// slowly makes each answer of the server take a while.
func slowly(w *world, then func(r *http.Request)) func(http.ResponseWriter, *http.Request) bool {
	return func(_ http.ResponseWriter, r *http.Request) bool {
		w.clock.Step(30 * time.Second)
		then(r)
		return false
	}
}

func TestALongFirstRoundIsWrittenMeanwhile(t *testing.T) {
	w, g, a := newTry(t, manyZones(20)...)
	answers, forecasts, pasts := 0, 0, 0
	g.setFail(slowly(w, func(r *http.Request) {
		written := 0
		if answers > 0 {
			for _, s := range w.document().Series {
				written += min(1, len(s.Slots()))
			}
		}
		const inTwoMinutes = 4
		if known := forecasts; written < min(1, known) || written < known-inTwoMinutes {
			t.Errorf("after %d forecasts, %d are written", known, written)
		}
		if answers > 0 && len(w.document().Actuals) < pasts-inTwoMinutes {
			t.Errorf("after the past of %d zones, that of %d is written", pasts, len(w.document().Actuals))
		}
		answers++
		if r.URL.Path == "/past" {
			pasts++
		} else {
			forecasts++
		}
	}))
	a.step(t.Context())
	// The first forecast is written at once, and so is all that is known before the past is asked for.
	if minutes := int(w.clock.Since(start()).Minutes()); len(w.writes) > minutes+2 || pasts != 20 {
		t.Errorf("%d writes in %d minutes, and the past of %d zones: want about one in a minute, and 20", len(w.writes), minutes, pasts)
	}
}

func TestTargetsThatComeDuringARoundDoNotWaitForItsEnd(t *testing.T) {
	w, g, a := newTry(t, manyZones(20)...)
	other := policy(g, "AA")
	other.Name = "other"
	requests := 0
	g.setFail(slowly(w, func(*http.Request) {
		if requests++; requests == 5 {
			a.assign([]target{targetOf(policy(g, manyZones(20)...), nodeRegions{}), targetOf(other, nodeRegions{})})
		}
	}))
	a.step(t.Context())
	if requests != 5 {
		t.Errorf("the round ends after %d requests, want 5", requests)
	}
	if next := a.nextLook(); next.After(w.clock.Now()) {
		t.Errorf("the next round begins at %v, want now: %v", next, w.clock.Now())
	}
	a.step(t.Context())
	if c := w.configMap("carbon-intensity-other"); c == nil || len(c.BinaryData["data"]) == 0 {
		t.Errorf("the new policy has the ConfigMap %v", c)
	}
	asked := map[string]int{}
	for _, request := range g.asked() {
		if asked[request]++; asked[request] > 1 {
			t.Errorf("asked again for %s", request)
		}
	}
	if len(asked) != 42 {
		t.Errorf("asked for %d things, want the forecast and the past of 21 zones", len(asked))
	}
}

func TestAKeyThatIsGoodForOneZoneIsUsedForThatZone(t *testing.T) {
	w, g, a := newTry(t, "DE", "FR")
	w.runUntil(a, start().Add(9*time.Minute))
	g.asked()
	g.setFail(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.RawQuery, "FR") {
			return false
		}
		http.Error(w, "not for this zone", http.StatusUnauthorized)
		return true
	})
	w.runUntil(a, start().Add(8*time.Hour))
	asked := g.asked()
	if n := count(asked, "forecast DE"); n < 28 {
		t.Errorf("in 8 hours, the forecast of DE is asked for %d times, want every 15 minutes", n)
	}
	if n := count(asked, "forecast FR"); n > 16 {
		t.Errorf("in 8 hours, the forecast of FR is asked for %d times", n)
	}
}
