package provider

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/forecast"
)

// energinetBody has the fields of the data sets CO2Emis and CO2EmisProg.
const energinetBody = `{"total":1903306,"filters":"{\"PriceArea\":[\"DK2\"]}","limit":0,"dataset":"CO2Emis","records":[
 {"Minutes5UTC":"2026-11-26T11:50:00","Minutes5DK":"2026-11-26T12:50:00","PriceArea":"DK2","CO2Emission":75.000000},
 {"Minutes5UTC":"2026-11-26T11:55:00","Minutes5DK":"2026-11-26T12:55:00","PriceArea":"DK2","CO2Emission":null},
 {"Minutes5UTC":"2026-11-26T12:00:00","Minutes5DK":"2026-11-26T13:00:00","PriceArea":"DK2","CO2Emission":78.000000},
 {"Minutes5UTC":"2026-11-26T12:05:00","Minutes5DK":"2026-11-26T13:05:00","PriceArea":"DK2","CO2Emission":80.000000},
 {"Minutes5UTC":"2026-11-26T12:05:00","Minutes5DK":"2026-11-26T13:05:00","PriceArea":"DK1","CO2Emission":160.000000}]}`

func TestEnerginet(t *testing.T) {
	t.Parallel()
	s := answers(t, energinetBody)
	p := makeProvider(t, TypeEnerginet, s, newClock())
	got, err := p.Forecast(t.Context(), "DK-DK2")
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{slot(at(11, 50), energinetSlot, 75), slot(at(12, 0), energinetSlot, 78), slot(at(12, 5), energinetSlot, 80)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" || got.BadElements != 1 || got.Unknown != 1 {
		t.Errorf("%d bad, %d unknown (-want +got)\n%s", got.BadElements, got.Unknown, diff)
	}
	past, err := p.Past(t.Context(), "dk2", at(0, 0), noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[:1], past.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	columns := map[string][]string{
		"columns": {"Minutes5UTC,PriceArea,CO2Emission"}, "filter": {`{"PriceArea":["DK2"]}`}, "limit": {"0"}, "sort": {"Minutes5UTC asc"}, "timezone": {"UTC"},
		"start": {"2026-11-26T12:00"},
	}
	if diff := cmp.Diff(url.Values(columns), s.asked()[0].URL.Query()); diff != "" || s.asked()[0].URL.Path != "/dataset/CO2EmisProg" {
		t.Errorf("asked for %s (-want +got)\n%s", s.asked()[0].URL.Path, diff)
	}
	if q := s.asked()[1].URL.Query(); s.asked()[1].URL.Path != "/dataset/CO2Emis" || q.Get("start") != "2026-11-24T12:00" || q.Get("end") != "2026-11-26T12:00" {
		t.Errorf("the past: asked for %s", s.paths()[1])
	}
	if d := p.Describe(); d.Signal.EmissionFactors != forecast.Direct || d.Forecasts != Available || !strings.Contains(d.Attribution, "Energinet") {
		t.Errorf("%+v", d)
	}
}

func TestEnerginetKnowsTwoAreasOnly(t *testing.T) {
	t.Parallel()
	s := answers(t, energinetBody)
	p := makeProvider(t, TypeEnerginet, s, newClock())
	source := makeWeather(t, WeatherConfig{Type: WeatherEnerginet, BaseURL: s.URL}, newClock())
	for _, zone := range []string{"DK", "DK-BHM", "DE", "", "DK-", `DK1"]}`, "\x00"} {
		_, errForecast := p.Forecast(t.Context(), zone)
		_, errPast := p.Past(t.Context(), zone, at(0, 0), noon)
		_, errWeather := source.Weather(t.Context(), zone, nil)
		for _, err := range []error{errForecast, errPast, errWeather} {
			if !errors.Is(err, ErrUnknownZone) || len(s.asked()) > 0 {
				t.Errorf("%q: %v, asked %v", zone, err, s.paths())
			}
		}
	}
	for name, body := range map[string]string{"no list": `{"records":1}`, "nothing": `{}`, "HTML": "<html>", "an empty body": ""} {
		if _, err := parseEnerginet([]byte(body), "DK1"); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// energinetPowerBody has records as the tests of Electricity Maps' parsers have them, of other hours.
const energinetPowerBody = `{"total":864,"filters":"{\"PriceArea\":[\"DK1\"]}","sort":"Minutes5UTC DESC","dataset":"Forecasts_5Min","records":[
 {"Minutes5UTC":"2026-11-26T11:00:00","PriceArea":"DK1","ForecastType":"Offshore Wind","ForecastDayAhead":935.000000,"Forecast5Hour":957.000000,"ForecastCurrent":1056.000000},
 {"Minutes5UTC":"2026-11-26T11:00:00","PriceArea":"DK1","ForecastType":"Onshore Wind","ForecastDayAhead":1065.000000,"ForecastCurrent":2182.000000},
 {"Minutes5UTC":"2026-11-26T11:00:00","PriceArea":"DK1","ForecastType":"Solar","ForecastDayAhead":null,"ForecastCurrent":100},
 {"Minutes5UTC":"2026-11-26T13:00:00","PriceArea":"DK1","ForecastType":"Offshore Wind","ForecastDayAhead":935,"ForecastCurrent":1000},
 {"Minutes5UTC":"2026-11-26T13:05:00","PriceArea":"DK1","ForecastType":"Offshore Wind","ForecastDayAhead":1100,"ForecastCurrent":null},
 {"Minutes5UTC":"2026-11-26T13:00:00","PriceArea":"DK1","ForecastType":"Onshore Wind","ForecastDayAhead":1,"ForecastCurrent":950},
 {"Minutes5UTC":"2026-11-26T13:00:00","PriceArea":"DK2","ForecastType":"Onshore Wind","ForecastDayAhead":1,"ForecastCurrent":9000},
 {"Minutes5UTC":"2026-11-26T13:00:00","PriceArea":"DK1","ForecastType":"Waves","ForecastDayAhead":1,"ForecastCurrent":9000},
 {"Minutes5UTC":"2026-11-26T14:00:00","PriceArea":"DK1","ForecastType":"Onshore Wind","ForecastDayAhead":1,"ForecastCurrent":500},
 {"Minutes5UTC":"nonsense","PriceArea":"DK1","ForecastType":"Solar","ForecastCurrent":1},"nonsense"]}`

// energinetLoadBody has the load of the week before.
const energinetLoadBody = `{"dataset":"ElectricityBalanceNonv","records":[
 {"HourUTC":"2026-11-19T11:00:00","HourDK":"2026-11-19T12:00:00","PriceArea":"DK1","TotalLoad":1900},
 {"HourUTC":"2026-11-19T11:45:00","HourDK":"2026-11-19T12:45:00","PriceArea":"DK1","TotalLoad":2100},
 {"HourUTC":"2026-11-19T13:00:00","PriceArea":"DK1","TotalLoad":4000},{"HourUTC":"2026-11-19T13:00:00","PriceArea":"DK2","TotalLoad":9},
 {"HourUTC":"2026-11-19T14:00:00","PriceArea":"DK1","TotalLoad":4000},{"HourUTC":"2026-11-19T15:00:00","PriceArea":"DK1","TotalLoad":null}]}`

func TestEnerginetKnowsTheSharesOfWindAndSun(t *testing.T) {
	t.Parallel()
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/dataset/ElectricityBalanceNonv" {
			fmt.Fprint(w, energinetLoadBody)
			return
		}
		fmt.Fprint(w, energinetPowerBody)
	})
	clock := newClock()
	source := makeWeather(t, WeatherConfig{Type: WeatherEnerginet, BaseURL: s.URL}, clock)
	r, err := source.Weather(t.Context(), "DK-DK1", nil)
	checkShares(t, r, err, sharesAt(11, 1, 0.05), sharesAt(13, 0.5, math.NaN())) // at 14:00 nobody knows the wind at sea
	load, power := s.asked()[0].URL.Query(), s.asked()[1].URL.Query()
	for name, test := range map[string]struct{ got, want string }{
		"start of the load": {load.Get("start"), "2026-09-24T00:00"}, "end of the load": {load.Get("end"), "2026-11-22T12:00"},
		"start": {power.Get("start"), "2026-10-01T00:00"}, "end": {power.Get("end"), "2026-10-15T00:00"},
		"columns": {power.Get("columns"), "Minutes5UTC,PriceArea,ForecastType,ForecastDayAhead,ForecastCurrent"}, "filter": {power.Get("filter"), `{"PriceArea":["DK1"]}`},
	} {
		if test.got != test.want {
			t.Errorf("%s: %s, want %s", name, test.got, test.want)
		}
	}
	if n := len(s.asked()); n != 6 {
		t.Errorf("%d requests for eight weeks, want 6", n)
	}
	clock.pass(time.Hour)
	if _, err := source.Weather(t.Context(), "DK1", nil); err != nil || len(s.asked()) != 8 {
		t.Errorf("an hour later: %v, %d requests in all, want 2 more", err, len(s.asked()))
	}
	if d := source.DescribeWeather(); d.NeedsPoints || d.Attribution == "" || d.Type != WeatherEnerginet {
		t.Errorf("%+v", d)
	}
}

