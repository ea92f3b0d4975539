package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

const electricityMapsForecast = `{"zone":"DE","forecast":[
 {"carbonIntensity":312,"datetime":"2026-11-26T12:00:00.000Z"},
 {"carbonIntensity":298,"datetime":"2026-11-26T13:00:00.000Z"},
 {"carbonIntensity":301,"datetime":"2026-11-26T14:00:00.000Z"}],"updatedAt":"2026-11-26T11:40:00.000Z"}`

func TestElectricityMapsForecast(t *testing.T) {
	s := answers(t, electricityMapsForecast)
	got, err := makeProvider(t, TypeElectricityMaps, s, newClock()).Forecast(t.Context(), "DE")
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{slot(at(12, 0), time.Hour, 312), slot(at(13, 0), time.Hour, 298), slot(at(14, 0), time.Hour, 301)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	if !got.Issued.Equal(at(11, 40)) || got.Signal != (forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}) || got.Zone != "DE" {
		t.Errorf("issued %v, signal %v, zone %v", got.Issued, got.Signal, got.Zone)
	}
	r := s.asked()[0]
	if uri := r.URL.RequestURI(); uri != "/carbon-intensity/forecast?emissionFactorType=lifecycle&horizonHours=72&zone=DE" {
		t.Error(uri)
	}
	if r.Header.Get("auth-token") != "em-key-123" || !strings.Contains(r.UserAgent(), "gridlatch") {
		t.Errorf("headers are %v", r.Header)
	}
}

func TestElectricityMapsWithoutTheLongHorizonInThePlanGivesTheShortOne(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("horizonHours") {
			http.Error(w, `{"message":"horizonHours: not allowed"}`, http.StatusBadRequest)
			return
		}
		fmt.Fprint(w, strings.ReplaceAll(electricityMapsForecast, `"forecast"`, `"data"`))
	})
	got, err := makeProvider(t, TypeElectricityMaps, s, newClock()).Forecast(t.Context(), "DE")
	if err != nil || len(got.Series.Slots()) != 3 {
		t.Errorf("%v, %v", got, err)
	}
}

// electricityMapsPast serves the past of a plan: its last 24 hours, and more if it has past ranges.
func electricityMapsPast(t *testing.T, hasRanges, hasHistory bool) *server {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		from, to, list := noon.Add(-24*time.Hour), noon, "history"
		switch {
		case strings.HasSuffix(r.URL.Path, "/latest"):
			fmt.Fprint(w, `{"zone":"DE","carbonIntensity":250,"datetime":"2026-11-26T11:00:00.000Z","updatedAt":"2026-11-26T11:55:00.000Z","emissionFactorType":"lifecycle","isEstimated":true,"estimationMethod":"TIME_SLICER_AVERAGE"}`)
			return
		case strings.HasSuffix(r.URL.Path, "/past-range") && hasRanges:
			list = "data"
			from, _ = time.Parse(time.RFC3339, r.URL.Query().Get("start"))
			to, _ = time.Parse(time.RFC3339, r.URL.Query().Get("end"))
			if to.Sub(from) > 10*24*time.Hour {
				http.Error(w, "too long", http.StatusBadRequest)
				return
			}
		case !strings.HasSuffix(r.URL.Path, "/history") || !hasHistory:
			http.Error(w, `{"error":"Forbidden: your plan does not have this"}`, http.StatusForbidden)
			return
		}
		fmt.Fprintf(w, `{"zone":"DE",%q:[`, list)
		for h := from; h.Before(to); h = h.Add(time.Hour) {
			if h.After(from) {
				fmt.Fprint(w, ",")
			}
			fmt.Fprintf(w, `{"zone":"DE","carbonIntensity":%d,"datetime":%q,"emissionFactorType":"lifecycle","isEstimated":false}`, 200+h.Hour(), h.Format("2006-01-02T15:04:05.000Z"))
		}
		fmt.Fprint(w, `]}`)
	})
}

