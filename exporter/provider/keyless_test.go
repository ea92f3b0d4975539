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

// energyChartsDay has two slots of the past and two of the future.
func energyChartsDay() string {
	return fmt.Sprintf(`{"unix_seconds":[%d,%d,%d,%d],"co2eq":[310.5,null,null,null],"co2eq_forecast":[null,300,290.25,280],"deprecated":false}`,
		at(11, 30).Unix(), at(11, 45).Unix(), at(12, 0).Unix(), at(12, 15).Unix())
}

func TestEnergyCharts(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("country") != "de" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, energyChartsDay())
	})
	p := makeProvider(t, TypeEnergyCharts, s, newClock())
	got, err := p.Forecast(t.Context(), "DE")
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{slot(at(11, 45), energyChartsSlot, 300), slot(at(12, 0), energyChartsSlot, 290.25), slot(at(12, 15), energyChartsSlot, 280)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	past, err := p.Past(t.Context(), "DE", at(0, 0), noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]forecast.Slot{slot(at(11, 30), energyChartsSlot, 310.5)}, past.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/co2eq?country=de", "/co2eq?country=de&end=2026-11-26T12%3A00Z&start=2026-11-24T12%3A00Z"}, s.paths()); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Forecast(t.Context(), "XX"); !errors.Is(err, ErrUnknownZone) {
		t.Errorf("unknown country: %v", err)
	}
}

func TestEnergyChartsListsThatDoNotBelongTogether(t *testing.T) {
	for name, body := range map[string]string{
		"too few values": `{"unix_seconds":[1,2],"co2eq_forecast":[3]}`, "no values": `{"unix_seconds":[1,2]}`, "nothing": `{}`,
	} {
		if _, err := parseEnergyCharts([]byte(body), theForecast); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	got, err := parseEnergyCharts([]byte(`{"unix_seconds":[1795780800000,-1,"x",1.5,null],"co2eq_forecast":[1,1,1,1,1]}`), theForecast)
	if err != nil || got.bad != 5 || len(got.points) != 0 {
		t.Errorf("instants that are none: %+v, %v", got, err)
	}
}

// gridCarbonSeries answers as GridCarbon does: the zone is that of the whole response.
const gridCarbonSeries = `{"zone":"FR","from":"2026-11-24T12:00:00Z","to":"2026-11-26T12:00:00Z","unit":"gCO2eq/kWh","count":3,"truncated":false,"data":[
 {"ts":"2026-11-26T09:00:00Z","gco2eq_kwh":21.5,"method":"computed:v1"},{"ts":"2026-11-26T10:00:00Z","gco2eq_kwh":23,"method":"computed:v1"},
 {"ts":"2026-11-26T11:00:00Z","gco2eq_kwh":114,"method":"upstream:uk-neso:actual"}]}`

func TestGridCarbon(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("zone") != "FR" {
			fmt.Fprint(w, `{"unit":"gCO2eq/kWh","data":[]}`)
			return
		}
		fmt.Fprint(w, gridCarbonSeries)
	})
	p := makeProvider(t, TypeGridCarbon, s, newClock())
	got, err := p.Past(t.Context(), "FR", at(9, 30), noon)
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{slot(at(9, 30), time.Hour/2, 21.5), slot(at(10, 0), time.Hour, 23)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	if got.BadElements != 1 || s.paths()[0] != "/v1/intensity?from=2026-11-24T12%3A00%3A00Z&to=2026-11-26T12%3A00%3A00Z&zone=FR" {
		t.Errorf("%d bad, asked %v", got.BadElements, s.paths())
	}
	direct := makeProvider(t, TypeGridCarbon, s, newClock(), func(c *Config) { c.Signal.EmissionFactors = forecast.Direct })
	if got, err := direct.Past(t.Context(), "FR", at(9, 30), noon); err != nil || got.BadElements != 2 || got.Signal.EmissionFactors != forecast.Direct {
		t.Errorf("direct emissions: %+v, %v", got, err)
	}
	if _, err := p.Past(t.Context(), "XX", at(9, 0), noon); !errors.Is(err, ErrNoData) {
		t.Errorf("unknown zone: %v", err)
	}
	if _, err := p.Forecast(t.Context(), "FR"); !errors.Is(err, ErrUnavailable) || p.Describe().Forecasts != Unavailable {
		t.Errorf("forecast: %v", err)
	}
	for name, body := range map[string]string{
		"another unit": `{"unit":"lbs/MWh","data":[]}`, "another zone": `{"zone":"DE","unit":"gCO2eq/kWh","data":[]}`,
		"a list that stops early": `{"unit":"gCO2eq/kWh","truncated":true,"data":[]}`,
	} {
		if _, err := parseGridCarbon([]byte(body), "FR", ""); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCarbonAwareSDK(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("X-Api-Key") != "sdk-key":
			http.Error(w, "who are you?", http.StatusUnauthorized)
		case r.URL.Path == "/emissions/forecasts/current":
			fmt.Fprint(w, `[{"requestedAt":"2026-11-26T12:00:00+00:00","generatedAt":"2026-11-26T11:50:00+00:00","location":"northeurope","windowSize":5,"optimalDataPoints":[],
			 "forecastData":[{"location":"IE","timestamp":"2026-11-26T12:00:00+00:00","duration":5,"value":359.2},{"location":"IE","timestamp":"2026-11-26T12:05:00+00:00","duration":5,"value":350}]}]`)
		case r.URL.Path == "/emissions/bylocation":
			fmt.Fprint(w, `[{"location":"IE","time":"2026-11-26T11:00:00+00:00","rating":300.5,"duration":"01:00:00"}]`)
		default:
			http.NotFound(w, r)
		}
	})
	p := makeProvider(t, TypeCarbonAwareSDK, s, newClock(), func(c *Config) {
		c.KeyHeader, c.Credentials.Key, c.Signal = "x-api-key", NewSecret("sdk-key"), forecast.Signal{Kind: forecast.Marginal}
	})
	got, err := p.Forecast(t.Context(), "northeurope")
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{slot(at(12, 0), 5*time.Minute, 359.2), slot(at(12, 5), 5*time.Minute, 350)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	if !got.Issued.Equal(at(11, 50)) || got.Signal.Kind != forecast.Marginal {
		t.Errorf("issued %v, %v", got.Issued, got.Signal)
	}
	past, err := p.Past(t.Context(), "northeurope", at(0, 0), noon)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]forecast.Slot{slot(at(11, 0), time.Hour, 300.5)}, past.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{"[]", "[{}]", "{}"} {
		if _, err := parseCarbonAwareForecast([]byte(body), "x"); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s: %v", body, err)
		}
	}
	if _, err := parseCarbonAwareForecast([]byte(`[{"forecastData":[]}]`), "x"); !errors.Is(err, ErrNoData) {
		t.Errorf("a forecast without elements: %v", err)
	}
}

