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
	if uri := r.URL.RequestURI(); uri != "/carbon-intensity/forecast?disableCallerLookup=true&emissionFactorType=lifecycle&horizonHours=72&zone=DE" {
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

// An electricityMapsPlan is what a plan has. The server answers 401 to what the plan has not, as
// Electricity Maps does.
type electricityMapsPlan struct {
	forecasts, history, latest bool
	ranges                     time.Duration // how far back
}

func (p electricityMapsPlan) serve(t *testing.T) *server {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		from, fromErr := time.Parse(time.RFC3339, q.Get("start"))
		to, toErr := time.Parse(time.RFC3339, q.Get("end"))
		what := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		switch {
		case what == "forecast" && p.forecasts:
			fmt.Fprint(w, electricityMapsForecast)
		case what == "latest" && p.latest:
			fmt.Fprint(w, `{"zone":"DE","carbonIntensity":250,"datetime":"2026-11-26T11:00:00.000Z","updatedAt":"2026-11-26T11:55:00.000Z","createdAt":"2026-11-23T10:00:00.000Z",
				"emissionFactorType":"lifecycle","flowTraced":true,"isEstimated":true,"estimationMethod":"FORECASTS_HIERARCHY","temporalGranularity":"hourly"}`)
		case what == "history" && p.history:
			writeElectricityMapsHours(w, noon.Add(-24*time.Hour), noon)
		case what == "past-range" && fromErr == nil && toErr == nil && to.Sub(from) > 10*24*time.Hour:
			http.Error(w, `{"error":"Time range too large"}`, http.StatusBadRequest)
		case what == "past-range" && !from.Before(noon.Add(-p.ranges)):
			writeElectricityMapsHours(w, from, to)
		default:
			http.Error(w, `{"error":"Request unauthorized for zoneKey=DE","message":"You do not have access to this specific endpoint for this specific zone."}`, http.StatusUnauthorized)
		}
	})
}

func writeElectricityMapsHours(w http.ResponseWriter, from, to time.Time) {
	var hours []string
	for h := from; h.Before(to); h = h.Add(time.Hour) {
		hours = append(hours, fmt.Sprintf(`{"carbonIntensity":%d,"datetime":%q,"updatedAt":"2026-11-26T11:55:00.000Z","emissionFactorType":"lifecycle","flowTraced":true,"isEstimated":false}`,
			200+h.Hour(), h.Format("2006-01-02T15:04:05.000Z")))
	}
	fmt.Fprintf(w, `{"zone":"DE","temporalGranularity":"hourly","data":[%s]}`, strings.Join(hours, ","))
}

func TestElectricityMapsPast(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		from       time.Duration // before now, as begins is
		plan       electricityMapsPlan
		requests   int
		begins     time.Duration
		slots      int
		incomplete error
	}{
		"the last hours come from the history of every plan":     {from: 3 * time.Hour, plan: electricityMapsPlan{history: true}, requests: 1, begins: 3 * time.Hour, slots: 3},
		"eight weeks come in pages of ten days":                  {from: 56 * day, plan: electricityMapsPlan{history: true, ranges: 99 * day}, requests: 6, begins: 56 * day, slots: 56 * 24},
		"a plan with a short past gives the newest pages":        {from: 56 * day, plan: electricityMapsPlan{history: true, ranges: 25 * day}, requests: 3, begins: 20 * day, slots: 20 * 24, incomplete: ErrNotInPlan},
		"a plan without ranges gives the last day":               {from: 56 * day, plan: electricityMapsPlan{history: true}, requests: 2, begins: day, slots: 24, incomplete: ErrNotInPlan},
		"a plan without history gives the latest value":          {from: 3 * time.Hour, plan: electricityMapsPlan{latest: true}, requests: 2, begins: time.Hour, slots: 1, incomplete: ErrNotInPlan},
		"the least plan is asked for everything, the best first": {from: 72 * time.Hour, plan: electricityMapsPlan{latest: true}, requests: 3, begins: time.Hour, slots: 1, incomplete: ErrNotInPlan},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.plan.serve(t)
			got, err := makeProvider(t, TypeElectricityMaps, s, newClock()).Past(t.Context(), "DE", noon.Add(-test.from), noon)
			if err != nil {
				t.Fatal(err)
			}
			if !errors.Is(got.Incomplete, test.incomplete) || errors.Is(got.Incomplete, ErrRefusedKey) || len(s.asked()) != test.requests {
				t.Errorf("incomplete: %v, asked: %v", got.Incomplete, s.paths())
			}
			if begins := noon.Add(-test.begins); !got.Series.Start().Equal(begins) || !got.From.Equal(begins) || len(got.Series.Slots()) != test.slots {
				t.Errorf("%d slots from %v, answered for from %v, want %d", len(got.Series.Slots()), got.Series.Start(), got.From, test.slots)
			}
		})
	}
}