func TestElectricityMapsPast(t *testing.T) {
	for name, test := range map[string]struct {
		from                  time.Duration
		hasRanges, hasHistory bool
		requests              int
		begins                time.Duration // before now
		slots                 int
		incomplete            error
	}{
		"the last hours come from the history of every plan":     {from: 3 * time.Hour, hasHistory: true, requests: 1, begins: 3 * time.Hour, slots: 3},
		"eight weeks come in pages of ten days":                  {from: 56 * 24 * time.Hour, hasRanges: true, hasHistory: true, requests: 6, begins: 56 * 24 * time.Hour, slots: 56 * 24},
		"a plan without ranges gives the last day":               {from: 56 * 24 * time.Hour, hasHistory: true, requests: 2, begins: 24 * time.Hour, slots: 24, incomplete: ErrNotInPlan},
		"a plan without history gives the latest value":          {from: 3 * time.Hour, requests: 2, begins: time.Hour, slots: 1, incomplete: ErrNotInPlan},
		"the least plan is asked for everything, the best first": {from: 72 * time.Hour, requests: 3, begins: time.Hour, slots: 1, incomplete: ErrNotInPlan},
	} {
		t.Run(name, func(t *testing.T) {
			s := electricityMapsPast(t, test.hasRanges, test.hasHistory)
			got, err := makeProvider(t, TypeElectricityMaps, s, newClock()).Past(t.Context(), "DE", noon.Add(-test.from), noon)
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(got.Incomplete, test.incomplete) || len(s.asked()) != test.requests {
				t.Errorf("incomplete: %v, asked: %v", got.Incomplete, s.paths())
			}
			if !got.Series.Start().Equal(noon.Add(-test.begins)) || len(got.Series.Slots()) != test.slots {
				t.Errorf("%d slots from %v, want %d", len(got.Series.Slots()), got.Series.Start(), test.slots)
			}
		})
	}
}

func TestElectricityMapsErrors(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"another zone":             {`{"zone":"FR","forecast":[{"carbonIntensity":50,"datetime":"2026-11-26T12:00:00Z"}]}`, ErrUnreadable},
		"no list":                  {`{"zone":"DE"}`, ErrUnreadable},
		"an empty list":            {`{"zone":"DE","forecast":[]}`, ErrNoData},
		"nulls only":               {`{"zone":"DE","forecast":[{"carbonIntensity":null,"datetime":"2026-11-26T12:00:00Z"}]}`, ErrNoData},
		"zeros only":               {`{"zone":"DE","forecast":[{"carbonIntensity":0,"datetime":"2026-11-26T12:00:00Z"},{"carbonIntensity":0,"datetime":"2026-11-26T13:00:00Z"}]}`, ErrNoData},
		"other emission factors":   {`{"zone":"DE","forecast":[{"carbonIntensity":300,"datetime":"2026-11-26T12:00:00Z","emissionFactorType":"direct"}]}`, ErrNoData},
		"a forecast that is over":  {`{"zone":"DE","forecast":[{"carbonIntensity":300,"datetime":"2026-11-25T12:00:00Z"}]}`, ErrNoData},
		"a page of HTML":           {"<!DOCTYPE html><html>log in</html>", ErrUnreadable},
		"JSON that breaks off":     {`{"zone":"DE","forecast":[{"carbonInt`, ErrUnreadable},
		"a list of something else": {`{"zone":"DE","forecast":"soon"}`, ErrUnreadable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := makeProvider(t, TypeElectricityMaps, answers(t, test.body), newClock()).Forecast(t.Context(), "DE")
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestABadElementCostsThatElementOnly(t *testing.T) {
	s := answers(t, `{"zone":"DE","forecast":[
 {"carbonIntensity":312,"datetime":"2026-11-26T12:00:00Z"},
 {"carbonIntensity":null,"datetime":"2026-11-26T13:00:00Z"},
 {"carbonIntensity":"x","datetime":"2026-11-26T14:00:00Z"},
 {"carbonIntensity":305,"datetime":"noon"}, 17,
 {"carbonIntensity":299,"datetime":"2026-11-26 15:00"},
 {"carbonIntensity":298,"datetime":"2026-11-26T15:00:00Z"},
 {"carbonIntensity":-999,"datetime":"2026-11-26T16:00:00Z"},
 {"carbonIntensity":"280.5","datetime":"2026-11-26T18:00:00+01:00"}],"updatedAt":"2027-01-01T00:00:00Z"}`)
	got, err := makeProvider(t, TypeElectricityMaps, s, newClock()).Forecast(t.Context(), "DE")
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{slot(at(12, 0), time.Hour, 312), slot(at(15, 0), time.Hour, 299), slot(at(17, 0), time.Hour, 280.5)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	got.Series, got.Doubt = nil, ""
	if diff := cmp.Diff(Reading{
		Zone: "DE", Signal: forecast.Signal{Kind: forecast.Average, EmissionFactors: forecast.LifeCycle}, Issued: noon, // the provider's clock is ahead
		Elements: 9, BadElements: 3, Unknown: 1, Doubted: 1, Problem: `element 2: "x": want a number from -1000000 to 1000000`,
	}, got); diff != "" {
		t.Error(diff)
	}
}