func TestACarbonAwareSDKWithoutDataOrForecasts(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("toTime") {
		case "": // the data source has no forecasts
			http.Error(w, `{"title":"NotImplementedException","status":501,"detail":"ElectricityMapsFree does not support forecasts"}`, http.StatusNotImplemented)
		case "2026-11-26T12:00:00Z":
			w.WriteHeader(http.StatusNoContent)
		default:
			fmt.Fprint(w, `[{"location":"IE","time":"2026-11-18T11:00:00+00:00","rating":300.5,"duration":"01:00:00"}]`)
		}
	})
	p := makeProvider(t, TypeCarbonAwareSDK, s, newClock())
	if _, err := p.Forecast(t.Context(), "northeurope"); !errors.Is(err, ErrUnavailable) || len(s.asked()) != 1 {
		t.Errorf("asked %d times, got %v", len(s.asked()), err)
	}
	got, err := p.Past(t.Context(), "northeurope", noon.AddDate(0, 0, -14), noon)
	if err != nil || got.Incomplete != nil {
		t.Fatal(err, got.Incomplete)
	}
	want := []forecast.Slot{slot(time.Date(2026, time.November, 18, 11, 0, 0, 0, time.UTC), time.Hour, 300.5)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Past(t.Context(), "northeurope", at(9, 0), noon); !errors.Is(err, ErrNoData) {
		t.Errorf("a past without data: %v", err)
	}
}