func TestAFailureOfEnerginetIsAnError(t *testing.T) {
	t.Parallel()
	for _, failing := range []string{"/dataset/ElectricityBalanceNonv", "/dataset/Forecasts_5Min"} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case failing:
				http.Error(w, "no", http.StatusBadRequest)
			case "/dataset/Forecasts_5Min":
				fmt.Fprint(w, energinetPowerBody)
			default:
				fmt.Fprint(w, energinetLoadBody)
			}
		})
		source := makeWeather(t, WeatherConfig{Type: WeatherEnerginet, BaseURL: s.URL}, newClock())
		if r, err := source.Weather(t.Context(), "DK1", nil); err == nil || !strings.Contains(err.Error(), "400") {
			t.Errorf("%s fails: %+v, %v", failing, r, err)
		}
	}
}

func FuzzEnerginet(f *testing.F) {
	fuzz(f, func(b []byte) (tally, error) { return parseEnerginet(b, "DK2") }, energinetBody)
}

func FuzzEnerginetPower(f *testing.F) {
	f.Add([]byte(energinetPowerBody))
	f.Add([]byte(energinetLoadBody))
	f.Fuzz(func(t *testing.T, body []byte) {
		checkPower(t, func(p *powerHours) error {
			return errors.Join(parseEnerginetLoad(body, "DK1", p), parseEnerginetPower(body, "DK1", noon, p))
		})
	})
}