func TestAGapThatThePlanDoesNotReachIsNotAnsweredFor(t *testing.T) {
	to := noon.AddDate(0, 0, -5)
	p := makeProvider(t, TypeElectricityMaps, electricityMapsPlan{history: true}.serve(t), newClock())
	got, err := p.Past(t.Context(), "DE", noon.AddDate(0, 0, -7), to)
	if err != nil || !got.Series.IsEmpty() || !got.From.Equal(to) || !errors.Is(got.Incomplete, ErrNotInPlan) {
		t.Errorf("%v from %v, incomplete: %v, error: %v", got.Series.Slots(), got.From, got.Incomplete, err)
	}
}

func TestElectricityMapsTellsAWrongKeyFromAPlan(t *testing.T) {
	for name, test := range map[string]struct {
		plan      electricityMapsPlan
		want, not error
	}{
		"no forecast in the plan":            {electricityMapsPlan{latest: true}, ErrNotInPlan, ErrRefusedKey},
		"nothing at all: the key, or a zone": {electricityMapsPlan{}, ErrRefusedKey, ErrNotInPlan},
	} {
		t.Run(name, func(t *testing.T) {
			s := test.plan.serve(t)
			p := makeProvider(t, TypeElectricityMaps, s, newClock())
			_, err := p.Forecast(t.Context(), "DE")
			status, isStatus := errors.AsType[*StatusError](err)
			if !errors.Is(err, test.want) || errors.Is(err, test.not) || !isStatus || status.Status != http.StatusUnauthorized || len(s.asked()) != 2 {
				t.Errorf("asked %v, got %v", s.paths(), err)
			}
		})
	}
	if _, err := makeProvider(t, TypeElectricityMaps, electricityMapsPlan{}.serve(t), newClock()).Past(t.Context(), "DE", noon.AddDate(0, 0, -9), noon); !errors.Is(err, ErrRefusedKey) {
		t.Errorf("the past with a wrong key: %v", err)
	}
}

func TestElectricityMapsStatesTheWidthOfSlots(t *testing.T) {
	elements := `[{"carbonIntensity":300,"datetime":"2026-11-26T12:00:00Z"},{"carbonIntensity":310,"datetime":"2026-11-26T13:00:00Z"}]`
	for granularity, want := range map[string]time.Duration{"5_minutes": 5 * time.Minute, "15_minutes": 15 * time.Minute, "hourly": time.Hour, "fortnightly": time.Hour} {
		for _, body := range []string{
			`{"zone":"DE","temporalGranularity":"` + granularity + `","data":` + elements + `}`,
			`{"zone":"DE","temporalGranularity":"` + granularity + `","carbonIntensity":300,"datetime":"2026-11-26T12:00:00Z"}`,
		} {
			got, err := makeProvider(t, TypeElectricityMaps, answers(t, body), newClock()).Forecast(t.Context(), "DE")
			if err != nil {
				t.Fatal(err)
			}
			if first := got.Series.Slots()[0]; first.End.Sub(first.Start) != want {
				t.Errorf("%s: %v", granularity, first)
			}
		}
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