func TestHTTPReadsWhatOthersWrite(t *testing.T) {
	exporter := `[{"location":"DE","timestamp":"2026-11-26T12:00:00Z","duration":60,"value":312},{"location":"FR","timestamp":"2026-11-26T12:00:00Z","duration":60,"value":50}]`
	wattTime := `{"data":[{"point_time":"2026-11-26T12:00:00Z","value":1000}],"meta":{"units":"lbs_co2_per_mwh","data_point_period_seconds":3600}}`
	for name, test := range map[string]struct {
		body  string
		first float64
	}{
		"the exporter's array, of several zones": {exporter, 312},
		"a Carbon Aware SDK's forecast":          {`[{"forecastData":` + strings.ReplaceAll(exporter, "FR", "DE") + `}]`, 312},
		"Electricity Maps":                       {electricityMapsForecast, 312},
		"WattTime":                               {wattTime, 453.59237},
		"the Carbon Intensity API":               {ukNational, 180},
		"Energy-Charts":                          {energyChartsDay(), 290.25},
		"Energinet":                              {energinetBody, 78},
		"GridCarbon":                             {`{"unit":"gCO2eq/kWh","data":[{"ts":"2026-11-26T12:00:00Z","gco2eq_kwh":21},{"ts":"2026-11-26T13:00:00Z","gco2eq_kwh":22}]}`, 21},
		"CSV":                                    {"timestamp,intensity\n2026-11-26T12:00:00Z,312\n2026-11-26T13:00:00Z,298\n", 312},
		"CSV with more, in another order, with a byte order mark": {"\ufeffzone,Intensity, Timestamp\r\nDE,312,2026-11-26 12:00\r\nDE,,2026-11-26 13:00\r\nDE\r\nDE,300,2026-11-26 14:00\r\n", 312},
	} {
		t.Run(name, func(t *testing.T) {
			s := answers(t, test.body)
			p := makeProvider(t, TypeHTTP, s, newClock(), func(c *Config) { c.ForecastURL = s.URL + "/grid/{zone}.json?z={zone}" })
			got, err := p.Forecast(t.Context(), "DE")
			if err != nil {
				t.Fatal(err)
			}
			if intensity, ok := got.Series.At(noon); !ok || intensity != test.first {
				t.Errorf("got %v, want %v", got.Series.Slots(), test.first)
			}
			if diff := cmp.Diff([]string{"/grid/DE.json?z=DE"}, s.paths()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHTTPPast(t *testing.T) {
	s := answers(t, "timestamp,intensity\n2026-11-26T10:00:00Z,250\n2026-11-26T11:00:00Z,260\n2026-11-26T13:00:00Z,999\n")
	p := makeProvider(t, TypeHTTP, s, newClock(), func(c *Config) { c.PastURL = s.URL + "/past?from={from}&to={to}&zone={zone}" })
	got, err := p.Past(t.Context(), "a b&c", at(10, 30), at(18, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Slot{slot(at(10, 30), time.Hour/2, 250), slot(at(11, 0), time.Hour, 260)}
	if diff := cmp.Diff(want, got.Series.Slots()); diff != "" {
		t.Error(diff)
	}
	if path := s.paths()[0]; path != "/past?from=2026-11-24T12%3A00%3A00Z&to=2026-11-26T12%3A00%3A00Z&zone=a%20b%26c" {
		t.Error(path)
	}
	if _, err := p.Forecast(t.Context(), "DE"); !errors.Is(err, ErrUnavailable) || p.Describe().Forecasts != Unavailable || p.Describe().History != Available {
		t.Errorf("forecast: %v", err)
	}
}

func TestHTTPErrors(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"nothing": {" \n", ErrUnreadable}, "HTML": {"<html>", ErrUnreadable}, "an unknown object": {`{"a":1}`, ErrUnreadable},
		"an empty array": {"[]", ErrNoData}, "a table of something else": {"name,age\nada,36\n", ErrUnreadable}, "a number": {"17", ErrUnreadable},
		"a quote without end": {"timestamp,intensity\n\"2026", ErrUnreadable}, "an array of several other zones": {
			`[{"location":"A","timestamp":"2026-11-26T12:00:00Z","duration":60,"value":1},{"location":"B","timestamp":"2026-11-26T12:00:00Z","duration":60,"value":1}]`, ErrUnknownZone,
		},
	} {
		if _, err := parseAny([]byte(test.body), "DE", theForecast); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMock(t *testing.T) {
	p, err := New(Config{Type: TypeMock, Options: newClock().options()})
	if err != nil {
		t.Fatal(err)
	}
	if d := p.Describe(); !d.IsMadeUp || !strings.Contains(d.Attribution, "Made up") {
		t.Errorf("%+v", d)
	}
	expected, err := p.Forecast(t.Context(), "DE")
	again, err2 := p.Forecast(t.Context(), "DE")
	past, err3 := p.Past(t.Context(), "DE", noon.AddDate(0, 0, -56), noon)
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(expected.Series.Slots(), again.Series.Slots()); diff != "" {
		t.Error("the same zone differs at the next call")
	}
	if n := len(expected.Series.Slots()); n != 72 || len(past.Series.Slots()) != 56*24 || !past.Series.End().Equal(noon) {
		t.Errorf("%d slots ahead, %d in the past", n, len(past.Series.Slots()))
	}
	for _, s := range append(past.Series.Slots(), expected.Series.Slots()...) {
		if s.Intensity < 80 || s.Intensity > 700 {
			t.Errorf("%v is not plausible", s)
		}
	}
	if v := forecast.Believe(past.Series); v.Doubted > 0 {
		t.Error(v.Doubt)
	}
}
